package seatwire

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// Whatever a row takes, and whichever spelling of the flag Pluralsight understands: the licence is free, it is proved,
// and every call says all three flags, the privileges under the documented spelling alone.
func TestDeprovision_bothReadingsBothSpellingsBothKeys(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{"bearer", "basic"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel()
			w := newExits(t, 60, nil, replaceText("token: {value: "+testKey+"}", "token: {value: "+testKey+"}\n      deprovisionAuth: "+auth)).begin()
			people, n := w.staff(8), 0
			for _, removes := range []string{"user", "licence"} {
				for _, spelling := range []string{"misspelt", "both"} {
					w.speak(func(s *pluralsightsim.DeprovisionSwitches) {
						s.Removes, s.Privileges, s.UnknownFlags, s.KeepProducts = removes, spelling, "reject", removes == "licence"
					})
					for _, retain := range []bool{false, true} {
						w.ask(request{source: "hr", id: fmt.Sprint(n), data: map[string]any{"email": people[n].Email, "retainPrivileges": retain}})
						n++
					}
					w.outcomes(n)
				}
			}
			settled := w.outcomes(n)
			for key, s := range settled {
				if s.Outcome != "removed" {
					t.Errorf("%s: %s %s", key, s.Outcome, s.Reason)
				}
			}
			w.checkTruth(settled)
			w.checkFlags(auth, n)
		})
	}
}

func (w *exits) checkFlags(auth string, files int) {
	w.t.Helper()
	retained := 0
	for _, f := range slices.Concat(w.files(true), w.files(false)) {
		flags := f.Deprovision.Flags
		if names := sortedKeys(flags); !slices.Equal(names, []string{"dryRun", "exitOnError", "reatinPrivileges"}) {
			w.t.Errorf("flags %v", names)
		}
		if flags["dryRun"] != fmt.Sprint(f.Deprovision.DryRun) || flags["exitOnError"] != "false" {
			w.t.Errorf("flags %v", flags)
		}
		if !strings.EqualFold(f.AuthScheme, auth) {
			w.t.Errorf("authentication %s, want %s", f.AuthScheme, auth)
		}
		if f.Deprovision.RetainPrivileges && !f.Deprovision.DryRun {
			retained++
		}
	}
	if retained != files/2 {
		w.t.Errorf("%d files kept privileges, want %d", retained, files/2)
	}
}

// Requests that differ in their options never share a file, and one person never has two rows at once.
func TestDeprovision_optionsPartBatches(t *testing.T) {
	t.Parallel()
	w := newExits(t, 40, settings{"apply": "review"}).begin()
	people := w.staff(2)
	ask := func(id string, p pluralsightsim.Person, retain bool) {
		w.ask(request{source: "hr", id: id, data: map[string]any{"email": p.Email, "retainPrivileges": retain}})
	}
	ask("keep", people[0], true)
	ask("strip", people[1], false)
	held := w.batchesIn("held", 2)
	ask("both", people[0], false) // waits until the other row of this person is done
	for _, b := range held {
		if b.Rows != 1 {
			t.Errorf("batch of %d rows", b.Rows)
		}
		if code, _, _ := w.run("deprovision", "approve", b.BatchID, "--by", "grace"); code != 0 {
			t.Error("approve failed")
		}
	}
	settled := w.outcomes(3)
	w.wantOutcomes(settled, map[string]string{"hr keep": "removed", "hr strip": "removed", "hr both": "already-removed"})
	w.checkTruth(settled)
}

// One poisoned row refuses a file. It is found by dry runs, its requests hear of it, and the others go on.
func TestDeprovision_poisonedRowsAreFoundByDryRuns(t *testing.T) {
	t.Parallel()
	for _, strict := range []string{"true", "false"} {
		t.Run("strict "+strict, func(t *testing.T) {
			t.Parallel()
			w := newExits(t, 80, settings{"strict": strict}).begin()
			people := w.staff(40)
			poisoned := []string{people[7].Email, people[31].Email}
			w.speak(func(s *pluralsightsim.DeprovisionSwitches) { s.RefuseRows, s.GoodRows = poisoned, "skip" })
			var requests []request
			for i, p := range people {
				requests = append(requests, request{source: "hr", id: fmt.Sprint(i), email: p.Email})
			}
			w.ask(requests...)
			settled := w.outcomes(len(people))
			want := map[string]string{}
			for i := range people {
				want[fmt.Sprintf("hr %d", i)] = "removed"
			}
			want["hr 7"], want["hr 31"] = "rejected vendor-validation", "rejected vendor-validation"
			w.wantOutcomes(settled, want)
			w.checkTruth(settled)
			w.checkLooks()
			for _, f := range w.files(false) {
				if f.Deprovision.Flags["exitOnError"] != strict || f.Status != 200 {
					t.Errorf("a file in earnest with flags %v was answered %d", f.Deprovision.Flags, f.Status)
				}
			}
		})
	}
}

// Pluralsight's parser may know no quotes: what would need them is taken out of names, and nobody loses a licence for
// having a comma in one. Addresses that would need them are refused instead.
func TestDeprovision_namesThatNeedQuotesMeetANaiveParser(t *testing.T) {
	t.Parallel()
	w := newExits(t, 20, nil)
	names := []string{`Ann "Nan"`, "Lovelace, Ada", "=cmd()", "line\nbreak", "“Curly”", "", "李小龍", "a;b", strings.Repeat("long ", 100)}
	var people []pluralsightsim.Person
	for i, name := range names {
		people = append(people, w.add(pluralsightsim.Person{
			Email: fmt.Sprintf("named-%d@acme.example.com", i), FirstName: name, LastName: name, CurrentSsoIdentifier: fmt.Sprintf("named-%d", i), ProductIDs: []string{"1"},
		}))
	}
	odd := w.add(pluralsightsim.Person{Email: `"a,b"@acme.example.com`, ProductIDs: []string{"1"}})
	w.begin()
	w.speak(func(s *pluralsightsim.DeprovisionSwitches) { s.Parser = "naive" })
	want := map[string]string{"hr odd": "rejected invalid", "hr odd-id": "rejected invalid"}
	for i, p := range people {
		w.ask(request{source: "hr", id: fmt.Sprint(i), data: map[string]any{"email": p.Email, "firstName": `"given", `, "lastName": "x,y"}})
		want[fmt.Sprintf("hr %d", i)] = "removed"
	}
	w.ask(request{source: "hr", id: "odd", email: odd.Email}, request{source: "hr", id: "odd-id", data: map[string]any{"psUserId": odd.PsUserID}})
	settled := w.outcomes(len(want))
	w.wantOutcomes(settled, want)
	w.checkTruth(settled)
	for _, f := range w.files(false) {
		for _, row := range f.Deprovision.Rows {
			if strings.ContainsAny(row.FirstName+row.LastName, "\",\n;“”") {
				t.Errorf("the name %q went out", row.FirstName)
			}
		}
	}
}

// An address may be somebody else's too. Whoever is not meant keeps the licence, however Pluralsight resolves what it
// finds twice, and who is meant by one that cannot be told apart is refused without delaying the others.
func TestDeprovision_sharedAddressesHitNobodyElse(t *testing.T) {
	t.Parallel()
	for _, collisions := range []string{"first", "all"} {
		t.Run(collisions, func(t *testing.T) {
			t.Parallel()
			w := newExits(t, 20, nil)
			bystanders := w.hire(
				pluralsightsim.Person{Email: "stays-1@acme.example.com", AdditionalEmails: []string{"leaves-1@acme.example.com"}},
				pluralsightsim.Person{Email: "stays-2@acme.example.com"},
				pluralsightsim.Person{Email: "Shared@acme.example.com"},
			)
			w.hire(
				pluralsightsim.Person{Email: "leaves-1@acme.example.com"},
				pluralsightsim.Person{Email: "leaves-2@acme.example.com", AdditionalEmails: []string{"stays-2@acme.example.com", "alias-2@acme.example.com"}},
				pluralsightsim.Person{Email: "shared@acme.example.com", PsUserID: "shared-address"},
			)
			w.begin()
			w.speak(func(s *pluralsightsim.DeprovisionSwitches) { s.Collisions = collisions })
			w.ask(
				request{source: "hr", id: "1", email: "leaves-1@acme.example.com"},
				request{source: "hr", id: "2", email: "alias-2@acme.example.com"},
				request{source: "hr", id: "3", data: map[string]any{"psUserId": "shared-address"}},
			)
			w.wantOutcomes(w.outcomes(3), map[string]string{"hr 1": "removed", "hr 2": "removed", "hr 3": "rejected ambiguous-user"})
			w.wantLicensed(bystanders...)
		})
	}
}

// The CSV's id is the SSO identifier only when nobody else in the whole plan has it.
func TestDeprovision_sharedIdentifierHitsNobodyElse(t *testing.T) {
	t.Parallel()
	w := newExits(t, 20, nil)
	bystander := w.hire(pluralsightsim.Person{Email: "stays@acme.example.com", CurrentSsoIdentifier: "shared"})
	w.hire(pluralsightsim.Person{Email: "leaves@acme.example.com", CurrentSsoIdentifier: "shared"})
	w.begin()
	w.ask(request{source: "hr", id: "1", email: "leaves@acme.example.com"})
	w.wantOutcomes(w.outcomes(1), map[string]string{"hr 1": "removed"})
	w.wantLicensed(bystander...)
}

func (w *exits) hire(people ...pluralsightsim.Person) (hired []pluralsightsim.Person) {
	w.t.Helper()
	for _, p := range people {
		p.ProductIDs = []string{"1"}
		hired = append(hired, w.add(p))
	}
	return hired
}

func (w *exits) wantLicensed(people ...pluralsightsim.Person) {
	w.t.Helper()
	for _, p := range people {
		if !w.onAccount(p.PsUserID) {
			w.t.Errorf("%s was not meant, and lost the licence", p.Email)
		}
	}
}
