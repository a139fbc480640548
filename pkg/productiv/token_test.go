package productiv

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
)

// mint is a token endpoint without HTTP: it gives tokens t1, t2, … after a delay.
type mint struct {
	delay time.Duration
	life  time.Duration

	mu    sync.Mutex
	asked int
	err   error
}

func (m *mint) fetch(ctx context.Context) (string, time.Duration, error) {
	m.mu.Lock()
	m.asked++
	n, err := m.asked, m.err
	m.mu.Unlock()
	select {
	case <-time.After(m.delay):
		return "t" + strconv.Itoa(n), m.life, err
	case <-ctx.Done():
		return "", 0, ctx.Err()
	}
}

func (m *mint) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

func (m *mint) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.asked
}

func newTokens(t *testing.T, m *mint) *cachedTokens {
	return &cachedTokens{fetch: m.fetch, lifetime: t.Context(), timeout: 10 * time.Second}
}

// pass lets virtual time pass: every test that uses it runs in a synctest bubble.
func pass(d time.Duration) { <-time.After(d) }

func wantToken(t *testing.T, s *cachedTokens, want string) {
	t.Helper()
	if got, err := s.Token(t.Context()); got != want || err != nil {
		t.Errorf("at %v: got %q, %v; want %s", time.Now().Format("15:04:05"), got, err, want)
	}
}

func TestCachedTokens_LifeOfAToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ life, soft, hard time.Duration }{
		{time.Hour, 59 * time.Minute, time.Hour},
		{100 * time.Second, 80 * time.Second, 100 * time.Second},
		{0, 4 * time.Minute, 5 * time.Minute},
		{-time.Second, 4 * time.Minute, 5 * time.Minute},
		{1000 * time.Hour, 24*time.Hour - time.Minute, 24 * time.Hour},
	} {
		t.Run(c.life.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &mint{delay: time.Second, life: c.life}
				s, start := newTokens(t, m), time.Now()
				at := func(d time.Duration) { pass(time.Until(start.Add(d))) }
				wantToken(t, s, "t1")
				at(c.soft - time.Nanosecond)
				wantToken(t, s, "t1")
				if m.count() != 1 {
					t.Errorf("%d fetches before the token aged", m.count())
				}
				at(c.soft)
				wantToken(t, s, "t1") // served while it is renewed behind
				wantToken(t, s, "t1")
				synctest.Wait()
				if m.count() != 2 {
					t.Errorf("%d fetches once it aged; want 2", m.count())
				}
				at(c.soft + time.Second)
				synctest.Wait()
				wantToken(t, s, "t2")
			})
		})
	}
}

func TestCachedTokens_AgeingTokenServesWhileRenewalFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mint{life: 100 * time.Second}
		s := newTokens(t, m)
		wantToken(t, s, "t1")
		m.fail(fault.New(fault.Transient, "server-error", ""))
		pass(90 * time.Second)
		wantToken(t, s, "t1")
		synctest.Wait()
		wantToken(t, s, "t1")
		pass(10 * time.Second)
		if _, err := s.Token(t.Context()); fault.ReasonOf(err) != "server-error" {
			t.Errorf("at its end: %v", err)
		}
		m.fail(nil)
		if token, err := s.Token(t.Context()); token == "t1" || err != nil {
			t.Errorf("once the endpoint is back: %q, %v", token, err)
		}
	})
}

func TestCachedTokens_OneFetchForAllWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mint{delay: time.Second, life: time.Hour}
		s := newTokens(t, m)
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { wantToken(t, s, "t1") })
		}
		wg.Wait()
		if m.count() != 1 {
			t.Errorf("%d fetches for 50 callers", m.count())
		}
	})
}

func TestCachedTokens_AWaiterLeavesWithItsOwnContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mint{delay: 5 * time.Second, life: time.Hour}
		s, start := newTokens(t, m), time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			_, err := s.Token(ctx) // it started the fetch, and takes it from nobody
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 30*time.Millisecond {
				t.Errorf("returned %v after %v", err, time.Since(start))
			}
		})
		pass(10 * time.Millisecond)
		wg.Go(func() { wantToken(t, s, "t1") })
		wg.Wait()
		if m.count() != 1 {
			t.Errorf("%d fetches", m.count())
		}
	})
}

func TestCachedTokens_InvalidateDropsOnlyThatToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mint{delay: time.Second, life: time.Hour}
		s := newTokens(t, m)
		wantToken(t, s, "t1")
		var wg sync.WaitGroup
		for range 20 { // twenty calls were refused together
			wg.Go(func() {
				s.Invalidate("t1")
				wantToken(t, s, "t2")
			})
		}
		wg.Wait()
		s.Invalidate("t1") // and one came late
		wantToken(t, s, "t2")
		if m.count() != 2 {
			t.Errorf("%d fetches; want 2", m.count())
		}
	})
}

func TestCachedTokens_AFetchThatHangsEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mint{delay: time.Hour, life: time.Hour}
		s, start := newTokens(t, m), time.Now()
		_, err := s.Token(t.Context())
		if fault.ReasonOf(err) != "timeout" || fault.ClassOf(err) != fault.Transient || time.Since(start) != 10*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestCachedTokens_AFailureIsNotRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mint{delay: time.Second, life: time.Hour, err: fault.New(fault.Permanent, "client-refused", "")}
		s := newTokens(t, m)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := s.Token(t.Context()); fault.ReasonOf(err) != "client-refused" {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		m.fail(nil)
		wantToken(t, s, "t2")
	})
}

func TestReadToken(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600}`:   "a 1h0m0s <nil>",
		`{"access_token":"a","token_type":"bearer","expires_in":"3600"}`: "a 1h0m0s <nil>",
		`{"access_token":"a","expires_in":1.5}`:                          "a 1.5s <nil>",
		`{"access_token":"a"}`:                                           "a 0s <nil>",
		`{"access_token":"a","expires_in":null}`:                         "a 0s <nil>",
		`{"access_token":"a","expires_in":-5}`:                           "a 0s <nil>",
		`{"access_token":"a","expires_in":"soon"}`:                       "a 0s <nil>",
		`{"access_token":"a","expires_in":"NaN"}`:                        "a 0s <nil>",
		`{"access_token":"a","expires_in":{"x":1}}`:                      "a 0s <nil>",
		`{"access_token":"a","expires_in":1e300}`:                        "a 24h0m0s <nil>",
		`{"access_token":"a","expires_in":"Inf"}`:                        "a 24h0m0s <nil>",
		`{"access_token":"a","token_type":"mac"}`:                        malformed,
		`{"access_token":""}`:                                            malformed,
		`{"access_token":"a b"}`:                                         malformed,
		`{"access_token":"a\nb"}`:                                        malformed,
		`{"access_token":7}`:                                             malformed,
		`{}`:                                                             malformed,
		`null`:                                                           malformed,
		``:                                                               malformed,
		`access_token=a&token_type=bearer`:                               malformed,
		`{"access_token":"a"} x`:                                         malformed,
	} {
		token, life, err := readToken([]byte(text))
		if got := fmt.Sprintln(token, life, err); got != want+"\n" {
			t.Errorf("%s: got %swant %s", text, got, want)
		}
	}
}

const malformed = " 0s token-malformed: the token endpoint answered with success, but not with a bearer token"
