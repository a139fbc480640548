package seatwire

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// Whatever is wrong with a reading, Productiv's list stays as it is and the outcome says why.
func TestSync_doubtLeavesTheListUntouched(t *testing.T) {
	t.Parallel()
	on := func(page int, a pluralsightsim.Action, times int) pluralsightsim.Fault {
		return pluralsightsim.Fault{Match: pluralsightsim.Match{Operation: "users", Page: page, Times: times}, Action: a}
	}
	server := on(2, pluralsightsim.Answer, 0)
	server.Status = 503
	total := on(3, pluralsightsim.WrongTotal, 0)
	total.Count = 5
	cases := []struct {
		name   string
		fault  pluralsightsim.Fault
		reason string
	}{
		{"empty page with more to come", on(2, pluralsightsim.EmptyPage, 0), "empty-page"},
		{"empty last page", on(2, pluralsightsim.LastEmpty, 0), "empty-page"},
		{"truncated page", on(2, pluralsightsim.ShortPage, 0), "counts-disagree"},
		{"truncated body", on(2, pluralsightsim.Truncate, 0), "truncated"},
		{"errors beside data", on(2, pluralsightsim.ErrorsPartial, 0), "errors-with-data"},
		{"errors without data", on(2, pluralsightsim.ErrorsOnly, 0), ""},
		{"repeated cursor", on(2, pluralsightsim.RepeatCursor, 0), "repeated-cursor"},
		{"loop", on(3, pluralsightsim.LoopToStart, 0), ""},
		{"null cursor", on(2, pluralsightsim.NullEndCursor, 0), "null-cursor"},
		{"missing hasNextPage", on(2, pluralsightsim.NoHasNextPage, 0), "missing-has-next-page"},
		{"null node", on(2, pluralsightsim.NullNode, 0), "null-node"},
		{"null connection", on(2, pluralsightsim.NullConnection, 0), ""},
		{"server error beyond the retries", server, "server-error"},
		{"counts that disagree", total, "counts-disagree"},
		{"conflicting repeats", on(2, pluralsightsim.ConflictingNode, 0), "conflicting-repeats"},
		{"people moving between pages", pluralsightsim.Fault{
			Match: pluralsightsim.Match{Operation: "users", Page: 2, Times: 1}, Action: pluralsightsim.MoveToFront, When: pluralsightsim.Before, Count: 20,
		}, "counts-disagree"},
	}
	w := newWorld(t, 350)
	w.up()
	w.wantOutcome(w.sync(), "published", "")
	before := w.productiv.AppCounts(testApp)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if _, err := w.pluralsight.Inject(c.fault); err != nil {
				t.Fatal(err)
			}
			o := w.sync()
			w.pluralsight.ClearFaults()
			if o.Outcome != "failed" || !strings.HasPrefix(o.Reason, c.reason) || o.Reason == "" {
				t.Errorf("outcome %s (%s), want failed (%s…)", o.Outcome, o.Reason, c.reason)
			}
			if after := w.productiv.AppCounts(testApp); after.Posts != before.Posts || after.Deletes != before.Deletes {
				t.Error("Productiv was written to")
			}
		})
	}
	// An identical repeat is no doubt: it is the same person.
	if _, err := w.pluralsight.Inject(on(2, pluralsightsim.DuplicateNode, 1)); err != nil {
		t.Fatal(err)
	}
	w.wantOutcome(w.sync(), "unchanged", "")
}

func TestSync_shrinkIsHeldThenDeclinedThenReleased(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 400)
	w.up()
	w.wantOutcome(w.sync(), "published", "")
	people := w.leave(60)

	held := w.sync()
	w.wantOutcome(held, "held", "maxRemovalPercent")
	if n := len(w.listed()); n != len(w.licensed())+len(people) {
		t.Errorf("%d are listed while the publication is held", n)
	}
	if code, _, errs := w.run("publications", "release", "acme", held.SweepID); code != 2 || !strings.Contains(errs, "--by") {
		t.Errorf("release without a name: exit %d", code)
	}
	if code, _, _ := w.run("publications", "decline", "acme", held.SweepID, "--by", "grace"); code != 0 {
		t.Errorf("decline: exit %d", code)
	}
	w.awaitPublication(held.SweepID, "declined")
	if code, _, _ := w.run("publications", "release", "acme", held.SweepID, "--by", "grace"); code != 1 {
		t.Errorf("a decided hold was decided again: exit %d", code)
	}

	again := w.sync()
	w.wantOutcome(again, "held", "maxRemovalPercent")
	if code, _, _ := w.run("publications", "release", "--by", "grace", "acme", again.SweepID); code != 0 {
		t.Errorf("release: exit %d", code)
	}
	row := w.awaitPublication(again.SweepID, "published")
	if row.Counts.Deleted != len(people) || row.By != "grace" {
		t.Errorf("released: %+v", row)
	}
	w.wantSame()
}

func TestSync_pausedHoldsRemovalsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 200)
	w.up()
	w.wantOutcome(w.sync(), "published", "")
	w.leave(3)
	if code, _, _ := w.run("pause", "acme"); code != 0 {
		t.Fatal("pause failed")
	}
	w.wantOutcome(w.sync(), "held", "paused")
	if code, out, _ := w.run("status"); code != 0 || !strings.Contains(out, "PAUSED") || !strings.Contains(out, "HELD") {
		t.Error("status does not show the pause and the hold")
	}
	w.run("resume", "acme")
	w.wantOutcome(w.sync(), "published", "")
	w.wantSame()
}

func TestSync_absentPeopleGoAfterTwoSweeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 200)
	w.up()
	w.wantOutcome(w.sync(), "published", "")
	ids := w.licensed()[:2]
	for _, id := range ids {
		if err := w.pluralsight.ErasePerson(testPlan, id); err != nil {
			t.Fatal(err)
		}
	}
	w.wantOutcome(w.sync(), "unchanged", "")
	if got := len(w.listed()); got != len(w.licensed())+2 {
		t.Errorf("%d are listed after one sweep without two of them", got)
	}
	w.wantOutcome(w.sync(), "published", "")
	w.wantSame()
}

// A Productiv that replaces is found out after one chunk, and nobody is deleted.
func TestSync_replaceModeStopsAfterOneChunk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2700)
	w.up()
	w.wantOutcome(w.sync(), "published", "")
	sw := w.productiv.Switches()
	sw.Semantics = productivsim.SemanticsReplace
	if err := w.productiv.SetSwitches(sw); err != nil {
		t.Fatal(err)
	}
	for _, id := range w.licensed() {
		err := w.pluralsight.EditPerson(testPlan, id, func(p *pluralsightsim.Person) {
			if p.PsUserID[0] < 'c' {
				p.Email = "moved-" + p.Email
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	before := w.productiv.AppCounts(testApp)
	o := w.sync()
	w.wantOutcome(o, "failed", "semantics-mismatch")
	after := w.productiv.AppCounts(testApp)
	if posts := after.Posts - before.Posts; posts != 1 || after.Deletes != before.Deletes {
		t.Errorf("%d chunks and %d deletions were sent", posts, after.Deletes-before.Deletes)
	}
	if !strings.Contains(o.Reason, "replace-single") {
		t.Error("the reason does not say what to do")
	}
}

// leave takes n licensed people off the account and returns their ids.
func (w *world) leave(n int) []string {
	w.t.Helper()
	ids := w.licensed()[:n]
	for _, id := range ids {
		if err := w.pluralsight.RemovePerson(testPlan, id); err != nil {
			w.t.Fatal(err)
		}
	}
	return ids
}

// awaitPublication lists publications, as an operator would, until one has come to a state.
func (w *world) awaitPublication(sweepID, state string) publicationRow {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		_, out, _ := w.run("publications", "list", "-o", "json")
		var rows []publicationRow
		if err := json.Unmarshal([]byte(out), &rows); err != nil {
			w.t.Fatal(err)
		}
		for _, r := range rows {
			if r.SweepID == sweepID && r.State == state {
				return r
			}
		}
	}
	w.t.Fatalf("publication %s never became %s", sweepID, state)
	return publicationRow{}
}
