package deprovisioner

import (
	"slices"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
)

// book is one connection's open requests and batches: everything that a decision needs, and nothing that is over.
// A request takes about a kilobyte here, so 100,000 open ones fit into what a small container has.
//
// step is deterministic: the same book, input and time give the same effects. It keeps these rules:
//
//   - a person is in at most one open batch (locks), and has at most one row there;
//   - a request in a batch is in members under its person; a row whose members are gone is over;
//   - at most one call to Pluralsight is outstanding (calling), so a connection never races itself;
//   - saves are ordered so that a crash between two of them leaves nothing half done that load cannot complete.
type book struct {
	rules   rules
	open    map[string]*deprovision.Request
	batches map[string]*deprovision.Batch
	// members are the open requests of a batch by psUserId, those that joined after the sealing included.
	members map[string]map[string][]*deprovision.Request
	// locks say which open batch a person is in.
	locks map[string]string
	// parked are requests that wait for another batch to be done with their person: their options differ.
	parked map[string][]string
	// cancels wait for their request, by its key, until cancelEnds.
	cancels    map[string]deprovision.Cancel
	cancelEnds *agenda
	// ended are the requests that ended in this step: a cancel that comes with it was looked up before.
	ended map[string]bool
	// waiting are requests ready for a batch, by retainPrivileges; later holds those whose time has not come.
	waiting map[bool]*queue
	later   *agenda
	spent   deprovision.Spent

	calling bool
	// lookups that failed in a row, since when, and when the next may start.
	lookupFailures int
	lookupFailing  time.Time
	lookupDue      time.Time

	out effects
}

// effects are what a step asks for, to be done in this order: save, then tell what was saved, then call.
type effects struct {
	saves []save
	// call is the one call to Pluralsight to start now; nil when there is none, or one is outstanding.
	call call
	// wake is when step wants a tick even if nothing happens; zero when it does not.
	wake time.Time
}

// save is one document to make durable.
type save struct {
	subject  string
	document any
}

func newBook(r rules) *book {
	return &book{
		rules: r, open: map[string]*deprovision.Request{}, batches: map[string]*deprovision.Batch{},
		members: map[string]map[string][]*deprovision.Request{}, locks: map[string]string{}, parked: map[string][]string{},
		cancels: map[string]deprovision.Cancel{}, ended: map[string]bool{}, later: &agenda{}, cancelEnds: &agenda{},
		waiting: map[bool]*queue{false: newQueue(), true: newQueue()},
	}
}

// input is something that happened. The types are below and in calls.go.
type input interface{ apply(b *book, now time.Time) }

type (
	// arrived: the intake wrote a request.
	arrived struct{ request deprovision.Request }
	// withdrawn: the intake wrote a cancel. over says that its request has settled already.
	withdrawn struct {
		cancel deprovision.Cancel
		over   bool
	}
	// decided: a person wrote a decision.
	decided struct{ decision deprovision.Decision }
	// ticked: time passed.
	ticked struct{}
)

func (in arrived) apply(b *book, now time.Time)   { b.arrive(in.request, now) }
func (in withdrawn) apply(b *book, now time.Time) { b.withdraw(in.cancel, in.over, now) }
func (in decided) apply(b *book, now time.Time)   { b.decideHold(in.decision, now) }
func (ticked) apply(*book, time.Time)             {}

// step takes in what happened and returns what to do. The saves of one step are one unit: see ordered.
func (b *book) step(now time.Time, inputs ...input) effects {
	b.out = effects{}
	for _, in := range inputs {
		in.apply(b, now)
	}
	return b.finish(now)
}

// finish adds what follows from time alone, and hands the effects over.
func (b *book) finish(now time.Time) effects {
	b.expire(now)
	b.plan(now)
	out := b.out
	out.saves = ordered(out.saves)
	b.out = effects{}
	clear(b.ended)
	return out
}

// plan starts the next call, the most urgent first: proof, then sending what is approved, then dry runs, then new batches.
func (b *book) plan(now time.Time) {
	for _, key := range b.later.pop(now) {
		if r := b.open[key]; r != nil && r.BatchID == "" {
			b.enqueue(r, now, now)
		}
	}
	b.wakeAt(b.later.next())
	if b.calling {
		return
	}
	busy := b.jobEnds(now)
	for _, id := range b.order() {
		if b.planBatch(b.batches[id], busy, now) {
			return
		}
	}
	b.planSealing(now)
}

// order lists the open batches by urgency, then age.
func (b *book) order() []string {
	ids := make([]string, 0, len(b.batches))
	for id := range b.batches {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y string) int {
		p, q := b.batches[x], b.batches[y]
		if u := urgency(p.State) - urgency(q.State); u != 0 {
			return u
		}
		if c := p.Due.Compare(q.Due); c != 0 {
			return c
		}
		if x < y {
			return -1
		}
		return 1
	})
	return ids
}

func urgency(s deprovision.BatchState) int {
	switch s {
	case deprovision.BatchVerifying:
		return 0
	case deprovision.BatchApproved:
		return 1
	case deprovision.BatchSealed:
		return 2
	default:
		return 3
	}
}

// jobEnds is when the plan is free for another file; zero when it is free now.
func (b *book) jobEnds(now time.Time) (end time.Time) {
	for _, batch := range b.batches {
		if jobInFlight(*batch, b.rules, now) {
			if e := batch.SubmittedAt.Add(jobPatience * b.rules.VerifyEvery); e.After(end) {
				end = e
			}
		}
	}
	return end
}

// planBatch starts the batch's next call when it is due, and reports whether it did.
func (b *book) planBatch(batch *deprovision.Batch, busy, now time.Time) bool {
	at := batch.Due
	if batch.State == deprovision.BatchApproved && busy.After(at) {
		at = busy
	}
	if urgency(batch.State) > 2 {
		return false
	}
	if at.After(now) {
		b.wakeAt(at)
		return false
	}
	switch batch.State {
	case deprovision.BatchVerifying:
		b.start(callRead{batch: *batch, rows: b.liveRows(batch)})
	case deprovision.BatchApproved:
		b.start(callRecheck{batch: *batch, requests: b.requestsOf(batch)})
	default:
		b.start(callDryRun{batch: *batch})
	}
	return true
}

// planSealing starts looking up the people of the next batch, when one is full or old enough.
func (b *book) planSealing(now time.Time) {
	for _, retain := range []bool{false, true} {
		q := b.waiting[retain]
		at, any := q.ready(b.rules.BatchMaxUsers, now)
		if !any {
			continue
		}
		if b.lookupDue.After(at) {
			at = b.lookupDue
		}
		if at.After(now) {
			b.wakeAt(at)
			continue
		}
		picked := b.pick(q)
		if len(picked) > 0 {
			b.start(callResolve{requests: picked, retain: retain})
			return
		}
	}
}

// pick takes the requests of one batch out of the queue.
func (b *book) pick(q *queue) (picked []deprovision.Request) {
	for _, key := range q.take(b.rules.BatchMaxUsers, requestsPerRow*b.rules.BatchMaxUsers) {
		if r := b.open[key]; r != nil && r.BatchID == "" {
			picked = append(picked, *r)
		}
	}
	return picked
}

func (b *book) start(c call) {
	b.calling, b.out.call = true, c
}

func (b *book) wakeAt(at time.Time) {
	if !at.IsZero() && (b.out.wake.IsZero() || at.Before(b.out.wake)) {
		b.out.wake = at
	}
}

// liveRows are the rows that are not over.
func (b *book) liveRows(batch *deprovision.Batch) (rows []deprovision.Row) {
	for _, row := range batch.Rows {
		if len(b.members[batch.ID][row.PsUserID]) > 0 {
			rows = append(rows, row)
		}
	}
	return rows
}

// requestsOf are the open requests of a batch.
func (b *book) requestsOf(batch *deprovision.Batch) (requests []deprovision.Request) {
	for _, row := range batch.Rows {
		for _, r := range b.members[batch.ID][row.PsUserID] {
			requests = append(requests, *r)
		}
	}
	return requests
}

// ordered keeps the last document for each subject, and puts them so that a crash in the middle of writing them is
// harmless: new and changed batches first, then requests, and batches that are over last.
func ordered(saves []save) []save {
	last, order := map[string]save{}, []string{}
	for _, s := range saves {
		if _, seen := last[s.subject]; !seen {
			order = append(order, s.subject)
		}
		last[s.subject] = s
	}
	out := make([]save, 0, len(order))
	for _, subject := range order {
		out = append(out, last[subject])
	}
	slices.SortStableFunc(out, func(x, y save) int { return saveRank(x) - saveRank(y) })
	return out
}

func saveRank(s save) int {
	batch, isBatch := s.document.(deprovision.Batch)
	switch {
	case isBatch && batch.State.Open():
		return 0
	case isBatch:
		return 2
	default:
		return 1
	}
}
