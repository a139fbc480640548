package seatwire

import (
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// Every request that is refused hears why, and takes nothing with it.
func TestDeprovision_everyRefusalHasItsReason(t *testing.T) {
	t.Parallel()
	w := newExits(t, 200, settings{"protect": `["ceo@*", "*@Board.example.com"]`})
	hired := w.hire(
		pluralsightsim.Person{Email: "ceo@acme.example.com"},
		pluralsightsim.Person{Email: "chair@board.example.com"},
		pluralsightsim.Person{Email: "plain@acme.example.com", AdditionalEmails: []string{"also@board.example.com"}},
		pluralsightsim.Person{Email: "both@acme.example.com"},
		pluralsightsim.Person{Email: "Both@acme.example.com"},
		pluralsightsim.Person{Email: "never@acme.example.com", Admin: true, NeverLicensed: true},
		pluralsightsim.Person{Email: "admin@acme.example.com", Admin: true},
	)
	w.begin()
	people := w.staff(10)
	at := func(d time.Duration) string { return w.began.Add(d).Format(time.RFC3339) }
	cases := []struct {
		request
		want string
	}{
		{request{id: "fine", email: people[0].Email}, "removed"},
		{request{id: "spelt loudly", email: " \t" + "HIRED.LATER@ACME.EXAMPLE.COM "}, "removed"},
		{request{id: "admin", email: "admin@acme.example.com"}, "rejected admin"},
		{request{id: "admin by id", data: map[string]any{"psUserId": hired[6].PsUserID}}, "rejected admin"},
		{request{id: "admin without a licence", email: "never@acme.example.com"}, "rejected admin"},
		{request{id: "protected", email: "CEO@acme.example.com"}, "rejected protected"},
		{request{id: "protected by id", data: map[string]any{"psUserId": hired[1].PsUserID}}, "rejected protected"},
		{request{id: "protected by another address", email: "plain@acme.example.com"}, "rejected protected"},
		{request{id: "unknown", email: "nobody@acme.example.com"}, "rejected unknown-user"},
		{request{id: "unknown id", data: map[string]any{"psUserId": "nobody"}}, "rejected unknown-user"},
		{request{id: "known address, unknown id", data: map[string]any{"email": people[1].Email, "psUserId": "nobody"}}, "rejected ambiguous-user"},
		{request{id: "two people", data: map[string]any{"email": people[2].Email, "psUserId": people[3].PsUserID}}, "rejected ambiguous-user"},
		{request{id: "shared address", email: "both@acme.example.com"}, "rejected ambiguous-user"},
		{request{id: "stale", email: people[4].Email, time: at(-169 * time.Hour)}, "rejected stale"},
		{request{id: "old but not stale", email: people[9].Email, time: at(-167 * time.Hour)}, "removed"},
		{request{id: "too far ahead", email: people[4].Email, time: at(time.Hour)}, "rejected stale"},
		{request{id: "no time", email: people[4].Email, time: "-"}, "rejected invalid"},
		{request{id: "no time at all", email: people[4].Email, time: "yesterday"}, "rejected invalid"},
		{request{id: "wrong type", email: people[4].Email, kind: "seatwire.deprovision.cancelled.v1"}, "rejected invalid"},
		{request{id: "foreign type", email: people[4].Email, kind: "com.example.leaver"}, "rejected invalid"},
		{request{id: "nobody", data: map[string]any{"reason": "?"}}, "rejected invalid"},
		{request{id: "number", data: map[string]any{"email": 7}}, "rejected invalid"},
		{request{id: "text for a flag", data: map[string]any{"email": people[4].Email, "retainPrivileges": "yes"}}, "rejected invalid"},
		{request{id: "no moment", data: map[string]any{"email": people[4].Email, "effectiveAt": "tomorrow"}}, "rejected invalid"},
		{request{id: "quote", email: `a"b@acme.example.com`}, "rejected invalid"},
		{request{id: "comma", data: map[string]any{"psUserId": "a,b"}}, "rejected invalid"},
		{request{id: "elsewhere", data: map[string]any{"email": people[4].Email, "connection": "other"}}, "rejected wrong-connection"},
		{request{id: "here", data: map[string]any{"email": people[5].Email, "connection": "acme", "colour": []int{1}}}, "removed"},
		{request{id: "past moment", data: map[string]any{"email": people[6].Email, "effectiveAt": at(-time.Hour)}}, "removed"},
	}
	w.hire(pluralsightsim.Person{Email: "hired.later@acme.example.com"})
	want := map[string]string{}
	for i := range cases {
		cases[i].source = "hr"
		w.ask(cases[i].request)
		want["hr "+cases[i].id] = cases[i].want
	}
	settled := w.outcomes(len(cases))
	w.wantOutcomes(settled, want)
	w.checkTruth(settled)
	w.wantLicensed(hired[:5]...)
	w.wantLicensed(people[1], people[2], people[3], people[4])
	for _, f := range append(w.files(true), w.files(false)...) {
		for _, row := range f.Deprovision.Rows {
			for _, p := range hired {
				if row.Email == p.Email {
					t.Errorf("%s was in a file", p.Email)
				}
			}
		}
	}
}

func TestDeprovision_cancelsAndMoments(t *testing.T) {
	t.Parallel()
	w := newExits(t, 40, nil).begin()
	people := w.staff(4)
	later := func(id string, p pluralsightsim.Person, d time.Duration) request {
		return request{source: "hr", id: id, data: map[string]any{"email": p.Email, "effectiveAt": time.Now().Add(d).UTC().Format(time.RFC3339Nano)}}
	}
	w.ask(later("withdrawn", people[0], time.Hour), later("soon", people[1], 2*time.Second))
	w.awaitState("hr", "withdrawn", "deferred")
	w.awaitState("hr", "soon", "deferred")
	w.cancel("hr", "c-1", "withdrawn")
	// A cancel that comes first waits for its request; one of another publisher is about another request.
	w.cancel("hr", "c-2", "cancelled first")
	w.cancel("idp", "c-3", "not theirs")
	w.eventually("the cancels wait", func() bool {
		waiting := 0
		for c, err := range w.session.ledger().Cancels(t.Context(), testPlan) {
			if err == nil && c.State == "waiting" {
				waiting++
			}
		}
		return waiting == 2
	})
	w.ask(request{source: "hr", id: "cancelled first", email: people[2].Email}, request{source: "hr", id: "not theirs", email: people[3].Email})
	settled := w.outcomes(4)
	w.wantOutcomes(settled, map[string]string{
		"hr withdrawn": "cancelled", "hr soon": "removed", "hr cancelled first": "cancelled", "hr not theirs": "removed",
	})
	w.cancel("hr", "c-4", "soon")
	w.awaitState("hr", "soon", "cancel-too-late")
	w.wantLicensed(people[0], people[2])
	w.checkTruth(settled)
	w.wantSettledEvents(4)
}

// Newest wins: who was hired again since the event was made stays, and an event made after that takes the licence.
func TestDeprovision_rehireNewerThanTheRequestStays(t *testing.T) {
	t.Parallel()
	w := newExits(t, 40, nil).begin()
	p := w.staff(1)[0]
	if err := w.pluralsight.RemovePerson(testPlan, p.PsUserID); err != nil {
		t.Fatal(err)
	}
	w.ask(request{source: "hr", id: "gone", email: p.Email})
	settled := w.outcomes(1)
	w.wantOutcomes(settled, map[string]string{"hr gone": "already-removed"})
	if e := settled["hr gone"].Evidence; e.IsOnAccount == nil || *e.IsOnAccount || e.RemovedOn == nil || e.ReadAt == nil {
		t.Errorf("evidence %+v", e)
	}
	if err := w.pluralsight.Readd(testPlan, p.PsUserID); err != nil {
		t.Fatal(err)
	}
	w.ask(request{source: "hr", id: "before", email: p.Email})
	w.wantOutcomes(w.outcomes(2), map[string]string{"hr before": "rejected stale"})
	w.wantLicensed(p)
	if n := len(w.files(true)) + len(w.files(false)); n != 0 {
		t.Errorf("%d files were sent", n)
	}
	w.ask(request{source: "hr", id: "after", email: p.Email, time: time.Now().UTC().Add(time.Second).Format(time.RFC3339Nano)})
	w.wantOutcomes(w.outcomes(3), map[string]string{"hr after": "removed"})
}
