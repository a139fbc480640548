package publisher

import (
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
)

// TestReplay_ofAnOlderManifest: a manifest that was set aside and comes back after a newer roster calls nobody, and its
// requesters are told why. A newer sweep that brought no roster is no reason to refuse it.
func TestReplay_ofAnOlderManifest(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	t.Run("after a newer roster", func(t *testing.T) {
		w := b.newWorld(t, "replayed")
		setAside := w.sweep(crowd(2))
		w.publish(crowd(4))
		w.app.calls() // forgets them
		told := w.finish(setAside)
		if told.Outcome != events.OutcomeFailed || !strings.HasPrefix(told.Reason, "superseded by sweep") || told.SweepID != setAside.SweepID {
			t.Errorf("told %+v", told)
		}
		if calls := w.app.calls(); len(calls) != 0 {
			t.Errorf("called Productiv: %v", calls)
		}
		w.lists(lines(crowd(4))...)
	})
	t.Run("after a hold", func(t *testing.T) {
		w := b.newWorld(t, "replayed-held", guards(config.Guards{MaxRemovalPercent: 100, MaxRemovals: 1, MaxRemovalPercent24h: 1000}))
		w.publish(crowd(6))
		setAside := w.sweep(crowd(5))
		w.publish(crowd(1))
		if told := w.finish(setAside); !strings.HasPrefix(told.Reason, "superseded by sweep") {
			t.Errorf("told %+v", told)
		}
		w.lists(lines(crowd(6))...)
	})
	t.Run("after a newer failure", func(t *testing.T) {
		w := b.newWorld(t, "replayed-failed")
		setAside := w.sweep(crowd(2))
		w.publish(crowd(4), func(m *roster.Manifest) { m.Failure = "unsound" })
		if told := w.finish(setAside); told.Outcome != events.OutcomePublished {
			t.Errorf("told %+v", told)
		}
		w.lists(lines(crowd(2))...)
	})
}
