package faultbench

import (
	"testing"
	"time"
)

const (
	// callLatency and overhead are the figures to be shown: a sync takes as long as its calls in sequence, and 5 % more.
	callLatency = 150 * time.Millisecond
	overhead    = 0.05
	// fixed is what does not grow with a sync: the hand-overs between four stages.
	fixed = 250 * time.Millisecond
)

// TestLatency_isAllThatASyncCosts does not run beside others: it measures. A call counts with the time that the vendor
// took for it, since on a busy machine that is more than its latency. Noise only adds to the rest, so the best of three
// attempts counts.
func TestLatency_isAllThatASyncCosts(t *testing.T) {
	if *chaos == 0 {
		t.Skip("measures, and the short form shares its machine: make chaos, make bench")
	}
	rng := draw(t, 30)
	b := Start(t, Options{People: 6000, Latency: callLatency})
	for attempt := 1; ; attempt++ {
		began, before := time.Now(), b.work()
		o := b.Outcome(b.Request("acme", "bench"))
		b.wantDone(o.RosterPublished)
		took, least := o.at.Sub(began), b.work()-before
		calls := b.count(began, func(a act) bool { return a.to != "" })
		t.Logf("%d calls of %s: %s in sequence (with the vendors' own time %s), the sync took %s, %.1f %% more", calls, callLatency,
			time.Duration(calls)*callLatency, least.Round(time.Millisecond), took.Round(time.Millisecond), 100*(float64(took)/float64(least)-1))
		if calls < 60 || least < time.Duration(calls)*callLatency {
			t.Error("the calls had no latency: nothing was shown")
		}
		if took <= least+time.Duration(overhead*float64(least))+fixed {
			break
		}
		if attempt == 3 {
			t.Errorf("the sync takes more than %.0f %% and %s longer than its calls", 100*overhead, fixed)
			break
		}
		b.Change(rng, "acme", 300)
	}
	b.Judge()
}
