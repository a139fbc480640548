package deprovisioner

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// world is a plan, a ledger and a book, on one clock, without a network: the model against which random histories of
// events, people, vendor moods and crashes are played. The book is the real one; what the ledger keeps goes through
// JSON as it would on the wire.
type world struct {
	t     *rapid.T
	rules rules
	now   time.Time

	users  map[string]*pluralsight.User
	admins map[string]bool
	// jobs are effects that Pluralsight has promised and not brought about.
	jobs []job

	ledger map[string]json.RawMessage
	book   *book
	call   call
	wake   time.Time
	paused bool
	calm   bool // no more crashes

	accepted  map[string]bool // request keys
	settledAt map[string]string
	approved  map[string]bool // sha256 that a person approved
	// submitted and read are when a person was last in a file that may have been processed, and last read back.
	submitted map[string]time.Time
	read      map[string]time.Time
	// sent are batches whose bytes may have left, by id: the same batch never goes again.
	sent     map[string]bool
	looked   *people // what the last recheck saw
	unpaused bool    // at the last recheck
	auto     []deprovision.SpentEntry
	calls    int
	serial   int
}

type job struct {
	at  time.Time
	ids []string
}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), users: map[string]*pluralsight.User{}, admins: map[string]bool{},
		ledger: map[string]json.RawMessage{}, accepted: map[string]bool{}, settledAt: map[string]string{}, approved: map[string]bool{},
		submitted: map[string]time.Time{}, read: map[string]time.Time{}, sent: map[string]bool{},
	}
	w.rules = rulesFor(config.Connection{Name: "acme", Deprovision: config.Deprovision{
		Apply:                rapid.SampledFrom([]string{"dry-run", "review", "auto", "auto"}).Draw(t, "apply"),
		Strict:               rapid.Bool().Draw(t, "strict"),
		BatchMaxUsers:        rapid.IntRange(1, 6).Draw(t, "batchMaxUsers"),
		BatchMaxAge:          rapid.SampledFrom([]time.Duration{0, time.Second, 30 * time.Second}).Draw(t, "batchMaxAge"),
		MaxUsersPerBatchAuto: rapid.IntRange(0, 6).Draw(t, "perBatch"),
		MaxUsers24hAuto:      rapid.IntRange(0, 12).Draw(t, "perDay"),
		MaxEventAge:          168 * time.Hour,
		VerifyWithin:         rapid.SampledFrom([]time.Duration{2 * time.Minute, time.Hour}).Draw(t, "within"),
		VerifyEvery:          rapid.SampledFrom([]time.Duration{5 * time.Second, time.Minute}).Draw(t, "every"),
		Protect:              rapid.SampledFrom([][]string{nil, {"p0@*"}, {"*boss*", "P1@corp.example"}}).Draw(t, "protect"),
		ProtectAdmins:        rapid.Bool().Draw(t, "protectAdmins"),
	}}, config.Retry{MaxAttempts: rapid.IntRange(1, 3).Draw(t, "attempts"), InitialDelay: 250 * time.Millisecond, CallTimeout: 5 * time.Second})
	for n := range rapid.IntRange(1, 9).Draw(t, "people") {
		w.addUser(n)
	}
	w.reload()
	return w
}

func (w *world) addUser(n int) {
	on := true
	u := &pluralsight.User{
		PsUserID: fmt.Sprintf("u%d", n), Email: fmt.Sprintf("p%d@corp.example", n), OnAccount: &on,
		StartedOn: w.now.Add(-1000 * time.Hour), FirstName: "F", LastName: "L",
	}
	switch rapid.IntRange(0, 9).Draw(w.t, "kind") {
	case 0:
		w.admins[u.PsUserID] = true
	case 1:
		u.CurrentSSOIdentifier = "shared"
	case 2:
		u.CurrentSSOIdentifier = "sso-" + u.PsUserID
	case 3:
		u.AdditionalEmails = []string{"boss@corp.example"}
	case 4:
		off := false
		u.OnAccount, u.RemovedOn = &off, w.now.Add(-time.Hour)
	case 5:
		u.Email = "same@corp.example"
	case 6:
		u.Email = "a,b@corp.example"
	}
	w.users[u.PsUserID] = u
}

// play runs effects as a lane would, and may crash between two saves.
func (w *world) play(e effects, crashAfter int) {
	for n, s := range e.saves {
		if n == crashAfter {
			w.reload()
			return
		}
		w.save(s)
	}
	w.wake = e.wake
	if e.call != nil {
		if w.call != nil {
			w.t.Fatalf("two calls at once: %T and %T", w.call, e.call)
		}
		w.call = e.call
		if apply, ok := e.call.(callApply); ok {
			w.checkSend(apply)
		}
	}
}

func (w *world) save(s save) {
	if r, ok := s.document.(deprovision.Request); ok && w.settledAt[r.Key] != "" {
		w.t.Fatalf("request %s was settled as %s and written again as %s", r.Key, w.settledAt[r.Key], r.State)
	} else if ok && !r.Open() {
		w.settledAt[r.Key] = r.Outcome
		w.checkOutcome(r)
	}
	body, err := json.Marshal(s.document)
	if err != nil {
		w.t.Fatal(err)
	}
	w.ledger[s.subject] = body
}

// reload is a crash: memory is gone, the ledger stays, and so does what Pluralsight is doing.
func (w *world) reload() {
	if apply, ok := w.call.(callApply); ok { // the bytes may or may not have left
		if rapid.Bool().Draw(w.t, "left") {
			w.remove(idsOf(apply.batch))
		}
	}
	w.call = nil
	w.book = newBook(w.rules)
	var c contents
	for _, subject := range slices.Sorted(maps.Keys(w.ledger)) {
		body := w.ledger[subject]
		switch {
		case strings.Contains(subject, ".request."):
			c.requests = append(c.requests, mustDecode[deprovision.Request](w.t, body))
		case strings.Contains(subject, ".batch."):
			c.batches = append(c.batches, mustDecode[deprovision.Batch](w.t, body))
		case strings.Contains(subject, ".decision."):
			c.decisions = append(c.decisions, mustDecode[deprovision.Decision](w.t, body))
		case strings.Contains(subject, ".spent."):
			c.spent = mustDecode[deprovision.Spent](w.t, body)
		case strings.Contains(subject, ".cancel."):
			cancel := mustDecode[deprovision.Cancel](w.t, body)
			c.cancels = append(c.cancels, withdrawn{cancel, w.settledAt[cancel.Target] != ""})
		}
	}
	w.play(w.book.load(c, w.now), -1)
}

func mustDecode[T any](t *rapid.T, body []byte) (out T) {
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *world) step(inputs ...input) {
	crashAfter := -1
	if !w.calm {
		crashAfter = rapid.IntRange(0, 40).Draw(w.t, "crash") - 34
	}
	w.play(w.book.step(w.now, inputs...), crashAfter)
}

// request publishes an event, as the intake would take it in.
func (w *world) request() {
	w.serial++
	id := fmt.Sprintf("e%d", rapid.IntRange(max(0, w.serial-3), w.serial).Draw(w.t, "id"))
	person := rapid.IntRange(0, 10).Draw(w.t, "who")
	data := map[string]any{}
	switch rapid.IntRange(0, 6).Draw(w.t, "by") {
	case 0:
		data["psUserId"] = fmt.Sprintf("u%d", person)
	case 1:
		data["email"] = rapid.SampledFrom([]string{"boss@corp.example", "same@corp.example", "nobody@corp.example", "a,b@corp.example"}).Draw(w.t, "odd")
	case 2:
		data["email"], data["psUserId"] = fmt.Sprintf("P%d@corp.example", person), fmt.Sprintf("u%d", rapid.IntRange(0, 10).Draw(w.t, "other"))
	default:
		data["email"] = fmt.Sprintf(" p%d@Corp.example", person)
	}
	if rapid.IntRange(0, 4).Draw(w.t, "deferred") == 0 {
		data["effectiveAt"] = w.now.Add(time.Duration(rapid.IntRange(1, 4000).Draw(w.t, "seconds")) * time.Second)
	}
	if rapid.IntRange(0, 4).Draw(w.t, "options") == 0 {
		data["retainPrivileges"] = true
	}
	body, _ := json.Marshal(data)
	e := events.Event{ID: id, Source: "hr", Type: events.DeprovisionRequestedType, Data: body,
		Time: w.now.Add(-time.Duration(rapid.SampledFrom([]int{0, 1, 50, 200}).Draw(w.t, "hours")) * time.Hour)}
	r := accept(e, "hr", w.rules, w.now)
	subject := deprovision.RequestSubject("acme", r.Key)
	if _, known := w.ledger[subject]; known {
		return // absorbed or refused by the intake
	}
	w.accepted[r.Key] = true
	w.save(save{subject, r})
	w.step(arrived{r})
}

func (w *world) cancel() {
	w.serial++
	target := fmt.Sprintf("e%d", rapid.IntRange(max(0, w.serial-8), w.serial+1).Draw(w.t, "target"))
	c, err := acceptCancel(events.Event{ID: fmt.Sprintf("c%d", w.serial), Source: "hr", Type: events.DeprovisionCancelledType,
		Data: json.RawMessage(`{"source":"hr","id":"` + target + `"}`)}, "hr", "acme", w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.save(save{deprovision.CancelSubject("acme", c.Key), c})
	w.step(withdrawn{c, w.settledAt[c.Target] != ""})
}

func (w *world) decide(approve bool) {
	for _, id := range slices.Sorted(maps.Keys(w.book.batches)) {
		b := w.book.batches[id]
		if b.State != deprovision.BatchHeld {
			continue
		}
		d := deprovision.Decision{Connection: "acme", BatchID: b.ID, Hold: b.Hold, Approve: approve, By: "ada", SHA256: b.SHA256, At: w.now}
		subject := deprovision.DecisionSubject("acme", b.ID, b.Hold)
		if _, twice := w.ledger[subject]; twice {
			return
		}
		if approve {
			w.approved[b.SHA256] = true
		}
		w.save(save{subject, d})
		w.step(decided{d})
		return
	}
}

// answer lets Pluralsight answer the outstanding call, in some mood.
func (w *world) answer(healthy bool) {
	c := w.call
	if c == nil {
		return
	}
	w.call = nil
	w.calls++
	bad := !healthy && rapid.IntRange(0, 3).Draw(w.t, "mood") == 0
	if bad {
		if in := w.trouble(c); in != nil {
			w.step(in)
			return
		}
	}
	switch c := c.(type) {
	case callResolve:
		w.step(resolved{requests: c.requests, retain: c.retain, people: w.look()})
	case callDryRun:
		w.step(w.dryRun(c, bad))
	case callRecheck:
		w.looked, w.unpaused = w.look(), !w.paused
		for _, row := range c.batch.Rows {
			w.read[row.PsUserID] = w.now.Add(1) // a look like any other
		}
		w.step(rechecked{batchID: c.batch.ID, people: w.looked, paused: w.paused})
	case callApply:
		w.step(w.apply(c, bad))
	case callRead:
		for _, row := range c.rows {
			w.read[row.PsUserID] = w.now
		}
		w.step(readBack{batchID: c.batch.ID, users: w.everybody(), readAt: w.now})
	}
}

func (w *world) trouble(c call) input {
	t := trouble{reason: "timeout"}
	switch c := c.(type) {
	case callResolve:
		return resolved{requests: c.requests, retain: c.retain, trouble: t}
	case callRecheck:
		return rechecked{batchID: c.batch.ID, trouble: t}
	case callRead:
		return readBack{batchID: c.batch.ID, readAt: w.now, trouble: t}
	}
	return nil
}

func (w *world) look() *people {
	var admins []pluralsight.Admin
	for id := range w.admins {
		admins = append(admins, pluralsight.Admin{PsUserID: id})
	}
	return newPeople(w.everybody(), admins, w.now)
}

func (w *world) everybody() (users []pluralsight.User) {
	for _, id := range slices.Sorted(maps.Keys(w.users)) {
		users = append(users, *w.users[id])
	}
	return users
}

func (w *world) dryRun(c callDryRun, bad bool) input {
	in := dryRan{batchID: c.batch.ID, answer: deprovision.Answer{At: w.now, HTTP: 200, Status: "successful"}}
	if bad && rapid.Bool().Draw(w.t, "refused") {
		in.answer = deprovision.Answer{At: w.now, HTTP: 400, Status: "validation-errors", Errored: true}
		in.refused = []string{c.batch.Rows[rapid.IntRange(0, len(c.batch.Rows)-1).Draw(w.t, "row")].PsUserID}
	} else if bad {
		in.trouble.reason = "server-error"
	}
	return in
}

func (w *world) apply(c callApply, bad bool) input {
	ids := idsOf(c.batch)
	in := sent{batchID: c.batch.ID, answer: deprovision.Answer{At: w.now, HTTP: 200, Status: "successful", Final: true}}
	if !bad {
		w.remove(ids)
		return in
	}
	some := ids[:rapid.IntRange(0, len(ids)).Draw(w.t, "applied")]
	switch rapid.IntRange(0, 5).Draw(w.t, "how") {
	case 0: // lost after applying, or before
		w.remove(some)
		in.answer = deprovision.Answer{At: w.now, Fault: "no-answer"}
	case 1:
		w.remove(some)
		in.answer = deprovision.Answer{At: w.now, HTTP: 400, Status: "completed-with-errors", Errored: true, Final: true}
	case 2:
		w.jobs = append(w.jobs, job{w.now.Add(time.Duration(rapid.IntRange(1, 600).Draw(w.t, "later")) * time.Second), some})
		in.answer = deprovision.Answer{At: w.now, HTTP: 200, Status: "processing"}
	case 3:
		w.remove(some)
		in.answer = deprovision.Answer{At: w.now, HTTP: 502, Status: "other", Fault: "no-answer", Errored: true}
	case 4:
		for _, id := range ids { // it says so, and does nothing
			delete(w.submitted, id)
		}
		delete(w.sent, c.batch.ID)
		return sent{batchID: c.batch.ID, unsent: true, trouble: trouble{reason: "not-sent"}}
	case 5:
		w.remove(some)
	}
	return in
}

func (w *world) remove(ids []string) {
	for _, id := range ids {
		off := false
		w.users[id].OnAccount, w.users[id].RemovedOn = &off, w.now
	}
}

// rehire licenses somebody again.
func (w *world) rehire() {
	for _, id := range slices.Sorted(maps.Keys(w.users)) {
		if u := w.users[id]; offAccount(*u) {
			on := true
			u.OnAccount, u.RemovedOn, u.StartedOn = &on, time.Time{}, w.now
			return
		}
	}
}

func idsOf(b deprovision.Batch) (ids []string) {
	for _, row := range b.Rows {
		ids = append(ids, row.PsUserID)
	}
	return ids
}

// checkSend is everything that must hold when bytes are about to leave with dryRun=false.
func (w *world) checkSend(c callApply) {
	t, b := w.t, c.batch
	switch order, err := pluralsight.Apply(b.CSV, options(b), pluralsight.Approval{SHA256: c.approval.SHA256, By: c.approval.By}); {
	case w.rules.Apply == "dry-run":
		t.Fatalf("apply: dry-run sent a file")
	case err != nil || !order.Armed():
		t.Fatalf("the client would refuse: %v", err)
	case c.approval.By == deprovision.Auto && w.rules.Apply != "auto":
		t.Fatalf("review sent a file that nobody approved")
	case c.approval.By != deprovision.Auto && !w.approved[b.SHA256]:
		t.Fatalf("sent other bytes than a person approved")
	case !w.unpaused:
		t.Fatalf("sent while paused")
	case w.sent[b.ID]:
		t.Fatalf("the same file was sent again, although it may have arrived")
	}
	w.sent[b.ID] = true
	stored := mustDecode[deprovision.Batch](t, w.ledger[deprovision.BatchSubject("acme", b.ID)])
	if stored.State != deprovision.BatchSending {
		t.Fatalf("bytes leave while the ledger says %s", stored.State)
	}
	if c.approval.By == deprovision.Auto {
		w.checkAutoGuards(b)
	}
	rows, err := pluralsight.ReadCSV(b.CSV)
	if err != nil || len(rows) != len(b.Rows) {
		t.Fatalf("the file has %d rows for %d people: %v", len(rows), len(b.Rows), err)
	}
	for n, row := range b.Rows {
		w.checkRow(b, row, rows[n])
	}
}

func (w *world) checkAutoGuards(b deprovision.Batch) {
	if len(b.Rows) > w.rules.MaxUsersPerBatchAuto {
		w.t.Fatalf("auto sent %d people at once", len(b.Rows))
	}
	today := 0
	w.auto = slices.DeleteFunc(w.auto, func(e deprovision.SpentEntry) bool { return e.BatchID == b.ID })
	w.auto = append(w.auto, deprovision.SpentEntry{BatchID: b.ID, At: w.now, Users: len(b.Rows)})
	for _, e := range w.auto {
		if w.now.Sub(e.At) < day {
			today += e.Users
		}
	}
	if today > w.rules.MaxUsers24hAuto {
		w.t.Fatalf("auto sent %d people within a day", today)
	}
}

func (w *world) checkRow(b deprovision.Batch, row deprovision.Row, line pluralsight.Row) {
	id, t := row.PsUserID, w.t
	switch u := w.looked.byID[id]; {
	case w.rules.ProtectAdmins && w.looked.adminIDs[id]:
		t.Fatalf("an admin is in a file")
	case w.rules.protected(append([]string{u.Email}, u.AdditionalEmails...)...):
		t.Fatalf("a protected person is in a file")
	case line.Email != u.Email, line.ID != id && line.ID != u.CurrentSSOIdentifier:
		t.Fatalf("row %v is not person %v", line, u.PsUserID)
	case line.ID == "shared" && w.looked.sso["shared"] > 1:
		t.Fatalf("an identifier of two people is in a file")
	}
	for _, other := range w.book.batches {
		if other.ID != b.ID && len(w.book.members[other.ID][id]) > 0 {
			t.Fatalf("a person is in two open batches")
		}
	}
	if at, before := w.submitted[id]; before && !w.read[id].After(at) {
		t.Fatalf("sent again without looking since %s", w.now.Sub(at))
	}
	w.submitted[id] = w.now
}

func (w *world) checkOutcome(r deprovision.Request) {
	if r.Outcome == deprovision.OutcomeRemoved && (w.users[r.Person] == nil || !offAccount(*w.users[r.Person])) {
		w.t.Fatalf("removed, but the plan says no")
	}
}

// meddle changes somebody behind our back: a new admin, a new address, or somebody removed by hand.
func (w *world) meddle() {
	ids := slices.Sorted(maps.Keys(w.users))
	id := rapid.SampledFrom(ids).Draw(w.t, "victim")
	switch rapid.IntRange(0, 2).Draw(w.t, "meddle") {
	case 0:
		w.admins[id] = true
	case 1:
		w.users[id].Email = "new-" + w.users[id].Email
	case 2:
		w.remove([]string{id})
	}
}

func (w *world) advance(d time.Duration) {
	w.now = w.now.Add(d)
	for len(w.jobs) > 0 && !w.jobs[0].at.After(w.now) {
		w.remove(w.jobs[0].ids)
		w.jobs = w.jobs[1:]
	}
	slices.SortFunc(w.jobs, func(a, b job) int { return a.at.Compare(b.at) })
	w.step(ticked{})
}

// settleAll ends the history: everything is well from now on, persons decide, and time passes.
func (w *world) settleAll() {
	w.paused, w.calm = false, true
	for range 4000 {
		if len(w.book.open) == 0 {
			return
		}
		if w.call != nil {
			w.answer(true)
			continue
		}
		w.decide(rapid.Bool().Draw(w.t, "approve"))
		if w.call == nil && w.wake.After(w.now) {
			w.advance(w.wake.Sub(w.now))
		} else if w.call == nil {
			w.advance(time.Minute)
		}
	}
	var left []string
	for _, r := range w.book.open {
		left = append(left, fmt.Sprintf("%s in %q of batch %q", r.State, cmp.Or(r.Outcome, "-"), r.BatchID))
	}
	w.t.Fatalf("not settled after 4000 steps: %v", left)
}

// TestRandomHistories plays random configurations and histories; rapid prints the seed of one that fails. The invariants
// are in checkSend, checkRow, checkAutoGuards, checkOutcome and save; the last one, that everything settles, is in
// settleAll.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "length") {
			switch rapid.IntRange(0, 17).Draw(t, "op") {
			case 0, 1, 2, 3, 4:
				w.request()
			case 5:
				w.cancel()
			case 6:
				w.decide(rapid.IntRange(0, 3).Draw(t, "yes") > 0)
			case 7:
				if rapid.Bool().Draw(t, "reconfigured") {
					w.rules.Apply = rapid.SampledFrom([]string{"dry-run", "review", "auto"}).Draw(t, "apply")
				}
				w.reload()
			case 12:
				w.meddle()
			case 8:
				w.rehire()
			case 9:
				w.paused = !w.paused
			case 10:
				w.advance(time.Duration(rapid.IntRange(1, 7200).Draw(t, "pass")) * time.Second)
			case 11:
				w.advance(max(0, w.wake.Sub(w.now)))
			default:
				w.answer(false)
			}
		}
		w.settleAll()
		for key := range w.accepted {
			if w.settledAt[key] == "" {
				t.Fatalf("request %s was accepted and never settled", key)
			}
		}
	})
}
