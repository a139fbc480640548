package faultbench

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// Judge waits until nothing is left to do, and checks everything that must hold after any run in which every request
// was good.
func (b *Bench) Judge() {
	b.t.Helper()
	b.Quiet()
	for _, connection := range b.options.Connections {
		b.wantSame(connection)
	}
	b.wantOneOutcome()
	b.wantSweepsForward()
	b.wantOneWriter()
	b.wantOwnPeople()
	b.wantNobodyLost()
	b.wantOnlyGoneRemoved()
	b.wantWireLimits()
	b.wantNothingInEarnest()
	b.wantLetters()
	b.wantNobodyDiedAlone()
	b.wantBounds()
	b.wantSilence()
	b.wantNoLeak()
}

// Quiet returns when no durable has anything left, looked at in the order of the flow.
func (b *Bench) Quiet() {
	b.t.Helper()
	defer found.tests(convergence, 1)
	b.Await(syncLimit, "every durable is idle", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for _, c := range b.topology.Consumers {
			consumer, err := b.js.Consumer(ctx, c.Stream, c.Config.Durable)
			if err != nil {
				return false
			}
			if info := consumer.CachedInfo(); info.NumPending > 0 || info.NumAckPending > 0 {
				return false
			}
		}
		return true
	})
}

// wantSame checks that Productiv lists exactly the licensed, under their addresses.
func (b *Bench) wantSame(connection string) {
	b.t.Helper()
	want, got := b.licensed(connection), b.listed(connection)
	missing, wrong := 0, 0
	for id, email := range want {
		switch listed, ok := got[id]; {
		case !ok:
			missing++
		case listed != email:
			wrong++
		}
	}
	superfluous := len(got) - (len(want) - missing)
	found.tests(wholeSnapshots, len(want))
	if missing+wrong+superfluous > 0 {
		found.violation(b.t, wholeSnapshots, "%s: of %d licensed people %d are not listed and %d wrongly; %d others are listed",
			connection, len(want), missing, wrong, superfluous)
	}
}

// wantOneOutcome checks that each request got exactly one answer, and nobody else any.
func (b *Bench) wantOneOutcome() {
	b.t.Helper()
	b.outcomes.read(context.Background())
	b.outcomes.mu.Lock()
	defer b.outcomes.mu.Unlock()
	asked := map[string]bool{}
	for _, r := range b.requests {
		asked[r.id] = true
		if n := len(b.outcomes.byID[r.id]); n != 1 {
			found.violation(b.t, conservation, "request %s from %s has %d outcomes", r.id, r.source, n)
		}
	}
	for id := range b.outcomes.byID {
		if !asked[id] {
			found.violation(b.t, conservation, "an outcome for %q, which nobody asked for", id)
		}
	}
	found.tests(conservation, len(asked))
}

// wantOneWriter checks that no two writes to an app were under way at once, whoever made them.
func (b *Bench) wantOneWriter() {
	b.t.Helper()
	found.tests(oneWriter, len(b.writes()))
	for _, o := range b.productiv.Overlaps() {
		if o.First.Owner == o.Second.Owner && o.First.Fault != "" {
			continue // a call that its owner gave up lasts until the vendor notices
		}
		found.violation(b.t, oneWriter, "%s: %s of %s began at %s while one of %s was under way", o.App,
			o.Second.Method, o.Second.Owner, o.Second.Start.Format(time.StampMicro), o.First.Owner)
	}
}

// writes are all writes to Productiv, in the order of their beginning.
func (b *Bench) writes() (out []productivsim.Request) {
	for _, r := range b.productiv.Requests() {
		if r.Endpoint == productivsim.EndpointUsers && r.Method != "GET" {
			out = append(out, r)
		}
	}
	return out
}

func (b *Bench) wantNobodyLost() {
	b.t.Helper()
	for _, connection := range b.options.Connections {
		left := 0
		for _, u := range b.productiv.Users(appOf(connection)) {
			if isForeign(u.AppUserID) {
				left++
			}
		}
		found.tests(blastRadius, foreigners)
		if left != foreigners {
			found.violation(b.t, blastRadius, "%s: %d of %d people that we never added are left", connection, left, foreigners)
		}
	}
	if c := b.productiv.Counts(); c.Lost != 0 {
		found.violation(b.t, blastRadius, "%d people went from Productiv's lists without a DELETE that named them", c.Lost)
	}
}

// wantOnlyGoneRemoved checks each removal against the plan's history: the person was off the account at that moment.
func (b *Bench) wantOnlyGoneRemoved() {
	b.t.Helper()
	gone := b.absences()
	for _, c := range b.productiv.History() {
		if c.Kind != productivsim.ChangeDeleted && c.Kind != productivsim.ChangeLost {
			continue
		}
		found.tests(noAbsence, 1)
		if !gone.at(connectionOf(c.App), c.Before.AppUserID, c.At) {
			found.violation(b.t, noAbsence, "%s: somebody was removed at %s who held a licence", c.App, c.At.Format(time.StampMicro))
		}
	}
}

// absences knows when people left and came back, by connection and id, in order.
type absences map[[2]string][]pluralsightsim.Change

func (b *Bench) absences() absences {
	a := absences{}
	for _, c := range b.pluralsight.History() {
		key := [2]string{c.Plan, c.PsUserID}
		a[key] = append(a[key], c)
	}
	return a
}

func (a absences) at(connection, id string, moment time.Time) bool {
	gone := false
	for _, c := range a[[2]string{connection, id}] {
		if c.At.After(moment) {
			break
		}
		switch c.Kind {
		case "removed", "erased":
			gone = true
		case "readded", "added":
			gone = false
		}
	}
	return gone
}

// wantLetters checks that there are as many dead letters as are due, each with its reason and its origin.
func (b *Bench) wantLetters() {
	b.t.Helper()
	letters := b.deadLetters()
	found.tests(lettersWhole, max(1, len(letters)))
	if len(letters) != b.letters {
		found.violation(b.t, lettersWhole, "%d dead letters where %d are due", len(letters), b.letters)
	}
	for _, l := range letters {
		for _, name := range []string{"Reason", "Error", "Service", "Subject", "Sequence", "Attempts", "At"} {
			if l.Header.Get("Seatwire-Dead-"+name) == "" {
				found.violation(b.t, lettersWhole, "the dead letter %d has no %s", l.Sequence, name)
			}
		}
	}
}

// deadLetters are all messages that any stage gave up on.
func (b *Bench) deadLetters() (letters []*jetstream.RawStreamMsg) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for msg, err := range streams.Read(ctx, b.js, streams.DeadLetters, events.DeadLetterSubject+".>", 1) {
		if err != nil {
			b.t.Errorf("read the dead letters: %v", err)
			break
		}
		letters = append(letters, msg)
	}
	return letters
}
