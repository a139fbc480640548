package faultbench

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
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
	b.wantOneWriter()
	b.wantNobodyLost()
	b.wantOnlyGoneRemoved()
	for _, letter := range b.deadLetters() {
		b.t.Errorf("a dead letter where none is due: %s", letter.Subject)
	}
	b.wantNoLeak()
}

// Quiet returns when no durable has anything left, looked at in the order of the flow.
func (b *Bench) Quiet() {
	b.t.Helper()
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
	if missing+wrong+superfluous > 0 {
		b.t.Errorf("%s: of %d licensed people %d are not listed and %d wrongly; %d others are listed",
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
			b.t.Errorf("request %s from %s has %d outcomes", r.id, r.source, n)
		}
	}
	for id := range b.outcomes.byID {
		if !asked[id] {
			b.t.Errorf("an outcome for %q, which nobody asked for", id)
		}
	}
}

// wantOneWriter checks that no two writes to an app were under way at once, whoever made them.
func (b *Bench) wantOneWriter() {
	b.t.Helper()
	for _, o := range b.productiv.Overlaps() {
		b.t.Errorf("%s: %s of %s began at %s while one of %s was under way", o.App,
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
	if c := b.productiv.Counts(); c.Lost != 0 {
		b.t.Errorf("%d people went from Productiv's lists without a DELETE that named them", c.Lost)
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
		if !gone.at(connectionOf(c.App), c.Before.AppUserID, c.At) {
			b.t.Errorf("%s: somebody was removed at %s who held a licence", c.App, c.At.Format(time.StampMicro))
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

// deadLetters are all messages that any stage gave up on.
func (b *Bench) deadLetters() (letters []*jetstream.RawStreamMsg) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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

// leak is what must show nowhere: a canary credential, or the address of anybody in the simulators or the events.
var leak = regexp.MustCompile(keyPrefix + `|` + tokenPrefix + `|[^\s"@]+@[a-z0-9-]+(\.[a-z]+)*\.example\.com|canary@`)

// wantNoLeak scans all logs, all metrics and what dead letters say in our words.
func (b *Bench) wantNoLeak() {
	b.t.Helper()
	b.every(func(p *program) {
		for line := range strings.Lines(p.text()) {
			if leak.MatchString(line) {
				b.t.Errorf("%s logged a secret or an address; %d characters into the line", p.service, leak.FindStringIndex(line)[0])
			}
			if !json.Valid([]byte(line)) {
				b.t.Errorf("%s logged a line that is no JSON: %.100s", p.service, line)
			}
		}
		if _, metrics := p.get("/metrics"); leak.MatchString(metrics) {
			b.t.Errorf("%s shows a secret or an address in its metrics", p.service)
		}
	})
	for _, letter := range b.deadLetters() {
		for name, values := range letter.Header {
			if strings.HasPrefix(name, "Seatwire-Dead-") && leak.MatchString(strings.Join(values, " ")) {
				b.t.Errorf("a dead letter shows a secret or an address in %s", name)
			}
		}
	}
}
