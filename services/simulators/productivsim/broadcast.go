package productivsim

import (
	"context"
	"sync"
)

// broadcast wakes everybody who waits for a change.
type broadcast struct {
	mu   sync.Mutex
	next chan struct{}
}

// wait returns a channel that the next announcement closes.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}

func (b *broadcast) announce() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// Await returns when condition holds, or with the context's cause. The condition is asked at once, and again whenever a call
// begins, takes effect or ends, so that a test needs no sleep to meet a call under way.
func (s *Sim) Await(ctx context.Context, condition func(*Sim) bool) error {
	for {
		changed := s.changes.wait()
		if condition(s) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
