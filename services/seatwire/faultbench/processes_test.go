package faultbench

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

const (
	// maxResident and maxGoroutines are what one process may need on a bench, in bytes and in number.
	maxResident   = 256 << 20
	maxGoroutines = 2000
)

// foreigners are people on each list of Productiv whom somebody else put there.
const foreigners = 5

func foreign() (users []productivsim.User) {
	for i := range foreigners {
		id := "foreign-" + strconv.Itoa(i)
		users = append(users, productivsim.User{AppUserID: id, Email: id + "@elsewhere.example.com"})
	}
	return users
}

func isForeign(appUserID string) bool { return strings.HasPrefix(appUserID, "foreign-") }

// wantSweepsForward checks that the answers in the stream are of sweeps in the order in which these began. A sweep's
// id begins with its second.
func (b *Bench) wantSweepsForward() {
	b.t.Helper()
	b.outcomes.mu.Lock()
	defer b.outcomes.mu.Unlock()
	bySequence := map[uint64]outcome{}
	var last uint64
	for _, all := range b.outcomes.byID {
		for _, o := range all {
			bySequence[o.sequence], last = o, max(last, o.sequence)
		}
	}
	newest := map[string]string{}
	for sequence := range last + 1 {
		o, ok := bySequence[sequence]
		if !ok {
			continue
		}
		second, _, _ := strings.Cut(o.SweepID, "-")
		found.tests(sweepsForward, 1)
		if second < newest[o.connection] {
			found.violation(b.t, sweepsForward, "%s: sweep %s was answered after one of %s", o.connection, o.SweepID, newest[o.connection])
		}
		newest[o.connection] = second
	}
}

// wantOwnPeople checks that each write to an app was about people of its connection's plan.
func (b *Bench) wantOwnPeople() {
	b.t.Helper()
	own := map[string]map[string]bool{}
	for _, connection := range b.options.Connections {
		people, err := b.pluralsight.People(connection, 0, 0)
		if err != nil {
			b.t.Fatal(err)
		}
		own[connection] = map[string]bool{}
		for _, p := range people {
			own[connection][p.PsUserID] = true
		}
	}
	for _, c := range b.pluralsight.History() { // those who were erased
		own[c.Plan][c.PsUserID] = true
	}
	for _, w := range b.writes() {
		found.tests(isolation, 1)
		for _, id := range w.AppUserIDs {
			if !own[connectionOf(w.App)][id] {
				found.violation(b.t, isolation, "write %d to %s names somebody who was never on its plan", w.Seq, w.App)
				break
			}
		}
	}
}

func (b *Bench) wantWireLimits() {
	b.t.Helper()
	found.tests(wireLimits, len(b.writes()))
	if c := b.productiv.Counts(); c.OverLimit > 0 {
		found.violation(b.t, wireLimits, "%d calls to Productiv were above its limit, the largest of %d people", c.OverLimit, c.LargestCall)
	}
}

// wantNothingInEarnest is about benches that do not say apply: auto.
func (b *Bench) wantNothingInEarnest() {
	b.t.Helper()
	if strings.Contains(b.options.Deprovision, "apply:") {
		return
	}
	found.tests(dryByDefault, 1)
	for _, r := range b.pluralsight.Requests() {
		if r.Deprovision != nil && !r.Deprovision.DryRun {
			found.violation(b.t, dryByDefault, "request %d is in earnest", r.Seq)
		}
	}
}

// wantNobodyDiedAlone checks that no process ended but by us.
func (b *Bench) wantNobodyDiedAlone() {
	b.t.Helper()
	b.every(func(p *program) {
		p.mu.Lock()
		defer p.mu.Unlock()
		found.tests(poison, p.starts)
		if p.alone > 0 {
			found.violation(b.t, poison, "%s ended by itself %d times", p.service, p.alone)
		}
	})
}

// wantBounds looks at what the processes say of themselves, now that they have nothing to do.
func (b *Bench) wantBounds() {
	b.t.Helper()
	b.every(func(p *program) {
		status, metrics := p.get("/metrics")
		if status == 0 {
			return // gone
		}
		found.tests(bounds, 1)
		if n := gauge(metrics, "go_goroutines"); n == 0 || n > maxGoroutines {
			found.violation(b.t, bounds, "%s has %.0f goroutines with nothing to do", p.service, n)
		}
		if n := gauge(metrics, "process_resident_memory_bytes"); n > maxResident {
			found.violation(b.t, bounds, "%s holds %.0f MiB with nothing to do", p.service, n/(1<<20))
		}
	})
}

// gauge sums a metric over its labels.
func gauge(metrics, name string) (sum float64) {
	line := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (\S+)$`)
	for _, m := range line.FindAllStringSubmatch(metrics, -1) {
		n, _ := strconv.ParseFloat(m[1], 64) // what is no number adds nothing
		sum += n
	}
	return sum
}

// wantSilence asks for another sync of a world that has not changed.
func (b *Bench) wantSilence() {
	b.t.Helper()
	for _, connection := range b.options.Connections {
		began := time.Now()
		o := b.Sync(connection)
		found.tests(idleSilent, 1)
		writes := b.count(began, act.write)
		if o.Outcome != events.OutcomeUnchanged || writes > 0 {
			found.violation(b.t, idleSilent, "%s: a sync without a change is %s (%s), with %d writes", connection, o.Outcome, o.Reason, writes)
		}
	}
}
