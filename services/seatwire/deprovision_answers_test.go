package seatwire

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// leavingTogether is how many people each answer is about.
const leavingTogether = 4

// inEarnest is a fault that strikes files in earnest: the first times of them, or all for 0.
func inEarnest(times int, when pluralsightsim.When, f pluralsightsim.Fault) []pluralsightsim.Fault {
	f.Match = pluralsightsim.Match{Operation: "deprovision", DryRun: new(false), Times: times}
	f.When = when
	return []pluralsightsim.Fault{f}
}

func answer(status int, text string) pluralsightsim.Fault {
	return pluralsightsim.Fault{Action: pluralsightsim.Answer, Status: status, Body: text}
}

var (
	reset    = pluralsightsim.Fault{Action: pluralsightsim.Reset}
	truncate = pluralsightsim.Fault{Action: pluralsightsim.Truncate}
)

// answerCase is what Pluralsight does with a file in earnest, and what its people are told to be.
type answerCase struct {
	name   string
	faults []pluralsightsim.Fault
	speak  func(*pluralsightsim.DeprovisionSwitches)
	// want is everybody's outcome; truth means removed or otherwise, as it is at Pluralsight.
	want, otherwise string
	// files in earnest; 0 when the case does not say.
	files int
}

// patientAnswers are those that time does not end.
var patientAnswers = []answerCase{
	{name: "reset after applying", faults: inEarnest(1, pluralsightsim.After, reset), want: "removed", files: 1},
	{name: "reset in the middle of the answer", faults: inEarnest(1, pluralsightsim.MidBody, reset), want: "removed", files: 1},
	{name: "half an answer", faults: inEarnest(1, pluralsightsim.MidBody, truncate), want: "removed", files: 1},
	{name: "reset before anything", faults: inEarnest(1, pluralsightsim.Before, reset), want: "removed", files: 2},
	{name: "500 after applying", faults: inEarnest(1, pluralsightsim.After, answer(500, "")), want: "removed", files: 1},
	{name: "502 before anything, once", faults: inEarnest(1, pluralsightsim.Before, answer(502, "")), want: "removed", files: 2},
	{name: "409 once", faults: inEarnest(1, pluralsightsim.Before, answer(409, "")), want: "removed", files: 2},
	{name: "429 once", faults: inEarnest(1, pluralsightsim.Before, answer(429, "")), want: "removed", files: 2},
	{name: "an unknown status", faults: inEarnest(1, pluralsightsim.After, answer(200, `{"status":"Marvellous"}`)), want: "removed", files: 1},
	{name: "a page instead of an answer", faults: inEarnest(1, pluralsightsim.After, answer(200, "<html>Marvellous</html>")), want: "removed", files: 1},
	{name: "typographic quotes", speak: func(s *pluralsightsim.DeprovisionSwitches) { s.BodyForm = "typographic" }, want: "removed", files: 1},
	{name: "more members than documented", speak: func(s *pluralsightsim.DeprovisionSwitches) { s.BodyForm = "extra" }, want: "removed", files: 1},
	{name: "Processing, done at once", speak: func(s *pluralsightsim.DeprovisionSwitches) { s.Answer, s.ProcessingDryRuns = "processing", true }, want: "removed", files: 1},
	{name: "a redirect", faults: inEarnest(1, pluralsightsim.After, pluralsightsim.Fault{
		Action: pluralsightsim.Answer, Status: 307, Headers: map[string]string{"Location": "/deprovision?dryRun=false"},
	}), want: "removed", files: 1},
}

// errorAnswers say that it went wrong; what did happen is for the read-back to say.
var errorAnswers = []answerCase{
	{name: "400 and some rows applied", faults: inEarnest(0, pluralsightsim.After, answer(400, `{"status":"Completed With Errors"}`)),
		speak: func(s *pluralsightsim.DeprovisionSwitches) { s.Effect = "partial" }, want: "removed", otherwise: "failed"},
	{name: "503 for ever", faults: inEarnest(0, pluralsightsim.Before, answer(503, "")), want: "failed", files: 3},
	{name: "403", faults: inEarnest(0, pluralsightsim.Before, answer(403, "")), want: "failed"},
}

// lateAnswers end by verifyWithin.
var lateAnswers = []answerCase{
	{name: "Processing, and never done", want: "unverified", files: 1,
		speak: func(s *pluralsightsim.DeprovisionSwitches) { s.Answer, s.Effect = "processing", "none" }},
	{name: "Processing, done in part", want: "removed", otherwise: "unverified", files: 1,
		speak: func(s *pluralsightsim.DeprovisionSwitches) { s.Answer, s.Effect = "processing", "partial" }},
	{name: "success that is none", want: "unverified", files: 1,
		speak: func(s *pluralsightsim.DeprovisionSwitches) { s.Effect = "none" }},
	{name: "always reset before anything", faults: inEarnest(0, pluralsightsim.Before, reset), want: "unverified"},
	// Dry runs answer like this too, and an answer that nobody can read lets nothing go.
	{name: "never an answer that can be read", speak: func(s *pluralsightsim.DeprovisionSwitches) { s.BodyForm = "text" }, want: "failed", files: -1},
}

func TestDeprovision_answersThatTimeDoesNotEnd(t *testing.T) {
	t.Parallel()
	newExits(t, 150, nil).begin().play(patientAnswers)
}

func TestDeprovision_answersThatAreErrors(t *testing.T) {
	t.Parallel()
	newExits(t, 60, nil).begin().play(errorAnswers)
}

func TestDeprovision_answersThatTimeEnds(t *testing.T) {
	t.Parallel()
	newExits(t, 60, settings{"verifyWithin": "2s"}).begin().play(lateAnswers)
}

// play runs the cases one after another, each about other people.
func (w *exits) play(cases []answerCase) {
	plain, err := w.pluralsight.Switches(testPlan)
	if err != nil {
		w.t.Fatal(err)
	}
	for n, c := range cases {
		w.t.Run(c.name, func(t *testing.T) {
			people := w.staff(leavingTogether)
			before := len(w.files(false))
			if c.speak != nil {
				w.speak(c.speak)
			}
			if _, err := w.pluralsight.Inject(c.faults...); err != nil {
				t.Fatal(err)
			}
			for i, p := range people {
				w.ask(request{source: "hr", id: fmt.Sprintf("%d-%d", n, i), email: p.Email})
			}
			settled := w.outcomes((n + 1) * leavingTogether)
			batches := map[string]bool{} // a slow machine may close the first before everybody is asked for
			for i, p := range people {
				answered := settled[fmt.Sprintf("hr %d-%d", n, i)]
				w.checkAnswer(t, c, p, answered)
				batches[answered.BatchID] = true
			}
			files := len(w.files(false)) - before
			// What happens once happens to the first of several batches.
			least, most := c.files+len(batches)-1, c.files*len(batches)
			if c.files > 0 && (files < least || files > most) || c.files < 0 && files != 0 {
				t.Errorf("%d files in earnest for %d batches, want %d to %d", files, len(batches), least, most)
			}
			w.pluralsight.ClearFaults()
			if err := w.pluralsight.SetSwitches(testPlan, plain); err != nil {
				t.Fatal(err)
			}
			for _, p := range people { // so that the next case means others
				if w.onAccount(p.PsUserID) {
					w.edit(p, func(p *pluralsightsim.Person) { p.IsOnAccount = pluralsightsim.No })
				}
			}
		})
	}
	w.checkLooks()
}

func (w *exits) checkAnswer(t *testing.T, c answerCase, p pluralsightsim.Person, s events.DeprovisionSettled) {
	t.Helper()
	stays := w.onAccount(p.PsUserID)
	want := c.want
	if c.otherwise != "" && stays {
		want = c.otherwise
	}
	if s.Outcome != want || (s.Outcome == "removed") == stays {
		t.Errorf("%s %s, want %s; on the account: %v", s.Outcome, s.Reason, want, stays)
	}
	e := s.Evidence
	if s.Outcome == "removed" && (e.IsOnAccount == nil || *e.IsOnAccount || e.RemovedOn == nil || e.ReadAt == nil) {
		t.Errorf("removed without proof: %+v", e)
	}
	if s.Outcome == "failed" && s.Reason == "" {
		t.Error("failed, and nothing says why")
	}
	if s.Outcome == "unverified" && (e.IsOnAccount == nil || !*e.IsOnAccount || e.ReadAt == nil) {
		t.Errorf("unverified without what was read: %+v", e)
	}
}

// Pluralsight says Processing and takes its time. Nothing is sent again meanwhile, and the proof comes when it is true.
func TestDeprovision_processingAppliesAfterAWhile(t *testing.T) {
	t.Parallel()
	w := newExits(t, 40, nil).begin()
	w.speak(func(s *pluralsightsim.DeprovisionSwitches) {
		s.Answer, s.EffectDelay = "processing", pluralsightsim.Duration(time.Hour)
	})
	p := w.staff(1)[0]
	w.ask(request{source: "hr", id: "1", email: p.Email})
	w.awaitState("hr", "1", "verifying")
	w.cancel("hr", "c", "1")
	w.awaitState("hr", "1", "cancel-too-late")
	// Somebody else asks for the same person: the row is out already, and its outcome is everybody's.
	w.ask(request{source: "idp", id: "2", data: map[string]any{"psUserId": p.PsUserID}})
	w.awaitState("idp", "2", "verifying")
	if len(w.applied()) != 0 {
		t.Fatal("it is applied already: this test tests nothing")
	}
	sent := w.files(false)[0].Seq
	w.eventually("two read-backs", func() bool {
		reads := slices.DeleteFunc(w.pluralsight.Requests(), func(r pluralsightsim.Request) bool {
			return r.Seq < sent || r.GraphQL == nil || !slices.Contains(r.GraphQL.Emails, p.Email)
		})
		return len(reads) >= 2
	})
	w.pluralsight.Advance(2 * time.Hour)
	settled := w.outcomes(2)
	w.wantOutcomes(settled, map[string]string{"hr 1": "removed", "idp 2": "removed"})
	if a, b := settled["hr 1"], settled["idp 2"]; a.BatchID != b.BatchID || a.BatchID == "" {
		t.Errorf("one row, and batches %q and %q", a.BatchID, b.BatchID)
	}
	if n := len(w.files(false)); n != 1 {
		t.Errorf("%d files in earnest", n)
	}
}
