package faultbench

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

var onlyRows = flag.String("rows", "", "let vendors go wrong only in the ways whose names have this in them")

// TestVendors_everyFault lets both vendors go wrong in each way of the matrix while lists are kept and people leave. A
// sync may fail then, with a reason; once the vendors are well the list is right and everybody is settled, once.
func TestVendors_everyFault(t *testing.T) {
	t.Parallel()
	lanes, people, rows := 1, 400, []vendorRow{} // with fewer, nobody may leave the list any more when a row of deletions is last
	var timeout time.Duration                    // as every world's; no row of the short form hangs
	for _, row := range vendorRows() {
		if (*chaos > 0 || row.short) && strings.Contains(row.name, *onlyRows) {
			rows = append(rows, row)
		}
	}
	if *onlyRows != "" && len(rows) == 0 {
		t.Fatalf("-rows=%q is in no row's name", *onlyRows)
	}
	if *chaos > 0 {
		lanes, people, timeout = 6, 2000, time.Second
	}
	rand.New(rand.NewPCG(*seed, 700)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	for lane := range lanes {
		t.Run(fmt.Sprintf("lane %d", lane), func(t *testing.T) {
			t.Parallel()
			var mine []vendorRow
			for i := lane; i < len(rows); i += lanes {
				mine = append(mine, rows[i])
			}
			for some := range slices.Chunk(mine, 5) { // each on a bench of its own: only so many may leave a list in a day
				t.Run("", func(t *testing.T) {
					v := &sickness{world: startWorld(t, draw(t, uint64(700+lane)), Options{
						People: people, PageSize: people / 20, BatchSize: 4, FileSize: 5, CallTimeout: timeout,
					})}
					v.wantDone(v.Sync("acme"))
					for _, row := range some {
						v.suffer(row)
					}
					v.judge()
					v.wantWaits()
				})
			}
		})
	}
}

// TestVendors_noProof has files do nothing, or not all, whose answers do not say so: when the time for a proof is over,
// everybody is told what can be seen, and nobody is said to be removed who is there.
func TestVendors_noProof(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("costs the time in which a proof may come: make chaos")
	}
	v := &sickness{world: startWorld(t, draw(t, 710), Options{People: 100, FileSize: 5, VerifyWithin: 20 * time.Second})}
	for _, row := range silentRows() {
		v.inject(row)
		for v.struck(row) == 0 || v.struck(row) < row.night/10 && !late() {
			v.leave(12)
			v.Await(layoffLimit, row.name+": every request is settled", v.over)
		}
		found.fault(fmt.Sprintf("%s (nightly %d)", row.name, row.night), v.struck(row))
		v.cure()
	}
	v.wantWhatIsSeen()
}

// wantWhatIsSeen checks that whoever is said to be removed is, and that of the others nothing is said.
func (v *sickness) wantWhatIsSeen() {
	v.t.Helper()
	v.read()
	said := map[string]int{}
	for key, id := range v.wanted {
		if v.spared[id] != "" {
			continue
		}
		person, err := v.pluralsight.Person(v.connection, id)
		if err != nil {
			v.t.Fatal(err)
		}
		s := v.answers[key][0]
		said[s.Outcome]++
		found.tests(truthful, 1)
		if gone := person.IsOnAccount == pluralsightsim.No; gone != (s.Outcome == deprovision.OutcomeRemoved) {
			found.violation(v.t, truthful, "request %s is settled as %s, and the person is gone: %t", key, s.Outcome, gone)
		}
	}
	v.t.Logf("settled as %v", said)
	if said[deprovision.OutcomeRemoved] == 0 || said[deprovision.OutcomeUnverified] == 0 {
		v.t.Error("nobody was removed, or everybody, so nothing was shown")
	}
}

// sickness is a world whose vendors go wrong.
type sickness struct {
	*world
	// sick is when the row began; waits are the times in which Productiv asked for a second with each 429.
	sick  time.Time
	waits [][2]time.Time
}

// maxRounds ends a row whose chance does not come.
const maxRounds = 400

// suffer has a row strike as often as it should, and then everything get well.
func (v *sickness) suffer(row vendorRow) {
	v.t.Helper()
	night := max(1, row.night/10)
	if *chaos == 0 {
		night = 1
	}
	v.inject(row)
	v.denied = v.denied || row.pluralsight != nil && row.pluralsight.Status == 429 && row.pluralsight.When == pluralsightsim.After
	struck := 0
	for range maxRounds {
		v.Change(v.rng, "acme", 8)
		v.leave(12)
		o := v.Outcome(v.Request("acme", "hr"))
		if o.Outcome == events.OutcomeFailed && o.Reason == "" {
			found.violation(v.t, truthful, "%s: a sync failed without a reason", row.name)
		}
		if struck = v.struck(row); struck >= night || struck > 0 && late() || v.t.Failed() {
			break
		}
	}
	if struck == 0 {
		v.t.Errorf("%s: never struck", row.name)
	}
	v.cure()
	v.t.Logf("%-70s struck %d times", row.name, struck)
	if row.productiv != nil && row.productiv.RetryAfter > 0 {
		v.waits = append(v.waits, [2]time.Time{v.sick, time.Now()})
	}
	found.fault(fmt.Sprintf("%s (nightly %d)", row.name, row.night), struck)
	v.wantDone(v.Sync("acme"))
	v.wantSame("acme")
	v.Await(layoffLimit, row.name+": every request is settled", v.over)
	if v.t.Failed() {
		v.t.Fatalf("the row was: %s", row.name)
	}
}

func (v *sickness) inject(row vendorRow) {
	v.t.Helper()
	v.sick = time.Now()
	var errs [3]error
	if row.pluralsight != nil {
		_, errs[0] = v.pluralsight.Inject(*row.pluralsight)
	}
	if row.productiv != nil {
		errs[1] = v.productiv.Inject(*row.productiv)
	}
	if row.dialect != nil {
		errs[2] = v.pluralsight.Configure("globex", row.dialect)
	}
	if err := errors.Join(errs[:]...); err != nil {
		v.t.Fatalf("%s: %v", row.name, err)
	}
}

// cure makes both vendors well.
func (v *sickness) cure() {
	v.t.Helper()
	v.pluralsight.ClearFaults()
	v.productiv.ClearFaults()
	if err := v.pluralsight.Configure("globex", func(s *pluralsightsim.Switches) {
		s.Deprovision = pluralsightsim.DefaultSwitches().Deprovision
	}); err != nil {
		v.t.Fatal(err)
	}
}

// struck counts what a row did so far; of a dialect, the files in earnest.
func (v *sickness) struck(row vendorRow) (n int) {
	if row.dialect != nil && row.pluralsight == nil {
		for _, r := range v.pluralsight.Requests() {
			if r.Start.After(v.sick) && r.Deprovision != nil && !r.Deprovision.DryRun {
				n++
			}
		}
		return n
	}
	for _, f := range v.pluralsight.Faults() {
		n += f.Fired
	}
	for _, f := range v.productiv.Faults() {
		n += f.Fired
	}
	return n
}

// wantWaits checks that nobody came back to Productiv before the second that it had asked for was over.
func (v *sickness) wantWaits() {
	v.t.Helper()
	asked := map[string]time.Time{}
	for _, r := range v.productiv.Requests() {
		key := r.App + " " + r.Owner
		if until := asked[key]; !until.IsZero() {
			found.tests(goodNeighbour, 1)
			if r.Start.Before(until) {
				found.violation(v.t, goodNeighbour, "request %d came %s too early", r.Seq, until.Sub(r.Start))
			}
		}
		delete(asked, key)
		within := func(w [2]time.Time) bool { return r.Start.After(w[0]) && r.Start.Before(w[1]) }
		if r.Status == 429 && slices.ContainsFunc(v.waits, within) {
			asked[key] = r.End.Add(time.Second)
		}
	}
}
