package seatwire

import (
	"slices"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

func TestDeprovision_reviewWaitsForOneDecisionAboutTheseBytes(t *testing.T) {
	t.Parallel()
	w := newExits(t, 60, settings{"apply": "review", "batchMaxUsers": "3", "batchMaxAge": "1h"}).begin()
	people := w.staff(6)
	for i, p := range people {
		w.ask(request{source: "hr", id: p.Email, email: p.Email})
		if i == 2 {
			w.batchesIn("held", 1)
		}
	}
	held := w.batchesIn("held", 2)
	if len(w.files(false)) != 0 {
		t.Fatal("something was applied before anybody decided")
	}
	approve := func(id string, more ...string) int {
		code, _, _ := w.run(append([]string{"deprovision", "approve", id}, more...)...)
		return code
	}
	first, second := held[0], held[1]
	for _, c := range []struct {
		code int
		args []string
	}{
		{2, []string{first.BatchID}}, {2, []string{"--by", "grace"}}, {2, []string{first.BatchID, second.BatchID, "--by", "grace"}},
		{1, []string{"nosuchbatch", "--by", "grace"}}, {1, []string{first.BatchID, "--by", "grace", "--sha256", second.SHA256}},
		{1, []string{first.BatchID, "--by", "grace", "--sha256", "00"}}, {1, []string{first.BatchID, "--by", "auto"}},
	} {
		if got := approve(c.args[0], c.args[1:]...); got != c.code {
			t.Errorf("approve %v: exit %d, want %d", c.args, got, c.code)
		}
	}
	if len(w.files(false)) != 0 {
		t.Fatal("a refused approval let something go")
	}
	if code := approve(first.BatchID, "--sha256", strings.ToUpper(first.SHA256), "--by", "grace"); code != 0 {
		t.Errorf("approve: exit %d", code)
	}
	if code := approve(first.BatchID, "--by", "grace"); code != 1 {
		t.Errorf("a second approval: exit %d", code)
	}
	if code, _, _ := w.run("deprovision", "decline", first.BatchID, "--by", "alan"); code != 1 {
		t.Errorf("a decline after the approval: exit %d", code)
	}
	if code, _, _ := w.run("deprovision", "decline", second.BatchID, "--by", "alan"); code != 0 {
		t.Errorf("decline: exit %d", code)
	}
	settled := w.outcomes(6)
	for _, s := range settled {
		want := map[string]string{first.BatchID: "removed", second.BatchID: "declined"}[s.BatchID]
		if s.Outcome != want {
			t.Errorf("%s of %s, want %s", s.Outcome, s.BatchID, want)
		}
	}
	w.checkTruth(settled)
	w.checkLooks()
	if files := w.files(false); len(files) != 1 || files[0].BodySHA256 != first.SHA256 {
		t.Errorf("%d files, and not the approved one alone", len(files))
	}
	w.batchesIn("done", 1)
	w.batchesIn("declined", 1)
}

// A pause stops what is approved, and a resume lets it go on without another question.
func TestDeprovision_pauseStopsAnApprovedBatch(t *testing.T) {
	t.Parallel()
	w := newExits(t, 40, settings{"apply": "review"}).begin()
	p := w.staff(1)[0]
	w.ask(request{source: "hr", id: "1", email: p.Email})
	batch := w.batchesIn("held", 1)[0]
	w.run("pause", "acme")
	if code, _, _ := w.run("deprovision", "approve", batch.BatchID, "--by", "grace"); code != 0 {
		t.Fatal("approve failed")
	}
	w.batchesIn("approved", 1)
	// While the first waits, a second batch comes as far as its own hold: nothing but removals stops.
	other := w.staff(2)[1]
	w.ask(request{source: "hr", id: "2", email: other.Email})
	w.batchesIn("held", 1)
	if n := len(w.files(false)); n != 0 {
		t.Fatalf("%d files were sent while paused", n)
	}
	w.run("resume", "acme")
	w.wantOutcomes(w.outcomes(1), map[string]string{"hr 1": "removed"})
	w.wantLicensed(other)
}

// Between sealing and approval the world goes on. What no longer matches is not sent: it is sealed anew, dry-run anew,
// and the old approval is worth nothing.
func TestDeprovision_peopleChangeBetweenSealAndApproval(t *testing.T) {
	t.Parallel()
	w := newExits(t, 60, settings{"apply": "review"}).begin()
	people := w.staff(4)
	rehired, promoted, renamed, plain := people[0], people[1], people[2], people[3]
	for _, p := range people {
		w.ask(request{source: "hr", id: p.PsUserID, email: p.Email})
	}
	before := w.batchesIn("held", 1)[0]
	if before.Rows != len(people) {
		t.Fatalf("%d rows", before.Rows)
	}
	for _, change := range []error{
		w.pluralsight.RemovePerson(testPlan, rehired.PsUserID), w.pluralsight.Readd(testPlan, rehired.PsUserID),
		w.pluralsight.EditPerson(testPlan, promoted.PsUserID, func(p *pluralsightsim.Person) { p.Admin = true }),
		w.pluralsight.EditPerson(testPlan, renamed.PsUserID, func(p *pluralsightsim.Person) {
			p.Email, p.AdditionalEmails = "renamed@acme.example.com", []string{p.Email}
		}),
	} {
		if change != nil {
			t.Fatal(change)
		}
	}
	if code, _, _ := w.run("deprovision", "approve", before.BatchID, "--by", "grace"); code != 0 {
		t.Fatal("approve failed")
	}
	w.wantOutcomes(w.outcomes(2), map[string]string{
		"hr " + rehired.PsUserID: "rejected stale", "hr " + promoted.PsUserID: "rejected admin",
	})
	after := w.batchesIn("held", 1)[0]
	if after.BatchID == before.BatchID || after.SHA256 == before.SHA256 || after.Rows != 2 {
		t.Errorf("sealed anew as %+v", after)
	}
	if n := len(w.files(false)); n != 0 {
		t.Fatalf("the approval was carried over: %d files", n)
	}
	if code, _, _ := w.run("deprovision", "approve", before.BatchID, "--by", "grace"); code != 1 {
		t.Error("a batch that is over was approved")
	}
	w.run("deprovision", "approve", after.BatchID, "--by", "grace", "--sha256", after.SHA256)
	settled := w.outcomes(4)
	w.wantOutcomes(settled, map[string]string{"hr " + renamed.PsUserID: "removed", "hr " + plain.PsUserID: "removed"})
	w.checkTruth(settled)
	w.checkLooks()
	w.wantLicensed(rehired, promoted)
}

// dry-run is what the program comes with, and it never sends a file in earnest, whatever a person says.
func TestDeprovision_dryRunAppliesNothing(t *testing.T) {
	t.Parallel()
	w := newExits(t, 60, settings{"apply": ""}).begin()
	people := w.staff(5)
	w.speak(func(s *pluralsightsim.DeprovisionSwitches) {
		s.RefuseRows, s.GoodRows = []string{people[4].Email}, "skip"
	})
	for _, p := range people {
		w.ask(request{source: "hr", id: p.PsUserID, email: p.Email})
	}
	for key, s := range w.outcomes(len(people)) {
		refused := s.PsUserID == people[4].PsUserID
		if refused && (s.Outcome != "rejected" || s.DryRun) || !refused && (s.Outcome != "dry-run" || !s.DryRun || s.BatchID == "") {
			t.Errorf("%s: %+v", key, s)
		}
	}
	for _, b := range w.doneBatches() {
		if code, _, _ := w.run("deprovision", "approve", b.BatchID, "--by", "grace"); code != 1 {
			t.Error("a batch of dry runs was approved")
		}
	}
	if n := len(w.files(false)); n != 0 || len(w.files(true)) == 0 {
		t.Errorf("%d files in earnest, %d dry runs", n, len(w.files(true)))
	}
	w.wantLicensed(people...)
}

func (w *exits) doneBatches() []batchRow {
	w.t.Helper()
	var rows []batchRow
	w.list(&rows, "deprovision", "list", "--batches")
	return slices.DeleteFunc(rows, func(r batchRow) bool { return r.State != "done" })
}
