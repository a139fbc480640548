package productivsim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

type fault = productivsim.Fault

func TestFaultAnswers(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault  fault
		status int
		header string
		want   string
		body   string
	}{
		"429 alone":    {fault: fault{Kind: "status", Status: 429}, status: 429, header: "Retry-After", body: `{"message":"Too Many Requests"}`},
		"429 seconds":  {fault: fault{Kind: "status", Status: 429, RetryAfter: 1.5e9}, status: 429, header: "Retry-After", want: "2"},
		"503":          {fault: fault{Kind: "status", Status: 503}, status: 503},
		"204":          {fault: fault{Kind: "status", Status: 204}, status: 204},
		"207":          {fault: fault{Kind: "status", Status: 207, Body: `{}`}, status: 207, body: `{}`},
		"HTML":         {fault: fault{Kind: "html"}, status: 200, header: "Content-Type", want: "text/html; charset=utf-8"},
		"redirect":     {fault: fault{Kind: "redirect", Location: "http://other.invalid/x"}, status: 307, header: "Location", want: "http://other.invalid/x"},
		"garbage":      {fault: fault{Kind: "status", Status: 200, Body: "\x00", ContentType: "image/png"}, status: 200, header: "Content-Type", want: "image/png"},
		"success lies": {fault: fault{Kind: "success", Success: "truth"}, status: 200, body: `{"success":true}`},
		"success no":   {fault: fault{Kind: "success", Success: "false"}, status: 200, body: `{"success":false}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, options())
			before, after := tt.fault, tt.fault
			after.When = productivsim.After
			c.inject(before, after)
			for i, list := range [][]string{nil, {"ada"}} {
				r := c.post(user("ada"))
				if r.Err != nil || r.Status != tt.status || (tt.header != "" && r.Header.Get(tt.header) != tt.want) ||
					(tt.body != "" && r.Body != tt.body) {
					t.Errorf("got %+v", r)
				}
				c.wantUsers(list...)
				if q := c.sim.Requests()[i]; q.Status != tt.status || q.Applied != (i == 1) || q.Fault != tt.fault.Kind {
					t.Errorf("ledger says %+v", q)
				}
			}
			c.wantBody(c.post(user("ada")), `{"success":true}`)
		})
	}
}

func TestRetryAfterDate(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.inject(fault{Kind: "status", Status: 429, RetryAfter: productivsim.Duration(time.Hour), RetryAfterDate: true})
	at, err := http.ParseTime(c.post(user("ada")).Header.Get("Retry-After"))
	if wait := time.Until(at); err != nil || wait < 59*time.Minute || wait > time.Hour {
		t.Errorf("Retry-After is %v away (%v)", wait, err)
	}
}

func TestResets(t *testing.T) {
	t.Parallel()
	for when, list := range map[productivsim.When][]string{
		productivsim.Before: nil, productivsim.After: {"ada"}, productivsim.Midbody: {"ada"},
	} {
		c := start(t, options())
		c.inject(fault{Kind: "reset", When: when})
		r := c.post(user("ada"))
		if r.Err == nil {
			t.Errorf("%s: got %+v, want an error", when, r)
		}
		if when != productivsim.Midbody && !errors.Is(r.Err, syscall.ECONNRESET) {
			t.Errorf("%s: got %v, want a reset", when, r.Err)
		}
		if when == productivsim.Midbody && (r.Status != 200 || r.Body == "") {
			t.Errorf("no half of a body in %+v", r)
		}
		c.wantUsers(list...)
		q := c.sim.Requests()[0]
		if q.Applied != (list != nil) || q.End.IsZero() || (q.Status == 200) != (when == productivsim.Midbody) {
			t.Errorf("%s: ledger says %+v", when, q)
		}
	}
}

func TestTruncatedAndSlowBodies(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.inject(fault{Kind: "truncate"}, fault{Kind: "slow", Delay: productivsim.Duration(time.Millisecond), Pieces: 4})
	if r := c.post(user("ada")); r.Err != nil || r.Body != `{"succes` {
		t.Errorf("got %+v", r)
	}
	began := time.Now()
	c.wantBody(c.post(user("bob")), `{"success":true}`)
	if took := time.Since(began); took < 4*time.Millisecond {
		t.Errorf("four pieces took %v", took)
	}
	c.wantUsers("ada", "bob")
}

func TestShortDeletes(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.post(user("a"), user("b"), user("c"))
	c.inject(fault{Kind: "partial-delete", Count: 1}, fault{Kind: "short-count", Count: 2},
		fault{Kind: "success", Success: "false", When: productivsim.After})
	c.wantBody(c.remove(user("a"), user("b")), `{"numUsersDeleted":1,"success":false}`)
	c.wantUsers("b", "c")
	c.wantBody(c.remove(user("b")), `{"numUsersDeleted":0,"success":true}`)
	c.wantBody(c.remove(user("c")), `{"numUsersDeleted":1,"success":false}`)
	c.wantUsers()
}

func TestHangLastsUntilTheClientGoes(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.inject(fault{Kind: "hang", When: productivsim.After})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(c.request(http.MethodPost, usersA, tokenA, body(people(1))).WithContext(ctx))
		left <- err
	}()
	await(t, c.sim, func(s *productivsim.Sim) bool { return len(s.Users("app-a")) == 1 })
	if !c.sim.Requests()[0].End.IsZero() {
		t.Error("the call has ended")
	}
	cancel()
	if err := <-left; err == nil {
		t.Error("the call was answered")
	}
	await(t, c.sim, func(s *productivsim.Sim) bool { return !s.Requests()[0].End.IsZero() })
}

func await(t *testing.T, s *productivsim.Sim, condition func(*productivsim.Sim) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Await(ctx, condition); err != nil {
		t.Fatal(err)
	}
}

func TestDelayIsLostWithTheClientUnlessItPersists(t *testing.T) {
	t.Parallel()
	for _, persist := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := productivsim.New(options())
			if err := sim.Inject(fault{Kind: "delay", Delay: productivsim.Duration(time.Minute), Persist: persist}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, http.MethodPost, usersA, strings.NewReader(body(people(1))))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+tokenA)
			r.Body = io.NopCloser(strings.NewReader(body(people(1))))
			func() {
				defer func() { _ = recover() }() // net/http's abort: there is no connection to cut
				sim.Handler().ServeHTTP(discard{}, r)
			}()
			if applied := len(sim.Users("app-a")) == 1; applied != persist {
				t.Errorf("persist %v, applied %v", persist, applied)
			}
		})
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestFaultsMatch(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.inject(fault{Endpoint: productivsim.EndpointUsers, App: "app-a", Method: "POST", Nth: 2, Times: 2, Kind: "status", Status: 500})
	c.wantStatus(c.token(inBody()), 200)
	c.wantStatus(c.call(http.MethodPost, "/services/push/v1/customer/apps/app-b/users", tokenB, body(people(1))), 200)
	r, _ := c.get("")
	c.wantStatus(r, 200)
	for i, status := range []int{200, 500, 500, 200} {
		if r := c.post(user("ada")); r.Status != status {
			t.Errorf("POST %d: %d", i+1, r.Status)
		}
	}
	if got := c.sim.Faults()[0]; got.Matched != 4 || got.Fired != 2 {
		t.Errorf("state is %+v", got)
	}
	c.inject(fault{Endpoint: productivsim.EndpointToken, Kind: "status", Status: 502, Times: -1})
	c.wantStatus(c.token(inBody()), 502)
	c.wantStatus(c.token(inBody()), 502)
	c.sim.ClearFaults()
	c.wantStatus(c.token(inBody()), 200)
}

func TestChanceFollowsTheSeed(t *testing.T) {
	t.Parallel()
	chances := fault{Kind: "status", Status: 500, Times: -1, Probability: 0.5}
	outcome := func(c *client) string {
		c.inject(chances)
		var statuses strings.Builder
		for range 40 {
			r, _ := c.get("")
			statuses.WriteString(strconv.Itoa(r.Status / 100))
		}
		return statuses.String()
	}
	seeded := func(seed uint64) *client {
		o := options()
		o.Seed = seed
		return start(t, o)
	}
	c := seeded(1)
	first := outcome(c)
	if again := outcome(seeded(1)); again != first {
		t.Errorf("seed 1 gave %s and %s", first, again)
	}
	if other := outcome(seeded(2)); other == first || !strings.Contains(other, "5") || !strings.Contains(other, "2") {
		t.Errorf("seed 2 gave %s", other)
	}
	if err := c.sim.Reset(); err != nil {
		t.Fatal(err)
	}
	if again := outcome(c); again != first {
		t.Errorf("seed 1 gave %s, and %s after a reset", first, again)
	}
	// Two faults have chances of their own: were they the same, the second would never come to fire.
	pair := seeded(1)
	pair.inject(chances)
	outcome(pair)
	if got := pair.sim.Faults()[1]; got.Fired == 0 {
		t.Errorf("state is %+v", got)
	}
}

func TestFaultsThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	sim := productivsim.New(options())
	for i, f := range []fault{
		{}, {Kind: "status"}, {Kind: "status", Status: 99}, {Kind: "redirect"}, {Kind: "success"}, {Kind: "partial-delete"},
		{Kind: "reset", When: "later"}, {Kind: "reset", Probability: 2}, {Kind: "reset", Nth: -1}, {Kind: "html", When: "midbody"},
		{Kind: "truncate", When: "before"}, {Kind: "slow", When: "after"}, {Kind: "reset", Endpoint: "nowhere"},
	} {
		if sim.Inject(fault{Kind: "reset"}, f) == nil {
			t.Errorf("fault %d was accepted: %+v", i, f)
		}
	}
	if n := len(sim.Faults()); n != 0 {
		t.Errorf("%d faults are in the script", n)
	}
}

func TestSwitchesThatMeanNothingAreRefused(t *testing.T) {
	t.Parallel()
	sim := productivsim.New(options())
	for i, change := range []func(*switches){
		func(s *switches) { s.Semantics = "merge" }, func(s *switches) { s.Key = "" }, func(s *switches) { s.MaxUsers = 0 },
		func(s *switches) { s.PageSize = -1 }, func(s *switches) { s.Latency = -1 }, func(s *switches) { s.InvalidClientStatus = 418 },
	} {
		sw := productivsim.DefaultSwitches()
		change(&sw)
		if sim.SetSwitches(sw) == nil {
			t.Errorf("change %d was accepted", i)
		}
	}
	if got := fmt.Sprint(sim.Switches()); got != fmt.Sprint(productivsim.DefaultSwitches()) {
		t.Errorf("switches are %s", got)
	}
}
