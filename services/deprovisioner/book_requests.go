package deprovisioner

import (
	"maps"
	"slices"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/roster"
)

// arrive takes in a request that the intake wrote. One that was rejected there is over already, and a cancel that waits
// for it too late.
func (b *book) arrive(r deprovision.Request, now time.Time) {
	c, withdrawn := b.cancels[r.Key]
	switch {
	case b.open[r.Key] != nil:
		return
	case !r.Open() && withdrawn:
		b.endCancel(c, deprovision.CancelLate, now)
		return
	case !r.Open():
		return
	}
	b.open[r.Key] = &r
	if withdrawn {
		b.endCancel(c, deprovision.CancelApplied, now)
		b.end(&r, judgement{outcome: deprovision.OutcomeCancelled}, now)
		return
	}
	b.queueUp(&r, now)
}

// queueUp puts an open request that is in no batch where it waits.
func (b *book) queueUp(r *deprovision.Request, now time.Time) {
	if at := due(*r); at.After(now) {
		b.later.add(at, r.Key)
		return
	}
	b.enqueue(r, due(*r), now)
}

// enqueue lets a request wait for a batch since the given time. One that was in a batch before goes into the next.
func (b *book) enqueue(r *deprovision.Request, since, now time.Time) {
	closeBy := since.Add(b.rules.BatchMaxAge)
	if r.Rounds > 0 {
		closeBy = now
	}
	b.waiting[r.Retain].add(r.Key, candidate(*r), closeBy)
}

func candidate(r deprovision.Request) string {
	if r.Email != "" {
		return roster.FoldEmail(r.Email)
	}
	return "id " + r.PsUserID
}

// withdraw takes in a cancel. One whose request is unknown waits for it; one whose row was submitted comes too late.
func (b *book) withdraw(c deprovision.Cancel, over bool, now time.Time) {
	if c.State != deprovision.CancelWaiting {
		return
	}
	r := b.open[c.Target]
	switch {
	case over || b.ended[c.Target]:
		b.endCancel(c, deprovision.CancelLate, now)
	case r == nil:
		if older, waits := b.cancels[c.Target]; waits && older.Key != c.Key {
			b.endCancel(older, deprovision.CancelExpired, now) // the newer one waits in its place
		}
		b.cancels[c.Target] = c
		b.cancelEnds.add(c.AcceptedAt.Add(b.rules.MaxEventAge), c.Target)
	case r.BatchID != "" && !unsent(b.batches[r.BatchID].State):
		b.endCancel(c, deprovision.CancelLate, now)
	default:
		b.endCancel(c, deprovision.CancelApplied, now)
		b.end(r, judgement{outcome: deprovision.OutcomeCancelled, person: r.Person}, now)
	}
}

func (b *book) endCancel(c deprovision.Cancel, state string, now time.Time) {
	if b.cancels[c.Target].Key == c.Key { // another may wait for the same request
		delete(b.cancels, c.Target)
	}
	c.State, c.At = state, now
	b.out.saves = append(b.out.saves, save{deprovision.CancelSubject(c.Connection, c.Key), c})
}

// end settles a request, and takes it out of its batch. A row that loses its last request before it is sent must not
// be sent: the batch is dissolved.
func (b *book) end(r *deprovision.Request, j judgement, now time.Time) {
	if j.person != "" {
		r.Person = j.person
	}
	if j.evidence.ReadAt != nil {
		r.Evidence = j.evidence
	}
	*r = settled(*r, j.outcome, j.reason, now)
	b.saveRequest(r)
	delete(b.open, r.Key)
	b.ended[r.Key] = true
	b.waiting[r.Retain].drop(r.Key)
	batch := b.batches[r.BatchID]
	if batch == nil {
		return
	}
	b.leave(r)
	if unsent(batch.State) && len(b.members[batch.ID][r.Person]) == 0 {
		b.dissolve(batch, "a request was withdrawn", now)
	}
}

// leave takes a request out of its row. The last one unlocks the person for other batches.
func (b *book) leave(r *deprovision.Request) {
	rows := b.members[r.BatchID]
	rows[r.Person] = slices.DeleteFunc(rows[r.Person], func(m *deprovision.Request) bool { return m.Key == r.Key })
	if len(rows[r.Person]) == 0 {
		delete(rows, r.Person)
		b.unlock(r.Person)
	}
}

func (b *book) unlock(person string) {
	delete(b.locks, person)
	for _, key := range b.parked[person] {
		if r := b.open[key]; r != nil && r.BatchID == "" {
			b.waiting[r.Retain].add(key, candidate(*r), time.Time{})
		}
	}
	delete(b.parked, person)
}

// release puts a request that was in a batch back, to be sealed anew.
func (b *book) release(r *deprovision.Request, note string, now time.Time) {
	b.leave(r)
	r.BatchID = ""
	r.Rounds++
	*r = moved(*r, deprovision.Accepted, note, now)
	b.saveRequest(r)
	// The same request going round and round means that the plan's data flickers: slower each time.
	if r.Rounds > 2 {
		b.later.add(now.Add(b.rules.backoff(r.Rounds, 0)), r.Key)
		return
	}
	b.enqueue(r, now, now)
}

func (b *book) saveRequest(r *deprovision.Request) {
	b.out.saves = append(b.out.saves, save{deprovision.RequestSubject(r.Connection, r.Key), *r})
}

// move brings a request to the state of its batch, and says so, unless it is there already.
func (b *book) move(r *deprovision.Request, state, note string, now time.Time) {
	if r.State == state {
		return
	}
	*r = moved(*r, state, note, now)
	b.saveRequest(r)
}

// expire gives up cancels whose request never came, and approvals that do not hold any more.
func (b *book) expire(now time.Time) {
	for _, target := range b.cancelEnds.pop(now) {
		if c, waits := b.cancels[target]; waits && !c.AcceptedAt.Add(b.rules.MaxEventAge).After(now) {
			b.endCancel(c, deprovision.CancelExpired, now)
		}
	}
	b.wakeAt(b.cancelEnds.next())
	for _, id := range slices.Sorted(maps.Keys(b.batches)) {
		b.reconsider(b.batches[id], now)
	}
}

// resolve takes in whom the requests of the next batch mean, and seals it.
func (b *book) resolve(in resolved, now time.Time) {
	if in.trouble.reason != "" {
		b.lookupFailed(in, now)
		return
	}
	b.lookupFailures, b.lookupFailing, b.lookupDue = 0, time.Time{}, time.Time{}
	people, users := map[string][]*deprovision.Request{}, map[string]judgement{}
	for _, picked := range in.requests {
		r := b.open[picked.Key]
		if r == nil || r.BatchID != "" {
			continue // cancelled while we looked
		}
		j := in.people.judge(*r, b.rules)
		switch holder := b.batches[b.locks[j.person]]; {
		case j.outcome != "":
			b.end(r, j, now)
		case holder == nil:
			people[j.person] = append(people[j.person], r)
			users[j.person] = j
		case holder.Retain == r.Retain:
			b.join(r, holder, j, now)
		default:
			b.parked[j.person] = append(b.parked[j.person], r.Key)
		}
	}
	b.sealRows(b.rowsOf(people, users, in.people, now), people, in.retain, now)
}

// lookupFailed puts the requests back. When nothing could be looked up for verifyWithin, they fail: a sender that
// hears nothing for a day and more is worse off than one that hears of the failure.
func (b *book) lookupFailed(in resolved, now time.Time) {
	b.lookupFailures++
	if b.lookupFailing.IsZero() {
		b.lookupFailing = now
	}
	b.lookupDue = now.Add(b.rules.backoff(b.lookupFailures, in.trouble.after))
	spent := now.Sub(b.lookupFailing) >= b.rules.VerifyWithin
	for _, picked := range in.requests {
		r := b.open[picked.Key]
		switch {
		case r == nil || r.BatchID != "":
		case spent:
			b.end(r, judgement{outcome: deprovision.OutcomeFailed, reason: in.trouble.reason}, now)
		default:
			b.waiting[r.Retain].add(r.Key, candidate(*r), b.lookupDue)
		}
	}
}

// rowsOf makes a row of each person, and refuses those whose values would not survive the vendor's parser.
func (b *book) rowsOf(members map[string][]*deprovision.Request, found map[string]judgement, p *people, now time.Time) (rows []deprovision.Row) {
	for _, person := range slices.Sorted(maps.Keys(members)) {
		row, reason := p.row(found[person].user)
		if reason == "" {
			if _, err := csvOf([]deprovision.Row{row}); err != nil {
				reason = deprovision.ReasonInvalid
			}
		}
		if reason != "" {
			b.endAll(members[person], judgement{outcome: deprovision.OutcomeRejected, reason: reason, person: person, evidence: found[person].evidence}, now)
			continue
		}
		row.Evidence = found[person].evidence
		row.FirstName = firstNonEmpty(row.FirstName, members[person], func(r *deprovision.Request) string { return r.FirstName })
		row.LastName = firstNonEmpty(row.LastName, members[person], func(r *deprovision.Request) string { return r.LastName })
		for _, r := range members[person] {
			row.Requests = append(row.Requests, r.Key)
		}
		slices.Sort(row.Requests)
		rows = append(rows, row)
	}
	return rows
}

func firstNonEmpty(own string, requests []*deprovision.Request, of func(*deprovision.Request) string) string {
	for _, r := range requests {
		if own == "" {
			own = of(r)
		}
	}
	return own
}

func (b *book) endAll(requests []*deprovision.Request, j judgement, now time.Time) {
	for _, r := range slices.Clone(requests) {
		b.end(r, j, now)
	}
}

// sealRows seals what can be in one file. Rows that are fine alone but not together, which is one identifier or
// address for two people, are refused as ambiguous: picking one of them would be a guess.
func (b *book) sealRows(rows []deprovision.Row, members map[string][]*deprovision.Request, retain bool, now time.Time) {
	clashing := clashes(rows)
	kept := make([]deprovision.Row, 0, len(rows))
	for _, row := range rows {
		if clashing[row.PsUserID] {
			b.endAll(members[row.PsUserID], judgement{outcome: deprovision.OutcomeRejected,
				reason: deprovision.ReasonAmbiguousUser, person: row.PsUserID, evidence: row.Evidence}, now)
			continue
		}
		kept = append(kept, row)
	}
	if len(kept) == 0 {
		return
	}
	batch, err := seal(kept, b.open, retain, b.rules, now)
	if err != nil { // every row passed alone and no two clash, so this is a bug; refusing is the safe end of it
		for _, row := range kept {
			b.endAll(members[row.PsUserID], judgement{outcome: deprovision.OutcomeRejected, reason: deprovision.ReasonInvalid, person: row.PsUserID}, now)
		}
		return
	}
	batch = toState(batch, deprovision.BatchSealed, "", now)
	b.batches[batch.ID], b.members[batch.ID] = &batch, map[string][]*deprovision.Request{}
	for _, row := range kept {
		for _, r := range members[row.PsUserID] {
			b.enter(r, &batch, row.PsUserID, now)
		}
	}
	b.saveBatch(&batch)
}

// clashes returns the people who share an identifier or an address with somebody else in the same file, in the sense of
// our comparison or of the file's.
func clashes(rows []deprovision.Row) map[string]bool {
	first, clashing := map[string]string{}, map[string]bool{}
	for _, row := range rows {
		for _, value := range []string{
			"id " + pluralsight.Fold(row.ID), "e-mail " + roster.FoldEmail(row.Email), "folded " + pluralsight.Fold(row.Email),
		} {
			if other, taken := first[value]; taken {
				clashing[row.PsUserID], clashing[other] = true, true
			}
			first[value] = row.PsUserID
		}
	}
	return clashing
}

// enter puts a request into a row.
func (b *book) enter(r *deprovision.Request, batch *deprovision.Batch, person string, now time.Time) {
	r.BatchID, r.Person = batch.ID, person
	b.locks[person] = batch.ID
	b.members[batch.ID][person] = append(b.members[batch.ID][person], r)
	b.waiting[r.Retain].drop(r.Key)
	b.move(r, deprovision.Batched, "", now)
}

// join lets a request share the row that its person has already: the file stays as it is, and the outcome is shared.
func (b *book) join(r *deprovision.Request, batch *deprovision.Batch, j judgement, now time.Time) {
	b.enter(r, batch, j.person, now)
	b.move(r, requestState(batch.State), "joined", now)
}

// evidenceAbsent is the evidence that a person is not among the plan's users at all.
func evidenceAbsent(readAt time.Time) events.Evidence {
	off := false
	return events.Evidence{IsOnAccount: &off, ReadAt: &readAt}
}
