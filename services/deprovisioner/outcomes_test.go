package deprovisioner

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/state"
)

func TestEveryRefusalHasItsReason(t *testing.T) {
	t.Parallel()
	w := newTown(t, 12, func(d *config.Deprovision) { d.Protect = []string{"P1@*"} })
	w.plan.people[2].Admin = true
	w.plan.people[3].On = false
	w.plan.people[4].Email = "shared@corp.example"
	w.plan.people[5].Email = "shared@corp.example"
	w.plan.people[6].Started = time.Now().Add(time.Hour)
	w.plan.people[7].Additional = []string{"Alias@Corp.example"}
	w.start()
	cases := map[string]struct {
		data    map[string]any
		outcome string
	}{
		"removed":     {email(0), "removed"},
		"protected":   {email(1), "rejected protected"},
		"admin":       {email(2), "rejected admin"},
		"gone":        {email(3), "already-removed"},
		"ambiguous":   {map[string]any{"email": "shared@corp.example"}, "rejected ambiguous-user"},
		"rehired":     {email(6), "rejected stale"},
		"additional":  {map[string]any{"email": "alias@corp.example"}, "removed"},
		"by id":       {map[string]any{"psUserId": "ps-8"}, "removed"},
		"cross-wired": {map[string]any{"psUserId": "ps-9", "email": "p10@corp.example"}, "rejected ambiguous-user"},
		"unknown":     {map[string]any{"email": "nobody@corp.example"}, "rejected unknown-user"},
		"nobody":      {map[string]any{"reason": "?"}, "rejected invalid"},
		"comma":       {map[string]any{"email": "a,b@corp.example"}, "rejected invalid"},
		"typed":       {map[string]any{"email": 7}, "rejected invalid"},
		"elsewhere":   {map[string]any{"email": "p11@corp.example", "connection": "other"}, "rejected wrong-connection"},
	}
	for id, c := range cases {
		w.publish("hr", id, c.data)
	}
	w.publishEvent("requested", events.DeprovisionRequestedType, "hr", "old", time.Now().Add(-200*time.Hour), email(11))
	w.publishEvent("requested", events.DeprovisionRequestedType, "hr", "future", time.Now().Add(time.Hour), email(11))
	w.publishEvent("requested", events.DeprovisionCancelledType, "hr", "type", time.Now(), email(11))
	got := w.outcomes(len(cases) + 3)
	for id, c := range cases {
		if s := got["/hr "+id]; s.Outcome+optional(s.Reason) != c.outcome {
			t.Errorf("%s: %s %s, want %s", id, s.Outcome, s.Reason, c.outcome)
		}
	}
	for id, want := range map[string]string{"old": "stale", "future": "stale", "type": "invalid"} {
		if s := got["/hr "+id]; s.Outcome != "rejected" || s.Reason != want {
			t.Errorf("%s: %s %s, want rejected %s", id, s.Outcome, s.Reason, want)
		}
	}
	if s := got["/hr removed"]; s.Evidence.IsOnAccount == nil || *s.Evidence.IsOnAccount || s.Evidence.ReadAt == nil || s.PsUserID != "ps-0" {
		t.Errorf("removed without evidence: %+v", s)
	}
}

func optional(reason string) string {
	if reason == "" {
		return ""
	}
	return " " + reason
}

func TestWhatIsNoEventBecomesADeadLetterAndDelaysNobody(t *testing.T) {
	t.Parallel()
	w := newTown(t, 3, func(*config.Deprovision) {})
	w.start()
	bad := func(subject string, header nats.Header, body string) {
		if _, err := w.js.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Header: header, Data: []byte(body)}); err != nil {
			t.Fatal(err)
		}
	}
	bad("seatwire.v1.deprovision.requested.acme.hr", nats.Header{}, "no event")
	bad("seatwire.v1.deprovision.requested.nosuch.hr", nats.Header{}, "{}")
	bad("seatwire.v1.deprovision.requested.ACME.hr", nats.Header{}, "{}")
	w.publish("hr", "1", email(0))
	w.outcomes(1)                  // of two events of one identity at once, the one that is read first counts
	w.publish("hr", "1", email(0)) // absorbed
	w.publish("hr", "1", email(1)) // refused
	w.publish("it", "1", email(1)) // another publisher's
	w.outcomes(2)
	w.eventually("dead letters", func() bool { return len(w.deadLetters()) == 4 })
	reasons := w.deadLetters()
	slices.Sort(reasons)
	if want := []string{"rejected", "rejected", "rejected", "undecodable"}; !slices.Equal(reasons, want) {
		t.Errorf("dead letters %v, want %v", reasons, want)
	}
}

func TestDryRunAppliesNothing(t *testing.T) {
	t.Parallel()
	w := newTown(t, 3, func(d *config.Deprovision) { d.Apply = "dry-run" })
	w.start()
	for n := range 3 {
		w.publish("hr", fmt.Sprint(n), email(n))
	}
	for id, s := range w.outcomes(3) {
		if s.Outcome != "dry-run" || !s.DryRun {
			t.Errorf("%s: %+v", id, s)
		}
	}
	if n := len(w.plan.files(false)); n != 0 {
		t.Errorf("%d files were sent in earnest", n)
	}
}

func TestReviewWaitsForAPersonAndOneDecisionCounts(t *testing.T) {
	t.Parallel()
	w := newTown(t, 4, func(d *config.Deprovision) {
		d.Apply, d.BatchMaxUsers, d.BatchMaxAge = "review", 2, time.Hour // a batch is full, or a slow machine makes three
	})
	w.start()
	for n := range 4 {
		w.publish("hr", fmt.Sprint(n), email(n))
	}
	w.eventually("two held batches", func() bool { return len(w.batchesIn(deprovision.BatchHeld)) == 2 })
	held := w.batchesIn(deprovision.BatchHeld)
	if len(w.plan.files(false)) != 0 {
		t.Fatal("a file was sent before anybody approved")
	}
	if _, err := w.ledger.Decide(t.Context(), held[0].ID, "ada", "00", true); err == nil {
		t.Error("an approval of other bytes was taken")
	}
	if _, err := w.ledger.Decide(t.Context(), held[0].ID, "ada", held[0].SHA256, true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ledger.Decide(t.Context(), held[0].ID, "bob", "", false); err == nil {
		t.Error("a second decision was taken")
	}
	if _, err := w.ledger.Decide(t.Context(), held[1].ID, "bob", "", false); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, s := range w.outcomes(4) {
		counts[s.Outcome]++
	}
	if counts["removed"] != 2 || counts["declined"] != 2 {
		t.Errorf("outcomes %v", counts)
	}
}

func TestCancelsBeforeAfterAndTooLate(t *testing.T) {
	t.Parallel()
	w := newTown(t, 3, func(d *config.Deprovision) { d.Apply = "review" })
	w.start()
	w.cancel("hr", "c0", "0")
	w.publish("hr", "0", email(0))
	w.publish("hr", "1", map[string]any{"email": "p1@corp.example", "effectiveAt": time.Now().Add(time.Hour)})
	w.eventually("deferred", func() bool { n, _ := w.ledger.ByState(t.Context(), "acme"); return n["deferred"] == 1 })
	w.cancel("hr", "c1", "1")
	w.publish("hr", "2", email(2))
	w.eventually("held", func() bool { return len(w.batchesIn(deprovision.BatchHeld)) == 1 })
	w.cancel("hr", "c2", "2")
	for id, s := range w.outcomes(3) {
		if s.Outcome != "cancelled" {
			t.Errorf("%s: %s", id, s.Outcome)
		}
	}
	w.cancel("hr", "c3", "2")
	w.eventually("an answer to the late cancel", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.progress, func(p events.DeprovisionProgressed) bool {
			return p.State == "cancel-too-late" && p.RequestID == "2" && p.RequestSource == "/hr"
		})
	})
	if len(w.plan.files(false)) != 0 {
		t.Error("a cancelled person was sent")
	}
}

func TestPauseStopsSendingAndResumeLetsItGoOn(t *testing.T) {
	t.Parallel()
	w := newTown(t, 1, func(*config.Deprovision) {})
	store, err := state.Open(t.Context(), w.js)
	if err != nil {
		t.Fatal(err)
	}
	pause := func(on bool) {
		if err := state.SetPaused(t.Context(), store, "acme", on, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	pause(true)
	w.start()
	w.publish("hr", "1", email(0))
	w.eventually("approved", func() bool { return len(w.batchesIn(deprovision.BatchApproved)) == 1 })
	pause(false)
	if s := w.outcomes(1)["/hr 1"]; s.Outcome != "removed" || len(w.plan.files(false)) != 1 {
		t.Errorf("outcome %s after %d files", s.Outcome, len(w.plan.files(false)))
	}
}

func TestStrictFileIsBisected(t *testing.T) {
	t.Parallel()
	w := newTown(t, 20, func(d *config.Deprovision) { d.Strict = true })
	w.plan.react = func(p *testPlan, c testCall) (int, string, bool) {
		if slices.ContainsFunc(c.rows, func(row []string) bool { return row[0] == "ps-7" || row[0] == "ps-13" }) {
			return http.StatusBadRequest, "Validation Completed With Errors", false
		}
		if !c.dryRun {
			p.remove(c.rows)
		}
		return 200, "Completed Successfully", false
	}
	w.start()
	for n := range 20 {
		w.publish("hr", fmt.Sprint(n), email(n))
	}
	for id, s := range w.outcomes(20) {
		want := "removed"
		if id == "/hr 7" || id == "/hr 13" {
			want = "rejected vendor-validation"
		}
		if got := s.Outcome + optional(s.Reason); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	if files := w.plan.files(false); !files[0].strict {
		t.Error("exitOnError was not sent")
	}
}

// TestManySources: three sources, 700 people, 1,000 requests, a tenth of them repeated, reordered or conflicting.
func TestManySources(t *testing.T) {
	t.Parallel()
	const people, requests = 700, 1000
	w := newTown(t, people, func(d *config.Deprovision) { d.BatchMaxAge = 500 * time.Millisecond })
	w.start()
	w.start()
	for _, e := range mixed(people, requests) {
		w.publish(e.source, e.id, email(e.person))
	}
	got := w.outcomes(requests)
	removed := map[string]bool{}
	for id, s := range got {
		if s.Outcome != "removed" && s.Outcome != "already-removed" {
			t.Errorf("%s: %s %s", id, s.Outcome, s.Reason)
		}
		removed[s.PsUserID] = true
	}
	gone := w.plan.removed()
	if len(gone) != people || len(removed) != people {
		t.Errorf("%d people gone, %d in the outcomes, want %d", len(gone), len(removed), people)
	}
	for id, times := range gone {
		if times != 1 {
			t.Errorf("%s was removed %d times", id, times)
		}
	}
	rows := map[string]int{}
	for _, f := range w.plan.files(false) {
		for _, row := range f.rows {
			rows[row[0]]++
		}
	}
	for id, n := range rows {
		if n != 1 {
			t.Errorf("%s was in %d files", id, n)
		}
	}
	if w.plan.most > 1 {
		t.Errorf("%d files at once", w.plan.most)
	}
	for id, n := range w.ids {
		if n != 1 {
			t.Errorf("settled event %s came %d times", id, n)
		}
	}
}

type mixedEvent struct {
	source, id string
	person     int
}

// mixed is requests of three sources in random order; one in twenty comes again, and one in twenty comes again under
// its identity for somebody else, each anywhere after its first. The latter only for people whom two requests name, and
// for one of the two: which of two events of one identity two replicas take first is not promised.
func mixed(people, requests int) (out []mixedEvent) {
	random := rand.New(rand.NewPCG(1, 2))
	after := map[int][]mixedEvent{}
	for _, n := range random.Perm(requests) {
		e := mixedEvent{[]string{"hr", "it", "idp"}[n%3], fmt.Sprint(n), n % people}
		out = append(out, e)
		again := len(out) + random.IntN(requests-len(out)+1)
		switch {
		case n%20 == 0:
			after[again] = append(after[again], e)
		case n%20 == 10 && n < requests-people:
			e.person = (n + 1) % people
			after[again] = append(after[again], e)
		}
	}
	var all []mixedEvent
	for n, e := range out {
		all = append(append(all, e), after[n+1]...)
	}
	return all
}

// TestBurstIsHeld: a mass event by mistake is held, and so is the remainder that alone would be inside every guard.
func TestBurstIsHeld(t *testing.T) {
	t.Parallel()
	const people = 510
	w := newTown(t, people, func(d *config.Deprovision) {
		d.MaxUsersPerBatchAuto, d.MaxUsers24hAuto, d.BatchMaxUsers = 25, 100, 100
		d.BatchMaxAge = 3 * time.Second
	})
	for n := range people {
		w.publish("hr", fmt.Sprint(n), email(n))
	}
	w.start()
	w.eventually("everybody held", func() bool {
		counts, err := w.ledger.ByState(t.Context(), "acme")
		return err == nil && counts[deprovision.Held] == people
	})
	if n := len(w.plan.files(false)); n != 0 {
		t.Errorf("%d files were sent", n)
	}
}

func TestRestartInTheMiddle(t *testing.T) {
	t.Parallel()
	const people = 120
	w := newTown(t, people, func(d *config.Deprovision) { d.BatchMaxUsers = 10 })
	stop := w.start()
	for n := range people {
		w.publish("hr", fmt.Sprint(n), email(n))
	}
	for range 3 {
		select {
		case <-w.plan.arrived:
		case <-time.After(patience):
			t.Fatal("nothing was sent")
		}
		stop()
		stop = w.start()
	}
	for id, s := range w.outcomes(people) {
		if s.Outcome != "removed" {
			t.Errorf("%s: %s %s", id, s.Outcome, s.Reason)
		}
	}
	for id, times := range w.plan.removed() {
		if times != 1 {
			t.Errorf("%s was removed %d times", id, times)
		}
	}
	w.checkLooks()
}

// TestDeathWhileSending cuts the holder of the lane off while Pluralsight carries its file out. The other replica finds
// "sending", reads back, and sends nobody twice.
func TestDeathWhileSending(t *testing.T) {
	t.Parallel()
	const people = 30
	w := newTown(t, people, func(d *config.Deprovision) { d.BatchMaxUsers, d.BatchMaxAge = 10, patience })
	var kill func()
	first := true
	w.plan.react = func(p *testPlan, c testCall) (int, string, bool) {
		if !c.dryRun {
			if first {
				first = false
				kill()
			}
			p.remove(c.rows)
		}
		return 200, "Completed Successfully", false
	}
	_, kill = w.replica()
	w.eventually("a holder", func() bool {
		var h holder
		at, err := lastDocument(t.Context(), w.js, laneSubject("acme"), &h)
		return err == nil && at > 0
	})
	w.start()
	for n := range people {
		w.publish("hr", fmt.Sprint(n), email(n))
	}
	for id, s := range w.outcomes(people) {
		if s.Outcome != "removed" {
			t.Errorf("%s: %s %s", id, s.Outcome, s.Reason)
		}
	}
	for id, times := range w.plan.removed() {
		if times != 1 {
			t.Errorf("%s was removed %d times", id, times)
		}
	}
	if n := len(w.plan.files(false)); n != 3 {
		t.Errorf("%d files, want 3", n)
	}
	w.checkLooks()
}
