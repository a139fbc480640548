package faultbench

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/streams"
)

// Two replicas of everything, several systems that ask at the same time, a plan that changes meanwhile, and a rolling
// restart of it all: owners take turns at each app.
func TestReplicas_oneWriterAtATime(t *testing.T) {
	t.Parallel()
	rng := draw(t, 10)
	b := Start(t, Options{People: 600, Connections: []string{"acme", "globex"}, Replicas: 2, BatchSize: 20, Latency: 3 * time.Millisecond})
	for wave := range 4 {
		// The next wave comes while this one is being answered. A plan that changes while it is read is a doubt, and its
		// sweep fails; that every request has one answer holds all the same.
		for _, connection := range b.options.Connections {
			b.Change(rng, connection, 60)
			first := b.Request(connection, "hr")
			b.Request(connection, "directory")
			b.Request(connection, "tickets")
			b.Outcome(first)
		}
		b.roll(wave % 2)
	}
	for _, connection := range b.options.Connections {
		b.wantDone(b.Sync(connection))
	}
	b.Judge()
	writers := map[string]int{}
	for _, w := range b.writes() {
		writers[w.App+" by "+w.Owner]++
	}
	t.Logf("writes: %v", writers)
	if len(writers) < 3 {
		t.Errorf("%d pairs of app and writer: nobody took turns, so nothing was shown", len(writers))
	}
}

// roll restarts one replica of each service, as a deployment does: SIGTERM, exit 0, the next process.
func (b *Bench) roll(replica int) {
	b.t.Helper()
	for _, service := range b.options.Services {
		p := b.replicas[service][replica]
		if code := p.terminate(drainLimit); code != 0 {
			b.t.Errorf("%s: SIGTERM with work in hand exits %d", service, code)
		}
		p.start(b.t)
	}
}

// TestFrozen_writesNothingAfterATakeOver freezes the publisher that writes with SIGSTOP, at a call on the wire and
// between calls, until the other replica has taken over. Awake again, it must not begin another write.
func TestFrozen_writesNothingAfterATakeOver(t *testing.T) {
	t.Parallel()
	moments := map[string]struct {
		fits func(act) bool
		n    int32
	}{
		"in the middle of a write":   {func(a act) bool { return a.write() }, 5},
		"in the middle of a reading": {func(a act) bool { return a.to == toProductiv && !a.write() }, 1},
	}
	for name, moment := range moments {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := Start(t, Options{People: 800, Replicas: 2, BatchSize: 50, Latency: 20 * time.Millisecond})
			b.wantDone(b.Sync("acme"))
			b.Change(draw(t, 11), "acme", 200)
			sleeper := b.freezeAt(moment.fits, moment.n)
			asked := b.Request("acme", "hr")
			b.Await(syncLimit, "a publisher is frozen", func() bool { return sleeper.Load() != nil })
			frozen := sleeper.Load()
			b.Await(2*takeOver, "the other publisher has written", func() bool {
				_, ok := b.first(frozen.at, func(a act) bool { return a.write() && a.by != frozen.by })
				return ok
			})
			taken, _ := b.first(frozen.at, func(a act) bool { return a.write() && a.by != frozen.by })
			t.Logf("frozen publisher replaced after %s", taken.at.Sub(frozen.at).Round(time.Millisecond))
			b.Cont(streams.Publisher, frozen.by.replica)
			b.wantDone(b.Outcome(asked).RosterPublished)
			b.Quiet()
			if n := b.count(taken.at, func(a act) bool { return a.write() && a.by == frozen.by }); n > 0 {
				t.Errorf("the frozen publisher began %d writes after it was replaced", n)
			}
			b.judgeTakeOver(frozen.by)
		})
	}
}

// freezeAt stops the publisher whose n-th act after this moment fits, while that call waits for its answer.
func (b *Bench) freezeAt(fits func(act) bool, n int32) *atomic.Pointer[act] {
	var (
		found atomic.Pointer[act]
		seen  atomic.Int32
	)
	b.onCall(func(a act) {
		if a.by.service == streams.Publisher && fits(a) && seen.Add(1) == n {
			b.Stop(a.by.service, a.by.replica)
			found.Store(&a)
		}
	})
	return &found
}

// judgeTakeOver is Judge without wantOneWriter's word on the one call that was on the wire when its owner froze: the
// vendor works on it, whoever has the lane by then.
func (b *Bench) judgeTakeOver(frozen owner) {
	b.t.Helper()
	b.wantSame("acme")
	b.wantOneOutcome()
	b.wantNobodyLost()
	b.wantOnlyGoneRemoved()
	b.wantNoLeak()
	onWire := map[int64]bool{}
	for _, o := range b.productiv.Overlaps() {
		if o.First.Owner != frozen.String() {
			b.t.Errorf("%s and %s wrote at the same time", o.First.Owner, o.Second.Owner)
		}
		onWire[o.First.Seq] = true
	}
	if len(onWire) > 1 {
		b.t.Errorf("%d calls of the frozen publisher were under way during others' writes", len(onWire))
	}
}
