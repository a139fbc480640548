package faultbench

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// Four connections, one of them down: the other three are done, twice, while the one that is down is not even given up.
// That takes ten attempts of 25 s and more, which is longer than anybody waits for an outcome here: order shows it, not
// a clock, on however busy a machine.
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
			b := Start(t, Options{People: 600, Connections: append(slices.Clone(up), "umbra"), Latency: 10 * time.Millisecond, Attempts: 10})
			latency := func(d time.Duration) {
				err := b.pluralsight.Configure("umbra", func(s *pluralsightsim.Switches) { s.Latency = pluralsightsim.Duration(d) })
				if err != nil {
					t.Fatal(err)
				}
			}
			fault.Match.Plan = "umbra"
			if _, err := b.pluralsight.Inject(fault); err != nil {
				t.Fatal(err)
			}
			latency(25 * time.Second)
			dark := b.Request("umbra", "bench")
			b.Await(startLimit, "the vendor is asked for what it will not give", func() bool { return b.pluralsight.Faults()[0].Seen > 0 })
			for range 2 {
				b.race(up)
			}
			if len(b.outcomes.of(dark.id)) > 0 {
				t.Error("the connection that is down was answered before the others: nothing was shown")
			}
			b.pluralsight.ClearFaults()
			latency(0)
			b.wantDone(b.Outcome(dark).RosterPublished)
			b.Judge()
		})
	}
}

// race syncs connections side by side.
func (b *Bench) race(connections []string) {
	b.t.Helper()
	var asked []request
	for _, c := range connections {
		asked = append(asked, b.Request(c, fmt.Sprintf("race-%s", c)))
	}
	for _, r := range asked {
		b.wantDone(b.Outcome(r).RosterPublished)
	}
}
