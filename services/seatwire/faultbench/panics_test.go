package faultbench

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/streams"
)

// panicStrikes are places in the handlers themselves: a panic there is caught, and the message tried again.
var panicStrikes = []strike{
	{failpoint.N1, streams.Normalizer, 3}, {failpoint.P1, streams.Publisher, 1}, {failpoint.P7, streams.Publisher, 2},
	{failpoint.N4, streams.Publisher, 1}, {failpoint.F6, streams.Fetcher, 1}, {failpoint.D2, streams.Deprovisioner, 5},
}

// TestPanics_endNoProcess plants a panic in each handler while everything is at work.
func TestPanics_endNoProcess(t *testing.T) {
	t.Parallel()
	w := startWorld(t, draw(t, 800), Options{People: 300, PageSize: 20, BatchSize: 40})
	for range passes(3) {
		for _, s := range panicStrikes {
			p := w.replicas[s.service][0]
			before := p.strikes(t, s.point)
			p.arm(t, s.point, failpoint.Order{Action: failpoint.Panic, At: s.at})
			w.round(func() {
				w.Await(startLimit, string(s.point)+" is reached", func() bool { return p.strikes(t, s.point) > before })
			})
			found.fault(rowPanic, 1)
		}
	}
	w.judge()
}

// crashes are ends that no recover prevents, at places of any kind.
var crashes = []struct {
	strike
	action failpoint.Action
}{
	{strike{failpoint.F3, streams.Fetcher, 2}, failpoint.Panic}, // in a goroutine of its own
	{strike{failpoint.N1, streams.Normalizer, 2}, failpoint.Stack},
	{strike{failpoint.P9, streams.Publisher, 1}, failpoint.Memory},
	{strike{failpoint.D5, streams.Deprovisioner, 1}, failpoint.Exit},
	{strike{failpoint.D11, streams.Deprovisioner, 1}, failpoint.Panic},
}

// TestPanics_thatEndAProcess plants what ends a process: the next one goes on, and nothing is lost or doubled.
func TestPanics_thatEndAProcess(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("each costs an ack wait, and is the kill points' in another way: make chaos")
	}
	w := startWorld(t, draw(t, 801), Options{People: 300, PageSize: 20, BatchSize: 40})
	for range passes(2) {
		for _, c := range crashes {
			p := w.replicas[c.service][0]
			p.arm(t, c.point, failpoint.Order{Action: c.action, At: c.at})
			p.doom() // also by a panic
			w.round(func() {
				w.Await(startLimit, string(c.point)+" is reached", p.isGone)
				w.Restart(c.service, 0)
			})
			found.fault(rowCrash, 1)
		}
	}
	w.judge()
}

// TestPoison_isSetAsideUnread sends an event that ends every process that reads it. Each is started again, as a
// supervisor does; the event is set aside after as many deliveries as are allowed, and those after it are settled.
func TestPoison_isSetAsideUnread(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("each delivery costs an ack wait: make chaos")
	}
	for _, action := range []failpoint.Action{failpoint.Stack, failpoint.Memory, failpoint.Exit} {
		t.Run(string(action), func(t *testing.T) {
			t.Parallel()
			l := startLayoffs(t, draw(t, 802), 1, 100, 2)
			p := l.replicas[streams.Deprovisioner][0]
			p.arm(t, failpoint.D1, failpoint.Order{Action: action, At: 1, Always: true})
			data, _ := json.Marshal(events.DeprovisionRequested{Email: "poison@acme.example.com"}) // strings always encode
			m := structured(events.Event{ID: "poison", Source: "/hr", Type: events.DeprovisionRequestedType, Time: time.Now(), Data: data})
			l.put(subject(events.DeprovisionRequestedSubject, l.connection, "hr"), m)
			ends := 0
			l.Await(syncLimit, "the poison is set aside", func() bool {
				if p.isGone() {
					ends++
					p.start(t)
					p.doom()
				}
				return len(l.deadLetters()) == 1
			})
			if err := failpoint.Disarm(p.orders, failpoint.D1); err != nil {
				t.Fatal(err)
			}
			found.fault(rowCrash, ends)
			found.tests(poison, 1)
			if reason := l.deadLetters()[0].Header.Get("Seatwire-Dead-Reason"); reason != "crash-suspect" || ends > l.options.MaxDeliveries {
				found.violation(t, poison, "after %d ends the poison was set aside as %s", ends, reason)
			}
			l.letters++
			l.began = time.Now()
			for i, person := range l.hire(20) {
				l.ask(leaver{"hr", fmt.Sprintf("after-%d", i), person})
			}
			l.Await(layoffLimit, "those after the poison are settled", l.over)
			l.judge()
		})
	}
}
