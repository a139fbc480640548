package faultbench

import (
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/streams"
)

// The broker dies with -9 in each phase of a sync and comes back on its data: right list, one outcome.
func TestBrokerKill_syncGoesOn(t *testing.T) {
	t.Parallel()
	rng := draw(t, 20)
	b := Start(t, Options{People: 1500, PageSize: 50, BatchSize: 50, Latency: 5 * time.Millisecond})
	b.wantDone(b.Sync("acme"))
	for _, service := range []string{streams.Fetcher, streams.Normalizer, streams.Publisher} {
		b.Change(rng, "acme", 60)
		began := time.Now()
		asked := b.Request("acme", "hr")
		after := rng.IntN(8)
		b.Await(syncLimit, service+" is at work", func() bool { return b.count(began, of(service)) > after })
		b.KillNATS()
		killed := time.Now()
		b.RestartNATS()
		o := b.Outcome(asked)
		b.wantDone(o.RosterPublished)
		t.Logf("killed at act %d of %s, answered %s later", after, service, o.at.Sub(killed).Round(time.Millisecond))
		b.wantSame("acme")
	}
	b.Judge()
}
