package seatwire

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// mixture is n requests of three sources for people, in random order. One in twenty comes again, and as many come again
// under their identity for somebody else; both anywhere after their first. conflicts counts the latter. Those are
// about people whom two requests name: who is handed to which replica first is not promised, so either may be second.
func mixture(people []pluralsightsim.Person, n int) (all []request, conflicts int) {
	random := rand.New(rand.NewPCG(3, 20261123))
	later := map[int][]request{}
	for at, i := range random.Perm(n) {
		r := request{source: []string{"hr", "idp", "tickets"}[i%3], id: fmt.Sprintf("r-%d", i), email: people[i%len(people)].Email}
		all = append(append(all, r), later[at]...)
		again := at + 1 + random.IntN(n-at)
		switch {
		case i%20 == 0:
			later[again] = append(later[again], r)
		case i < n-len(people)-1 && i%6 == 1:
			r.email = people[(i+1)%len(people)].Email
			later[again] = append(later[again], r)
			conflicts++
		}
	}
	return append(all, later[n]...), conflicts
}

func TestDeprovision_thousandRequestsOfThreeSources(t *testing.T) {
	t.Parallel()
	people, requests := 700, 1000
	if testing.Short() {
		people, requests = 140, 200
	}
	w := newExits(t, people+people/10+20, settings{"batchMaxAge": "500ms"}).begin()
	leaving := w.staff(people)
	all, conflicts := mixture(leaving, requests)
	w.ask(all...)
	settled := w.outcomes(requests)
	for key, s := range settled {
		// Who asks after the proof hears that the person is gone already.
		if s.Outcome != "removed" && s.Outcome != "already-removed" {
			t.Errorf("%s: %s %s", key, s.Outcome, s.Reason)
		}
	}
	w.checkTruth(settled)
	w.checkLooks()
	rows := map[string]int{}
	for _, f := range w.files(false) {
		for _, row := range f.Deprovision.Rows {
			rows[row.Email]++
		}
	}
	for address, n := range rows {
		if n != 1 {
			t.Errorf("%s has %d rows in all files", address, n)
		}
	}
	if len(rows) != people || len(w.applied()) != people {
		t.Errorf("%d people have rows, %d were taken, want %d", len(rows), len(w.applied()), people)
	}
	for _, r := range w.deadLetters(conflicts) {
		if r.Reason != "rejected" || r.Service != "deprovisioner" {
			t.Errorf("dead letter %+v", r)
		}
	}
	w.wantSettledEvents(requests)
}

// wantSettledEvents counts them where anybody would consume them.
func (w *exits) wantSettledEvents(n int) {
	w.t.Helper()
	filter := events.Subject(events.DeprovisionSettledSubject, testPlan, "*")
	if got, err := streams.Count(w.t.Context(), w.session.conn.JS(), streams.Outcomes, filter); err != nil || got != n {
		w.t.Errorf("%d settled events, want %d: %v", got, n, err)
	}
}

// A mass event by mistake meets the guards as they come with the program; its remainder does not slip through under them.
func TestDeprovision_massEventByMistakeIsHeldAndDeclined(t *testing.T) {
	t.Parallel()
	people := 10_010 // the last batch alone would be inside every guard
	if testing.Short() || underRace {
		people = 2_010
	}
	w := newExits(t, people+people/8, settings{
		"maxUsersPerBatchAuto": "", "maxUsers24hAuto": "", "batchMaxUsers": "", "batchMaxAge": "3s",
	}).begin()
	requests := make([]request, people)
	for i, p := range w.staff(people) {
		requests[i] = request{source: "hr", id: fmt.Sprint(i), email: p.Email}
	}
	w.ask(requests...)
	w.awaitTold("held", people)
	var rows []statusRow
	w.list(&rows, "status")
	if r := rows[0]; len(r.Holds) <= people/200 || r.Requests["held"] != people || !strings.Contains(r.Holds[0].Reason, "maxUsersPerBatchAuto") {
		t.Errorf("status shows %d holds and %v", len(r.Holds), r.Requests)
	}
	if code, out, _ := w.quiet("status"); code != 0 || strings.Count(out, "HELD") != len(rows[0].Holds) {
		t.Errorf("the status for people does not show the holds: exit %d", code)
	}
	for _, b := range rows[0].Holds {
		if code, _, errs := w.quiet("deprovision", "decline", b.BatchID, "--by", "grace"); code != 0 {
			t.Errorf("decline: exit %d: %s", code, errs)
		}
	}
	outcomes := map[string]int{}
	for _, s := range w.outcomes(people) {
		outcomes[s.Outcome]++
	}
	if outcomes["declined"] != people {
		t.Errorf("outcomes %v", outcomes)
	}
	if n := len(w.files(false)); n != 0 || len(w.applied()) != 0 {
		t.Errorf("%d files were sent in earnest", n)
	}
	if !slices.ContainsFunc(w.files(true), func(f pluralsightsim.Request) bool { return len(f.Deprovision.Rows) == 200 }) {
		t.Error("there was no dry run of a full batch")
	}
}
