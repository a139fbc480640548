package faultbench

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// point is a place in a service's work that can be told from outside: it has just sent the n-th message or made the n-th
// call that fits, and does not know yet what came of it.
type point struct {
	name, service string
	fits          func(act) bool
	n             int32
	// missed is the step after it, where that follows so closely that the kill may come too late; then it is tried again.
	missed func(act) bool
}

func sends(base string) func(act) bool {
	return func(a act) bool { return strings.HasPrefix(a.subject, base+".") }
}

func calls(vendor, method string) func(act) bool {
	return func(a act) bool { return a.to == vendor && a.method == method }
}

// allRead is the fetcher's last checkpoint of a sweep: everybody is stored, and no manifest says so yet.
func allRead(a act) bool {
	var s roster.Sweep
	return strings.HasPrefix(a.subject, stateSubject+"sweep.") && json.Unmarshal(a.body, &s) == nil &&
		s.Running && s.Checkpoint.Total > 0 && s.Checkpoint.Nodes == s.Checkpoint.Total && len(s.Checkpoint.Spans) > 0 &&
		s.Checkpoint.Pages > 2
}

// closed is the fetcher's end of a sweep.
func closed(a act) bool {
	var s roster.Sweep
	return strings.HasPrefix(a.subject, stateSubject+"sweep.") && json.Unmarshal(a.body, &s) == nil && !s.Running
}

// answered is the publisher's note that everybody was told.
func answered(a act) bool {
	return strings.HasPrefix(a.subject, stateSubject+"publication.") && len(a.body) > 0 && !concluded(a)
}

// concluded is the publisher's word about a sweep, before anybody is told.
func concluded(a act) bool {
	var p roster.Publication
	return strings.HasPrefix(a.subject, stateSubject+"publication.") && json.Unmarshal(a.body, &p) == nil &&
		len(p.History) > 0 && !p.History[len(p.History)-1].Answered
}

// points are numbered as in research/reliability.md 3.3.
var points = []point{
	{"F0 request accepted, source unacknowledged", streams.Fetcher, sends(streams.SweepAcceptedSubject), 1, nil},
	{"F1 sweep opened", streams.Fetcher, sends(stateSubject + "sweep"), 1, nil},
	{"F2 page requested", streams.Fetcher, calls(toPluralsight, http.MethodPost), 9, nil},
	{"F4 page published, cursor not saved", streams.Fetcher, sends(streams.UsersFetchedSubject), 5, nil},
	{"F6 last page, no manifest", streams.Fetcher, allRead, 1, sends(streams.UsersSweptSubject)},
	{"F7 manifest published, sweep open", streams.Fetcher, sends(streams.UsersSweptSubject), 1, closed},
	{"N2 page published, input unacknowledged", streams.Normalizer, sends(streams.UsersNormalizedSubject), 3, nil},
	{"P1 manifest in hand", streams.Publisher, sends(stateSubject + "publication"), 1, nil},
	{"P2 in the middle of reading", streams.Publisher, calls(toProductiv, http.MethodGet), 1, nil},
	{"P3 plan half sealed", streams.Publisher, sends(streams.PublicationChunkSubject), 2, nil},
	{"P4 ledger written, plan not stored", streams.Publisher, sends(streams.PublicationOwnedSubject), 1, nil},
	{"P6 first chunk on the wire", streams.Publisher, calls(toProductiv, http.MethodPost), 1, nil},
	{"P9 between chunks", streams.Publisher, calls(toProductiv, http.MethodPost), 2, nil},
	{"P11 in the middle of removals", streams.Publisher, calls(toProductiv, http.MethodDelete), 2, nil},
	{"P13 concluded, nobody told", streams.Publisher, concluded, 1, sends(events.RosterPublishedSubject)},
	{"P14 told, unacknowledged", streams.Publisher, sends(events.RosterPublishedSubject), 1, answered},
}

// TestKillPoints kills a service exactly where its work is half done, one place after another, and expects what
// TestKill9 expects. A point that is not reached fails.
func TestKillPoints_exactlyTheListAndOneOutcome(t *testing.T) {
	t.Parallel()
	const lanes = 8 // of two points each: a point costs an ack wait
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			b := Start(t, Options{People: 400, PageSize: 20, BatchSize: 10, Latency: 2 * time.Millisecond, Services: services[:3]})
			rng := draw(t, uint64(100+lane))
			b.wantDone(b.Sync("acme"))
			for i := lane; i < len(points); i += lanes {
				const tries = 5
				reached := false
				for try := 0; try < tries && !reached; try++ {
					reached = b.killAt(rng, points[i])
				}
				if !reached {
					t.Errorf("%s was never reached: each kill came too late", points[i].name)
				}
			}
			b.Judge()
		})
	}
}

// killAt runs a sync in which a service dies at the point, and reports whether it died before the next step.
func (b *Bench) killAt(rng *rand.Rand, p point) (reached bool) {
	b.t.Helper()
	b.Change(rng, "acme", 25)
	var (
		seen atomic.Int32
		died atomic.Pointer[time.Time]
	)
	b.onCall(func(a act) {
		if p.fits(a) && seen.Add(1) == p.n {
			b.replicas[p.service][0].shoot()
			died.Store(new(time.Now()))
		}
	})
	asked := b.Request("acme", "hr")
	b.Await(syncLimit, p.name+" is reached", func() bool { return died.Load() != nil })
	b.onCall(nil)
	b.Kill9(p.service, 0) // waits for the end
	_ = b.nc.Flush()      // what it sent before is noted
	_, late := b.first(*died.Load(), func(a act) bool { return p.missed != nil && p.missed(a) })
	b.Restart(p.service, 0)
	o := b.Outcome(asked)
	if o.Outcome != events.OutcomePublished && o.Outcome != events.OutcomeUnchanged {
		b.t.Errorf("killed at %s: %s (%s)", p.name, o.Outcome, o.Reason)
	}
	b.t.Logf("%-45s answered %s later", p.name, o.at.Sub(*died.Load()).Round(time.Millisecond))
	b.wantSame("acme")
	return !late
}
