package deprovisioner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
)

func (b *book) saveBatch(batch *deprovision.Batch) {
	b.out.saves = append(b.out.saves, save{deprovision.BatchSubject(batch.Connection, batch.ID), *batch})
}

// update stores a batch's new value and brings its requests along.
func (b *book) update(batch *deprovision.Batch, next deprovision.Batch, now time.Time) {
	*batch = next
	if batch.State.Open() {
		for _, row := range batch.Rows {
			for _, r := range b.members[batch.ID][row.PsUserID] {
				b.move(r, requestState(batch.State), batch.Reason, now)
			}
		}
	}
	b.saveBatch(batch)
}

// close ends a batch none of whose requests are open.
func (b *book) close(batch *deprovision.Batch, state deprovision.BatchState, note string, now time.Time) {
	if batch.State != state {
		*batch = toState(*batch, state, note, now)
	}
	b.saveBatch(batch)
	delete(b.batches, batch.ID)
	delete(b.members, batch.ID)
}

// dissolve ends a batch that was not sent and lets what is left of it be sealed anew.
func (b *book) dissolve(batch *deprovision.Batch, why string, now time.Time) {
	// Closed first: a member that leaves must not dissolve it again.
	*batch = toState(*batch, deprovision.BatchDissolved, why, now)
	batch.Reason = why
	for _, row := range batch.Rows {
		for _, r := range slices.Clone(b.members[batch.ID][row.PsUserID]) {
			b.release(r, why, now)
		}
	}
	b.close(batch, deprovision.BatchDissolved, why, now)
}

// endRows settles every open request of a batch with one outcome, and the batch with them.
func (b *book) endRows(batch *deprovision.Batch, state deprovision.BatchState, outcome, reason, note string, now time.Time) {
	*batch = toState(*batch, state, note, now)
	for i := range batch.Rows {
		row := &batch.Rows[i]
		if len(b.members[batch.ID][row.PsUserID]) == 0 {
			continue
		}
		row.Outcome = outcome
		b.endAll(b.members[batch.ID][row.PsUserID], judgement{outcome: outcome, reason: reason, person: row.PsUserID, evidence: row.Evidence}, now)
	}
	b.close(batch, state, note, now)
}

// again plans the repetition of a call that brought no answer. It reports false, and fails the batch, when that has
// been so for verifyWithin.
func (b *book) again(batch *deprovision.Batch, t trouble, now time.Time) bool {
	batch.Failures++
	if batch.FailingSince.IsZero() {
		batch.FailingSince = now
	}
	if now.Sub(batch.FailingSince) >= b.rules.VerifyWithin {
		b.endRows(batch, deprovision.BatchSettled, deprovision.OutcomeFailed, t.reason, "given up: "+t.reason, now)
		return false
	}
	batch.Due = now.Add(b.rules.backoff(batch.Failures, t.after))
	return true
}

// dryRan takes in the answer to the dry run.
func (b *book) dryRan(in dryRan, now time.Time) {
	batch := b.batches[in.batchID]
	if batch == nil || batch.State != deprovision.BatchSealed {
		return // dissolved while we asked
	}
	switch {
	case in.trouble.reason != "":
		if b.again(batch, in.trouble, now) {
			b.saveBatch(batch)
		}
	case len(in.refused) > 0:
		batch.DryRun = &in.answer
		b.refuseRows(batch, in.refused, now)
	default:
		batch.DryRun, batch.Failures, batch.FailingSince, batch.Due = &in.answer, 0, time.Time{}, now
		b.accepted(batch, now)
	}
}

// accepted decides about a batch whose dry run was accepted.
func (b *book) accepted(batch *deprovision.Batch, now time.Time) {
	*batch = toState(*batch, deprovision.BatchDryRun, answerNote(*batch.DryRun), now)
	next := decide(*batch, b.rules, b.usedToday(now), now)
	if next.State == deprovision.BatchSettled {
		b.endRows(batch, next.State, deprovision.OutcomeDryRun, "", "dry run only", now)
		return
	}
	b.update(batch, next, now)
}

// usedToday is how many people count against maxUsers24hAuto: those submitted in the window, those approved and not
// sent yet, and those of batches that are held for being too large. The last keep the remainder of a mass event from
// slipping out under the limit.
func (b *book) usedToday(now time.Time) int {
	used := spentToday(b.spent, now)
	for _, batch := range b.batches {
		approved := batch.State == deprovision.BatchApproved && batch.Approval != nil && batch.Approval.By == deprovision.Auto
		if approved && !slices.ContainsFunc(b.spent.Entries, func(e deprovision.SpentEntry) bool { return e.BatchID == batch.ID }) ||
			batch.State == deprovision.BatchHeld && batch.Burst {
			used += len(batch.Rows)
		}
	}
	return used
}

// refuseRows settles the rows that Pluralsight refuses and lets the rest be sealed anew.
func (b *book) refuseRows(batch *deprovision.Batch, refused []string, now time.Time) {
	note := fmt.Sprintf("%d of %d rows refused by the dry run", len(refused), len(batch.Rows))
	*batch = toState(*batch, deprovision.BatchDissolved, note, now)
	for i := range batch.Rows {
		row := &batch.Rows[i]
		if slices.Contains(refused, row.PsUserID) {
			row.Outcome = deprovision.OutcomeRejected
			b.endAll(b.members[batch.ID][row.PsUserID], judgement{outcome: deprovision.OutcomeRejected,
				reason: deprovision.ReasonVendorValidation, person: row.PsUserID, evidence: row.Evidence}, now)
		}
	}
	b.dissolve(batch, note, now)
}

// decideHold takes in a person's decision. One about another hold, or other bytes, or in no person's name, decides nothing.
func (b *book) decideHold(d deprovision.Decision, now time.Time) {
	batch, named := b.batches[d.BatchID], d.By != "" && d.By != deprovision.Auto
	if batch == nil || batch.State != deprovision.BatchHeld || d.Hold != batch.Hold || !named || !strings.EqualFold(d.SHA256, batch.SHA256) {
		return
	}
	if !d.Approve {
		b.endRows(batch, deprovision.BatchDeclined, deprovision.OutcomeDeclined, "", "by "+d.By, now)
		return
	}
	next := *batch
	next.Approval = &deprovision.Approval{By: d.By, At: d.At, SHA256: batch.SHA256}
	next.Reason, next.Due = "", now
	b.update(batch, toState(next, deprovision.BatchApproved, "by "+d.By, now), now)
}

// reconsider looks at an approved batch that may not be sent any more: its approval expired, or the configuration
// changed at a restart. The people's requests do not wait for a person in a system that no longer asks persons.
func (b *book) reconsider(batch *deprovision.Batch, now time.Time) {
	if batch.State != deprovision.BatchApproved {
		return
	}
	if a := batch.Approval; a != nil && a.By != deprovision.Auto {
		b.wakeAt(a.At.Add(approvalLife + time.Second))
	}
	_, no := authorise(*batch, b.rules, now)
	switch {
	case no == "":
	case b.rules.Apply != applyAuto && b.rules.Apply != applyReview:
		b.endRows(batch, deprovision.BatchSettled, deprovision.OutcomeDryRun, "", no, now)
	default:
		next := *batch
		next.Approval, next.Reason = nil, no
		next.Hold++
		b.update(batch, toState(next, deprovision.BatchHeld, no, now), now)
	}
}

// recheck takes in the last look before sending. What would be sealed differently now is sealed anew.
func (b *book) recheck(in rechecked, now time.Time) {
	batch := b.batches[in.batchID]
	if batch == nil || batch.State != deprovision.BatchApproved {
		return // withdrawn while we looked
	}
	approval, no := authorise(*batch, b.rules, now)
	switch {
	case no != "": // reconsider deals with it in this same step
	case in.trouble.reason != "":
		if b.again(batch, in.trouble, now) {
			b.saveBatch(batch)
		}
	case in.paused:
		// A pause is nobody's failure, however long it lasts.
		batch.Failures, batch.FailingSince, batch.Due = 0, time.Time{}, now.Add(pauseRecheck)
	case !b.unchanged(batch, in.people):
		b.dissolve(batch, "somebody changed at Pluralsight since it was sealed", now)
	default:
		b.send(batch, approval, now)
	}
}

// unchanged reports whether every open request still means the person of its row, and sealing now would make the same bytes.
func (b *book) unchanged(batch *deprovision.Batch, p *people) bool {
	rows := make([]deprovision.Row, 0, len(batch.Rows))
	for _, old := range batch.Rows {
		members := b.members[batch.ID][old.PsUserID]
		for _, r := range members {
			if j := p.judge(*r, b.rules); j.outcome != "" || j.person != old.PsUserID {
				return false
			}
		}
		row, reason := p.row(p.byID[old.PsUserID])
		if reason != "" || len(members) == 0 {
			return false
		}
		// Names come from the request when the plan has none, as at the sealing.
		if row.FirstName == "" {
			row.FirstName = old.FirstName
		}
		if row.LastName == "" {
			row.LastName = old.LastName
		}
		rows = append(rows, row)
	}
	csv, err := csvOf(rows)
	return err == nil && string(csv) == string(batch.CSV)
}

// send writes down that the bytes are leaving, and lets them leave: the save comes before the call.
func (b *book) send(batch *deprovision.Batch, approval deprovision.Approval, now time.Time) {
	next := *batch
	next.SubmittedAt, next.Answer, next.Reads = now, nil, 0
	b.update(batch, toState(next, deprovision.BatchSending, "", now), now)
	if approval.By == deprovision.Auto {
		b.spent = spend(b.spent, *batch, now)
		b.out.saves = append(b.out.saves, save{spentSubject(batch.Connection), b.spent})
	}
	b.start(callApply{batch: *batch, approval: approval})
}

// sent takes in what became of the bytes.
func (b *book) sent(in sent, now time.Time) {
	batch := b.batches[in.batchID]
	if batch == nil || batch.State != deprovision.BatchSending {
		return
	}
	if !in.unsent {
		b.answered(batch, in.answer, now)
		return
	}
	// Surely not processed: the approval is not used up, and the same bytes may go again.
	batch.SubmittedAt = time.Time{}
	if b.again(batch, in.trouble, now) {
		b.update(batch, toState(*batch, deprovision.BatchApproved, "not sent: "+in.trouble.reason, now), now)
	}
}

// answered begins the proof. No answer and every answer lead here: none is success by itself.
func (b *book) answered(batch *deprovision.Batch, answer deprovision.Answer, now time.Time) {
	state := deprovision.BatchAnswered
	if answer.HTTP == 0 && answer.Status == "" {
		state = deprovision.BatchUnknown
	}
	next := toState(*batch, state, answerNote(answer), now)
	next.Answer, next.Reads, next.Failures, next.FailingSince = &answer, 0, 0, time.Time{}
	next.Due = now.Add(b.rules.readDelay(0))
	b.update(batch, toState(next, deprovision.BatchVerifying, "", now), now)
}

func answerNote(a deprovision.Answer) string {
	if a.Fault != "" {
		return a.Fault
	}
	return fmt.Sprintf("%d %s", a.HTTP, a.Status)
}

// readBack takes in a read-back: what it proves, ends; what it leaves is concluded when its time is up.
func (b *book) readBack(in readBack, now time.Time) {
	batch := b.batches[in.batchID]
	if batch == nil || batch.State != deprovision.BatchVerifying {
		return
	}
	if in.trouble.reason != "" {
		batch.Failures++
		batch.Due = now.Add(b.rules.backoff(batch.Failures, in.trouble.after))
	} else {
		batch.Failures = 0
		batch.Reads++
		b.prove(batch, in, now)
	}
	b.conclude(batch, in.trouble.reason == "", now)
	if len(b.members[batch.ID]) == 0 {
		b.close(batch, deprovision.BatchSettled, "", now)
		return
	}
	if in.trouble.reason == "" {
		batch.Due = b.nextRead(*batch, now)
	}
	b.saveBatch(batch)
}

// prove settles the rows that the read-back shows off the account. Somebody whom Pluralsight does not know any more is
// gone, but only when two read-backs in a row say so: one empty answer is no evidence.
func (b *book) prove(batch *deprovision.Batch, in readBack, now time.Time) {
	for i := range batch.Rows {
		row := &batch.Rows[i]
		members := b.members[batch.ID][row.PsUserID]
		if len(members) == 0 {
			continue
		}
		u, found := in.users[row.PsUserID]
		if found {
			row.Absent, row.Evidence = 0, evidenceOf(u, in.readAt)
		} else {
			row.Absent++
			row.Evidence = evidenceAbsent(in.readAt)
		}
		if found && offAccount(u) || row.Absent >= 2 {
			row.Outcome = deprovision.OutcomeRemoved
			b.endAll(members, judgement{outcome: row.Outcome, person: row.PsUserID, evidence: row.Evidence}, now)
		}
	}
}

// conclude ends the rows that will not be proved. Out of time: unverified, or failed when Pluralsight said so. After an
// error or a lost answer, and a fair wait, "still there" is believed, and what is left is tried again in a new batch.
func (b *book) conclude(batch *deprovision.Batch, fresh bool, now time.Time) {
	late := !now.Before(batch.SubmittedAt.Add(b.rules.VerifyWithin))
	a := *batch.Answer
	lost := a.HTTP == 0 && a.Status == ""
	believed := fresh && batch.Reads >= 2 && (a.Errored || lost) && !now.Before(a.At.Add(b.rules.patience))
	if !late && !believed {
		return
	}
	for i := range batch.Rows {
		row := &batch.Rows[i]
		if row.Absent > 0 && !late {
			continue // perhaps gone: the next read-back says
		}
		for _, r := range slices.Clone(b.members[batch.ID][row.PsUserID]) {
			b.concludeRequest(r, row, a, late, now)
		}
	}
}

func (b *book) concludeRequest(r *deprovision.Request, row *deprovision.Row, a deprovision.Answer, late bool, now time.Time) {
	end := func(outcome, reason string) {
		row.Outcome = outcome
		b.end(r, judgement{outcome: outcome, reason: reason, person: row.PsUserID, evidence: row.Evidence}, now)
	}
	switch spent := r.Attempts+1 >= b.rules.attempts; {
	case late && a.Errored, spent && a.Errored:
		end(deprovision.OutcomeFailed, reasonOf(a))
	case late:
		end(deprovision.OutcomeUnverified, "")
	case !spent:
		r.Attempts++
		b.release(r, "still on the account", now)
	}
}

// nextRead is when to read back again: the usual delay, but not past a moment at which something is concluded.
func (b *book) nextRead(batch deprovision.Batch, now time.Time) time.Time {
	next := now.Add(b.rules.readDelay(batch.Reads))
	for _, moment := range []time.Time{batch.Answer.At.Add(b.rules.patience), batch.SubmittedAt.Add(b.rules.VerifyWithin)} {
		if moment.After(now) && moment.Before(next) {
			next = moment
		}
	}
	return next
}

// reasonOf is the token under which an outcome names an answer.
func reasonOf(a deprovision.Answer) string {
	if a.Fault != "" {
		return a.Fault
	}
	return a.Status
}
