package pluralsightsim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

const countQuery = "{ users { totalCount } }"

func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		fault  sim.Fault
		status int
		body   string
		retry  string
	}{
		{"5xx in HTML", sim.Fault{Status: 503}, 503, "<html><head><title>503", ""},
		{"429 with seconds", sim.Fault{Status: 429, RetryAfter: "7", BodyForm: "json"}, 429, `{"error":"Something went wrong"}`, "7"},
		{"429 with a date", sim.Fault{Status: 429, RetryAfter: "date+30s", BodyForm: "empty"}, 429, "", "Mon, 23 Nov 2026 12:00:30 GMT"},
		{"403", sim.Fault{Status: 403, BodyForm: "json", Message: "no"}, 403, `{"error":"no"}`, ""},
		{"an empty object", sim.Fault{Status: 200, Body: "{}"}, 200, "{}", ""},
		{"null", sim.Fault{Status: 200, Body: "null"}, 200, "null", ""},
		{"null data", sim.Fault{Status: 200, Body: `{"data":{"users":null}}`}, 200, `{"data":{"users":null}}`, ""},
		{"a page for a browser", sim.Fault{Status: 200}, 200, "<html>", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, people(1)...)
			tc.fault.Action = sim.Answer
			tc.fault.Match.Times = 1
			b.inject(tc.fault)
			a := b.raw(countQuery, nil)
			if a.status != tc.status || !strings.HasPrefix(a.body, tc.body) || a.header.Get("Retry-After") != tc.retry {
				t.Errorf("got %d %q Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
			}
			b.want(b.raw(countQuery, nil).status, 200) // transient, then fine
			b.want(b.sim.Requests()[0].Faults, []string{"f1"})
		})
	}
}

func TestRedirectsForTokenLeaks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.inject(sim.Fault{Action: sim.Answer, Status: 307, Headers: map[string]string{"location": "https://elsewhere.example"}})
	a := b.raw(countQuery, nil)
	b.want([]any{a.status, a.header.Get("Location")}, []any{307, "https://elsewhere.example"})
}

func TestErrorsBesideData(t *testing.T) {
	t.Parallel()
	for action, want := range map[sim.Action]string{
		sim.ErrorsOnly:    `{"data":null,"errors":[{"message":"busy","path":["users"],"extensions":[{"code":"INTERNAL"}]}]}`,
		sim.ErrorsPartial: `{"data":{"users":{"nodes":[{"psUserId":"id-aa"}]}},"errors":[{"message":"busy","path":["users"],"extensions":[{"code":"INTERNAL"}]}]}`,
		sim.ErrorsFull:    `{"data":{"users":{"nodes":[{"psUserId":"id-aa"},{"psUserId":"id-ab"}]}},"errors":[{"message":"busy","path":["users"],"extensions":[{"code":"INTERNAL"}]}]}`,
	} {
		b := setup(t, people(2)...)
		b.inject(sim.Fault{Action: action, Message: "busy", Code: "INTERNAL"})
		b.want(b.raw("{ users { nodes { psUserId } } }", nil).body, want)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	remove := `mutation { removeUser(input: {psUserId: "id-aa"}) { psUserId } }`

	b.inject(sim.Fault{ID: "a", Match: sim.Match{Nth: 1}, Action: sim.Reset, When: sim.Before})
	if a := b.raw(remove, nil); a.err == nil {
		t.Errorf("got an answer: %+v", a)
	}
	b.want(b.counts().Active, 2)
	b.want([]any{b.sim.Requests()[0].Status, b.sim.Requests()[0].Outcome}, []any{0, "reset"})

	b.inject(sim.Fault{ID: "b", Match: sim.Match{Times: 1}, Action: sim.Reset, When: sim.After})
	if a := b.raw(remove, nil); !errors.Is(a.err, syscall.ECONNRESET) && !errors.Is(a.err, io.EOF) {
		t.Errorf("got %+v, want a reset", a)
	}
	b.want(b.counts().Active, 1)

	b.inject(sim.Fault{ID: "c", Match: sim.Match{Times: 1}, Action: sim.Reset, When: sim.MidBody})
	if a := b.raw(countQuery, nil); !errors.Is(a.err, io.ErrUnexpectedEOF) || a.status != 200 || a.body != `{"data":{"users":` {
		t.Errorf("got %+v, want half an answer", a)
	}
	b.inject(sim.Fault{ID: "d", Match: sim.Match{Times: 1}, Action: sim.Truncate})
	if a := b.raw(countQuery, nil); a.err != nil || a.body != `{"data":{"users":` {
		t.Errorf("got %+v, want half a body in a whole answer", a)
	}
	b.inject(sim.Fault{ID: "e", Match: sim.Match{Times: 1}, Action: sim.Drip, Count: 10, Delay: sim.Duration(time.Microsecond)})
	b.want(b.raw(countQuery, nil).body, `{"data":{"users":{"totalCount":2}}}`)
	b.inject(sim.Fault{ID: "f", Match: sim.Match{Times: 1}, Action: sim.Huge, Size: 1 << 20})
	if a := b.raw(countQuery, nil); len(a.body) != 1<<20 || !strings.HasSuffix(a.body, `{"data":{"users":{"totalCount":2}}}`) {
		t.Errorf("got %d bytes, error %v", len(a.body), a.err)
	}
	for _, f := range b.sim.Faults() {
		b.want([]any{f.ID, f.Fired}, []any{f.ID, 1})
	}
}

func TestStalls(t *testing.T) {
	t.Parallel()
	for _, when := range []sim.When{sim.Before, sim.After, sim.MidBody} {
		b := setup(t, people(2)...)
		b.inject(sim.Fault{Action: sim.Stall, When: when})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		a := b.send(b.post("/graphql", key, []byte(`{"query":"{ users { totalCount } }"}`)).WithContext(ctx))
		cancel()
		if !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("%s: got %+v, want nothing until the deadline", when, a)
		}
	}
}

func TestCloseFreesStalledRequests(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.inject(sim.Fault{Action: sim.Stall})
	b.sim.Close()
	if a := b.raw(countQuery, nil); a.err == nil {
		t.Errorf("got an answer: %+v", a)
	}
}

// In a bubble, latency takes no time, and nothing of the simulator keeps the bubble from ending.
func TestLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Plans: []sim.Plan{{Name: "acme", Key: key}}})
		if err := s.Configure("", func(sw *sim.Switches) { sw.Latency = sim.Duration(3 * time.Second) }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Inject(sim.Fault{Action: sim.Delay, Delay: sim.Duration(time.Hour), Match: sim.Match{Nth: 2}}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		for _, want := range []time.Duration{3 * time.Second, time.Hour + 6*time.Second} {
			req := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(`{"query":"{ users { totalCount } }"}`))
			req.Header.Set("Authorization", "Bearer "+key)
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, req)
			if w.Code != 200 || time.Since(begin) != want {
				t.Errorf("%d after %s, want %s", w.Code, time.Since(begin), want)
			}
		}
	})
}

func TestMatching(t *testing.T) {
	t.Parallel()
	b := setup(t, people(4)...)
	yes := true
	fail := func(id string, m sim.Match) sim.Fault {
		return sim.Fault{ID: id, Match: m, Action: sim.Answer, Status: 500}
	}
	b.inject(fail("other plan", sim.Match{Plan: "globex"}), fail("path", sim.Match{Path: "/deprovision"}),
		fail("named", sim.Match{Operation: "Named"}), fail("root", sim.Match{Operation: "planAdmins"}),
		fail("second page", sim.Match{Page: 2}), fail("lookups", sim.Match{Filtered: &yes}), fail("dry runs", sim.Match{DryRun: &yes}))
	b.want(b.raw(countQuery, nil).status, 200)
	b.want(b.raw("query Named { users { totalCount } }", nil).status, 500)
	b.want(b.raw("{ planAdmins { totalCount } }", nil).status, 500)
	end := b.page(map[string]any{"first": 2}).PageInfo.EndCursor
	b.want(b.raw(usersQuery, map[string]any{"first": 2, "after": end}).status, 500)
	b.want(b.raw(usersQuery, map[string]any{"filter": map[string]any{"emails": []string{"x"}}}).status, 500)
	b.want(b.send(b.post("/graphql", otherKey, []byte(`{"query":"{ users { totalCount } }"}`))).status, 500)
	b.sim.ClearFaults()
	b.want(b.raw("query Named { users { totalCount } }", nil).status, 200)
}

func TestChanceIsReproducible(t *testing.T) {
	t.Parallel()
	run := func() (out []int) {
		b := setup(t)
		b.inject(sim.Fault{Match: sim.Match{Probability: 0.5}, Action: sim.Answer, Status: 500})
		for range 40 {
			out = append(out, b.raw(countQuery, nil).status)
		}
		b.sim.ClearFaults()
		b.inject(sim.Fault{Match: sim.Match{Probability: 0.5}, Action: sim.Answer, Status: 500})
		for i := range 40 {
			b.want(b.raw(countQuery, nil).status, out[i])
		}
		return out
	}
	first := run()
	failed := 0
	for i, status := range run() {
		if status != first[i] {
			t.Fatalf("request %d differs between two runs", i)
		}
		if status == 500 {
			failed++
		}
	}
	if failed < 8 || failed > 32 {
		t.Errorf("%d of 40 failed", failed)
	}
}
