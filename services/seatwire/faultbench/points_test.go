package faultbench

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// strike is a kill point with the occurrence at which it strikes.
type strike struct {
	point   failpoint.Point
	service string
	at      int
}

// syncStrikes are the points on the way of a sync: 400 people in 20 pages, 140 additions and changes in 3 chunks of
// 6 KB and more, 70 removals in 2.
var syncStrikes = []strike{
	{failpoint.F1, streams.Fetcher, 1}, {failpoint.F2, streams.Fetcher, 6}, {failpoint.F3, streams.Fetcher, 4},
	{failpoint.F4, streams.Fetcher, 1}, {failpoint.F5, streams.Fetcher, 5}, {failpoint.F6, streams.Fetcher, 1},
	{failpoint.F7, streams.Fetcher, 1}, {failpoint.F8, streams.Fetcher, 5},
	{failpoint.N1, streams.Normalizer, 3}, {failpoint.N2, streams.Normalizer, 3},
	{failpoint.N3, streams.Publisher, 1}, {failpoint.N4, streams.Publisher, 1},
	{failpoint.P1, streams.Publisher, 1}, {failpoint.P2, streams.Publisher, 1}, {failpoint.P3, streams.Publisher, 1},
	{failpoint.P4, streams.Publisher, 1}, {failpoint.P5, streams.Publisher, 2}, {failpoint.P6, streams.Publisher, 1},
	{failpoint.P7, streams.Publisher, 2}, {failpoint.P8, streams.Publisher, 1}, {failpoint.P9, streams.Publisher, 1},
	{failpoint.P10, streams.Publisher, 1}, {failpoint.P11, streams.Publisher, 1}, {failpoint.P12, streams.Publisher, 1},
	{failpoint.P13, streams.Publisher, 1}, {failpoint.P14, streams.Publisher, 1},
}

// TestKillPoints_sync dies at each named point of a sync, with -9 and by the program's own hand, so that nothing comes
// too late: after each the list is right and every request has one answer. A point that is not reached fails.
func TestKillPoints_sync(t *testing.T) {
	t.Parallel()
	const lanes = 9 // of three points each: a point costs an ack wait, in which the machine has nothing to do
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			rng := draw(t, uint64(100+lane))
			for range passes(5) { // each on a bench of its own: only so many may leave a list in a day
				t.Run("", func(t *testing.T) {
					b := Start(t, Options{People: 400, PageSize: 20, BatchSize: 60, Latency: 2 * time.Millisecond, Services: services[:3]})
					b.wantDone(b.Sync("acme"))
					for i := lane; i < len(syncStrikes); i += lanes {
						b.syncThrough(rng, syncStrikes[i])
					}
					b.Judge()
				})
			}
		})
	}
}

// syncThrough runs a sync in which a service dies at a point.
func (b *Bench) syncThrough(rng *rand.Rand, s strike) {
	b.t.Helper()
	b.Change(rng, "acme", 70)
	b.arm(s)
	asked := b.Request("acme", "hr")
	died := b.awaitStrike(s)
	o := b.Outcome(asked)
	if o.Outcome != events.OutcomePublished && o.Outcome != events.OutcomeUnchanged {
		found.violation(b.t, convergence, "killed at %s: %s (%s)", s.point, o.Outcome, o.Reason)
	}
	found.struck(s.point, max(0, o.at.Sub(died)))
	b.wantSame("acme")
}

func (b *Bench) arm(s strike) {
	b.t.Helper()
	b.replicas[s.service][0].arm(b.t, s.point, failpoint.Order{Action: failpoint.Kill, At: s.at})
}

// awaitStrike waits until the point's process is dead, and starts the next one.
func (b *Bench) awaitStrike(s strike) (died time.Time) {
	b.t.Helper()
	p := b.replicas[s.service][0]
	b.Await(syncLimit, string(s.point)+" is reached", p.isGone)
	died = time.Now()
	if p.strikes(b.t, s.point) == 0 {
		b.t.Fatalf("%s died, and not at %s", s.service, s.point)
	}
	b.Restart(s.service, 0)
	return died
}

// layoffStrikes are the points on the way of people who leave: 90 in one file of 8 KB.
var layoffStrikes = []strike{
	{failpoint.D1, streams.Deprovisioner, 40}, {failpoint.D2, streams.Deprovisioner, 40}, {failpoint.D3, streams.Deprovisioner, 2},
	{failpoint.D4, streams.Deprovisioner, 1}, {failpoint.D5, streams.Deprovisioner, 1}, {failpoint.D6, streams.Deprovisioner, 1},
	{failpoint.D7, streams.Deprovisioner, 1}, {failpoint.D8, streams.Deprovisioner, 1}, {failpoint.D9, streams.Deprovisioner, 1},
	{failpoint.D10, streams.Deprovisioner, 1}, {failpoint.D11, streams.Deprovisioner, 1}, {failpoint.D12, streams.Deprovisioner, 1},
	{failpoint.D13, streams.Deprovisioner, 1}, {failpoint.D14, streams.Deprovisioner, 5}, {failpoint.D15, streams.Deprovisioner, 1},
	{failpoint.D16, streams.Deprovisioner, 1},
}

// TestKillPoints_layoffs dies at each named point of the deprovisioner: everybody is removed once and settled once.
func TestKillPoints_layoffs(t *testing.T) {
	t.Parallel()
	const lanes = 6
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			l := startLayoffs(t, draw(t, uint64(300+lane)), 1, 100, 5)
			for round := range passes(5) {
				for i := lane; i < len(layoffStrikes); i += lanes {
					l.leaveThrough(fmt.Sprintf("%d-%d", round, i), layoffStrikes[i])
				}
			}
			l.judge()
		})
	}
}

// leaveThrough lets 90 people leave while the deprovisioner dies at a point. Some points need something special: a
// message that is no event, or a row that Pluralsight does not take.
func (l *layoffs) leaveThrough(name string, s strike) {
	l.t.Helper()
	leaving := l.hire(90)
	if s.point == failpoint.D16 {
		for _, i := range []int{30, 50, 70} { // of one, a file of just that one might be made, and nothing to bisect
			l.refuse(leaving[i])
		}
	}
	l.arm(s)
	if s.point == failpoint.D15 {
		l.put(subject(events.DeprovisionRequestedSubject, l.connection, "hr"), &nats.Msg{Data: []byte("no event")})
		l.letters++
	}
	l.began = time.Now()
	for i, p := range leaving {
		l.ask(leaver{"hr", fmt.Sprintf("%s-%d", name, i), p})
	}
	died := l.awaitStrike(s)
	l.Await(layoffLimit, "every request is settled", l.over)
	found.struck(s.point, time.Since(died))
}

// refuse has Pluralsight take no row of a person.
func (l *layoffs) refuse(p pluralsightsim.Person) {
	l.t.Helper()
	l.spared[p.PsUserID] = "vendor-validation"
	err := l.pluralsight.Configure(l.connection, func(s *pluralsightsim.Switches) {
		s.Deprovision.RefuseRows = append(s.Deprovision.RefuseRows[:len(s.Deprovision.RefuseRows):len(s.Deprovision.RefuseRows)], p.Email)
	})
	if err != nil {
		l.t.Fatal(err)
	}
}
