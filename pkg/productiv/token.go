package productiv

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// defaultLife of a token whose answer does not say: short, because a token kept too long costs a refused call,
	// and one renewed too often only a request.
	defaultLife = 5 * time.Minute
	// maxLife bounds what an answer may claim, in case it counts in another unit.
	maxLife = 24 * time.Hour
	// maxEarly is how long before its end a token is renewed at most; a fifth of a short life.
	maxEarly = time.Minute
)

// readyToken is a token that somebody else keeps fresh. It is read for each call, so there is nothing to invalidate.
type readyToken func() (string, error)

func (r readyToken) Token(context.Context) (string, error) {
	token, err := readSecret(r, "access token")
	if err == nil && !headerSafe(token) {
		return "", fault.New(fault.Permanent, "no-credentials", "the access token holds characters that no token has")
	}
	return token, err
}

func (readyToken) Invalidate(string) {}

// readSecret reads a secret of the configuration. A file that is just being replaced may be missing or empty for a
// moment, so a failure is transient.
func readSecret(read func() (string, error), what string) (string, error) {
	if read == nil {
		return "", fault.New(fault.Permanent, "no-credentials", "the %s is not configured", what)
	}
	text, err := read()
	if err != nil || text == "" {
		return "", fault.New(fault.Transient, "no-credentials", "the %s is missing or cannot be read", what).Because(err)
	}
	return text, nil
}

// cachedTokens keeps one token and renews it.
//
//	none ──fetch──▶ fresh ──soft──▶ ageing ──hard──▶ none
//	                  ▲                │
//	                  └──── fetch ─────┘   while the old token serves
//
// At most one fetch is under way. It belongs to no caller: it has its own context, so that a caller who gives up takes
// the token from nobody else, and callers wait for it no longer than their own contexts. A fetch that fails fails all
// who wait; the next caller starts another.
type cachedTokens struct {
	// fetch asks for a token and how long it lives; zero is not known.
	fetch func(ctx context.Context) (token string, life time.Duration, err error)
	// lifetime ends with the client, and with it a fetch under way.
	lifetime context.Context
	// timeout bounds one fetch.
	timeout time.Duration

	mu         sync.Mutex
	token      string // "" is none
	soft, hard time.Time
	flight     *flight // nil is none
}

// flight is a fetch under way; token and err may be read once done is closed.
type flight struct {
	done  chan struct{}
	token string
	err   error
}

// Token returns the token that is kept, or waits for a fetch.
func (s *cachedTokens) Token(ctx context.Context) (string, error) {
	token, f := s.current()
	if token != "" {
		return token, nil
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// current returns the token that is kept or else the fetch to wait for. An ageing token is renewed behind the
// caller's back; should that fail, the old one serves to its end.
func (s *cachedTokens) current() (string, *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.token == "" || !now.Before(s.hard) {
		return "", s.join()
	}
	if !now.Before(s.soft) {
		s.join()
	}
	return s.token, nil
}

// join returns the fetch under way and starts one if there is none. s.mu is held.
func (s *cachedTokens) join() *flight {
	if s.flight == nil {
		s.flight = &flight{done: make(chan struct{})}
		go s.fly(s.flight)
	}
	return s.flight
}

func (s *cachedTokens) fly(f *flight) {
	ctx, cancel := context.WithTimeout(s.lifetime, s.timeout)
	defer cancel()
	asked := time.Now() // a token's life counts from before the question: late is the wrong way to be wrong
	token, life, err := s.fetch(ctx)
	f.token, f.err = token, fetchFault(ctx, err)

	s.mu.Lock()
	s.flight = nil
	if err == nil {
		if life <= 0 {
			life = defaultLife
		}
		life = min(life, maxLife)
		s.token, s.hard = token, asked.Add(life)
		s.soft = s.hard.Add(-min(maxEarly, life/5))
	}
	s.mu.Unlock()
	close(f.done)
}

// fetchFault keeps the end of the fetch's own context from looking like the end of its callers'.
func fetchFault(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fault.New(fault.Transient, "timeout", "the token endpoint did not answer in time").Because(err)
	}
	return err
}

// Invalidate drops the token if it is still the one that is kept: of twenty calls that were refused together, the
// first causes a fetch, and the others find its result.
func (s *cachedTokens) Invalidate(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == token {
		s.token = ""
	}
}

// headerSafe says whether a token can stand in a header as it is.
func headerSafe(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}
