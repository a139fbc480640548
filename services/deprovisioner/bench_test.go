package deprovisioner

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// TestIntakeRate says how many events per second become durable requests, beside what the broker stores of the same
// events with nobody behind it. It reports and judges nothing: ratios depend on the machine.
func TestIntakeRate(t *testing.T) {
	if testing.Short() {
		t.Skip("measures")
	}
	const n = 5000
	w := newTown(t, 1, func(d *config.Deprovision) {
		d.BatchMaxAge = time.Hour
		d.BatchMaxUsers = 1000
		d.Protect = []string{"*"}
	})
	publish := func(source string) time.Duration {
		begun := time.Now()
		var group sync.WaitGroup
		work := make(chan int)
		for range 64 {
			group.Go(func() {
				for i := range work {
					w.publish(source, fmt.Sprint(i), email(i))
				}
			})
		}
		for i := range n {
			work <- i
		}
		close(work)
		group.Wait()
		return time.Since(begun)
	}
	bare := publish("bare")
	begun := time.Now()
	w.start()
	w.eventually("all in the ledger", func() bool {
		count, err := streams.Count(t.Context(), w.js, streams.Ledger, deprovision.RequestSubject("acme", "*"))
		return err == nil && count == n
	})
	drained := time.Since(begun)
	w.outcomes(n)
	t.Logf("stored by the broker: %.0f events/s; waiting ones into the ledger: %.0f/s; to their outcome: %.0f/s",
		n/bare.Seconds(), n/drained.Seconds(), n/time.Since(begun).Seconds())
}

// BenchmarkAccept is what the intake does for one event besides the broker.
func BenchmarkAccept(b *testing.B) {
	body, err := json.Marshal(map[string]any{"email": "ada@example.com", "reason": "left"})
	if err != nil {
		b.Fatal(err)
	}
	header := nats.Header{"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/hr"}, "ce-type": {events.DeprovisionRequestedType},
		"ce-time": {time.Now().UTC().Format(time.RFC3339)}}
	r := rulesFor(config.DefaultConnection("acme"), config.Default().Retry)
	now := time.Now()
	for b.Loop() {
		e, err := events.Read(header, body)
		if err != nil {
			b.Fatal(err)
		}
		if req := accept(e, "hr", r, now); !req.Open() {
			b.Fatal(req.Outcome)
		}
	}
}
