package faultbench

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// Four connections, one of them down: the other three take as long as when all are up.
func TestDown_delaysNobodyElse(t *testing.T) {
	t.Parallel()
	down := map[string]pluralsightsim.Fault{
		"hangs":            {Action: pluralsightsim.Stall},
		"answers 503 late": {Action: pluralsightsim.Answer, Status: http.StatusServiceUnavailable},
	}
	for name, fault := range down {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := []string{"acme", "globex", "initech"}
			b := Start(t, Options{People: 600, Connections: append(slices.Clone(up), "umbra"), Latency: 10 * time.Millisecond, CallTimeout: 4 * time.Second})
			b.race(append(slices.Clone(up), "umbra")) // everybody's first publication is not what is compared
			before := b.race(up)

			fault.Match.Plan = "umbra"
			if fault.Action == pluralsightsim.Answer {
				err := b.pluralsight.Configure("umbra", func(s *pluralsightsim.Switches) { s.Latency = pluralsightsim.Duration(2 * time.Second) })
				if err != nil {
					t.Fatal(err)
				}
			}
			if _, err := b.pluralsight.Inject(fault); err != nil {
				t.Fatal(err)
			}
			dark := b.Request("umbra", "bench")
			b.Await(startLimit, "the vendor is asked for what it will not give", func() bool { return b.pluralsight.Faults()[0].Seen > 0 })
			after := b.race(up)
			if len(b.outcomes.of(dark.id)) > 0 && *chaos > 0 { // on a busy machine the others may take that long
				t.Error("the connection that is down was answered before the others were measured: nothing was shown")
			}
			t.Logf("three connections: %s with all up, %s with one down", before, after)
			if limit := 4*before + 3*time.Second; after > limit {
				t.Errorf("the other connections took %s, where %s is what they take: one that is down delays them", after, before)
			}
			if o := b.Outcome(dark); o.Outcome != events.OutcomeFailed || o.Reason == "" {
				t.Errorf("the connection that is down ended as %s (%s)", o.Outcome, o.Reason)
			}
			b.pluralsight.ClearFaults()
			b.wantDone(b.Sync("umbra"))
			b.Judge()
		})
	}
}

// race syncs connections side by side, twice, and returns the longest time from request to outcome.
func (b *Bench) race(connections []string) (longest time.Duration) {
	b.t.Helper()
	for range 2 {
		began := time.Now()
		var asked []request
		for _, c := range connections {
			asked = append(asked, b.Request(c, fmt.Sprintf("race-%s", c)))
		}
		for _, r := range asked {
			o := b.Outcome(r)
			b.wantDone(o.RosterPublished)
			longest = max(longest, o.at.Sub(began))
		}
	}
	return longest
}
