package bus

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// TestGroup: everybody gets the result of their own message, whatever becomes of the others.
func TestGroup(t *testing.T) {
	t.Parallel()
	p, js := newPublisherRig(t, jetstream.StreamConfig{AllowAtomicPublish: true, MaxMsgsPerSubject: 1, DiscardNewPerSubject: true})
	if _, err := p.PublishMsg(t.Context(), "w.7", "there", nil, nil); err != nil {
		t.Fatal(err)
	}
	g := NewGroup(p)
	const n = 200
	var callers sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		callers.Go(func() {
			_, errs[i] = g.PublishMsg(t.Context(), fmt.Sprintf("w.%d", i), fmt.Sprintf("id%d", i), nil, nil)
		})
	}
	callers.Wait()
	for i, err := range errs {
		if taken := i == 7; IsKeyExists(err) != taken || (err == nil) == taken {
			t.Errorf("message %d: %v", i, err)
		}
	}
	if got := stored(t, js, "W"); got != n {
		t.Fatalf("%d stored, want %d", got, n)
	}
}
