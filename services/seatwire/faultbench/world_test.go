package faultbench

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// world is a whole deployment at work: the list of acme is kept, and people of globex leave.
type world struct {
	*layoffs
	// asked numbers the leavers.
	asked int
}

// startWorld starts all services on both connections. Options say the rest.
func startWorld(t *testing.T, rng *rand.Rand, o Options) *world {
	t.Helper()
	o.Connections, o.Others, o.Deprovision = []string{"acme", "globex"}, 200, layoffRules(cmp.Or(o.FileSize, 100), cmp.Or(o.VerifyWithin, patient))
	o.CallTimeout, o.Attempts = cmp.Or(o.CallTimeout, 5*time.Second), 10
	return &world{layoffs: newLayoffs(Start(t, o), rng, "globex")}
}

// leave lets n people of globex leave.
func (w *world) leave(n int) {
	w.t.Helper()
	w.began = time.Now()
	for _, p := range w.hire(n) {
		w.asked++
		w.ask(leaver{layoffSources[w.asked%len(layoffSources)], fmt.Sprintf("w-%d", w.asked), p})
	}
}

// round is a sync and 20 leavers, with what strikes meanwhile: it begins when work is under way and must end with all
// faults off. Afterwards the list is right and everybody is answered.
func (w *world) round(strike func()) (recovered time.Duration) {
	w.t.Helper()
	asked := w.strikeAtWork(strike)
	healed := time.Now()
	w.wantDone(w.Outcome(asked).RosterPublished)
	w.Await(layoffLimit, "every request is settled", w.over)
	w.wantSame("acme")
	return time.Since(healed)
}

// strikeAtWork asks for a sync and 20 leavers, and has something strike when some of it is done.
func (w *world) strikeAtWork(strike func()) (asked request) {
	w.t.Helper()
	w.Change(w.rng, "acme", w.options.People/20)
	began := time.Now()
	asked = w.Request("acme", "hr")
	w.leave(20)
	after := w.rng.IntN(12)
	w.Await(syncLimit, "work is under way", func() bool {
		return w.count(began, func(a act) bool { return a.by.service != "" }) > after
	})
	strike()
	return asked
}

// judge checks both halves.
func (w *world) judge() {
	w.t.Helper()
	w.AwaitReady()
	w.Await(3*layoffLimit, "every request is settled", w.over) // a backlog of an hour's kills, perhaps
	w.judgeLayoffs()
	w.wantDone(w.Sync("acme"))
	w.wantDone(w.Sync("globex"))
	w.Judge()
}

// flood asks for a licence back every 10 ms until it is stopped: a tenth are people who leave, the others are asked for
// once more by another system. What the broker does not take is sent until it does, under the same identity.
func (w *world) flood(seed uint64) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 7))
		began, tick := time.Now(), time.NewTicker(10*time.Millisecond)
		defer tick.Stop()
		var known []pluralsightsim.Person
		for n := 0; ; n++ {
			for time.Since(began) < time.Duration(n)*10*time.Millisecond {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
			if n%10 == 0 {
				p, err := w.pluralsight.AddPerson(w.connection, newcomer(w.newAddress(rng, w.connection), rng.Uint64()))
				if err != nil {
					w.t.Error(err)
					return
				}
				known = append(known, p)
			}
			// Whoever left long ago is asked for no more: nobody does.
			p := known[max(0, len(known)-1-rng.IntN(min(len(known), 50)))]
			if !w.insist(ctx, leaver{layoffSources[n%len(layoffSources)], fmt.Sprintf("f-%d", n), p}) {
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// insist publishes until the broker confirms it; false means that the flood was stopped before.
func (w *world) insist(ctx context.Context, r leaver) bool {
	m := r.message(w.connection, time.Now())
	w.want(r)
	for {
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		_, err := w.js.PublishMsg(attempt, m)
		cancel()
		if err == nil {
			return ctx.Err() == nil
		}
	}
}
