package deprovisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/natstest/simulation"
)

var (
	// errCrash is the end of a process between two effects.
	errCrash = errors.New("the process died")
	// errCut is the end of a feed: the broker is gone for a moment, or somebody stops the process.
	errCut = errors.New("the feed ended")
)

// crash drops all memory. A file that was being sent may have left.
func (w *world) crash(why string) {
	w.note(why)
	if _, sending := w.call.(callApply); sending && w.chance("left", 2) {
		w.ask(w.tenure, w.call, false)
	}
	w.call, w.hands = nil, nil
	w.takeOver()
}

// takeOver is what lane.try and tenure.work do until the ledger is loaded, again and again until it succeeds.
func (w *world) takeOver() {
	ctx := context.Background()
	for {
		fence := w.ledger.put(w, laneSubject("acme"), holder{Replica: "r" + strconv.FormatUint(w.ledger.last, 10)}, 0)
		l := &lane{rules: w.rules, log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil), vendor: vendor{
			plan: w.plan, rules: w.rules, ids: &identifiers{}, now: func() time.Time { return w.now },
			paused: func(context.Context) (bool, error) { return w.paused, nil },
		}}
		t := newTenure(l, fence)
		t.store, t.teller.stream = simKeeper{w, t}, simOutcomes{w}
		w.tenure, w.feed, w.call, w.wake = t, nil, nil, time.Time{}
		err := t.recall(ctx)
		if err != nil {
			simulation.Violated("I-16", "recall: %v", err)
		}
		next, err := t.load(ctx, w.cut(w.ledgerFrom(t.told.Floor, fence)))
		if errors.Is(err, errCut) {
			err = t.note(ctx) // what lane.hold does, whose process is alive
			w.note("the load was cut")
			if err == nil {
				continue
			}
		}
		if err == nil {
			err = w.execute(t, next)
		}
		if err == nil {
			return
		}
		w.check(err)
	}
}

// cut ends a feed early now and then.
func (w *world) cut(f *feed) *feed {
	if w.calm || !w.chance("the feed is cut", 10) {
		return f
	}
	short := &feed{documents: make(chan any, len(f.documents))}
	for range w.Intn("documents before the cut", len(f.documents)) {
		short.documents <- <-f.documents
	}
	short.documents <- errCut
	return short
}

// execute is tenure.execute, but for the goroutine of the call.
func (w *world) execute(t *tenure, e effects) error {
	if err := t.keep(context.Background(), e.saves); err != nil {
		return err
	}
	if t != w.tenure { // overtaken: what it would ask for is asked by nobody we look at, unless it is dangerous
		w.oldCall = e.call
		return nil
	}
	if w.wake = e.wake; e.call == nil {
		return nil
	}
	if w.call != nil {
		simulation.Violated("I-07", "two calls at once: %T and %T", w.call, e.call)
	}
	w.call = e.call
	if _, sends := e.call.(callApply); sends && !w.calm && w.chance("dies while sending", 5) || w.dies("between save and call") {
		return errCrash
	}
	return nil
}

// take lets the lane take in what happened.
func (w *world) take(happened ...any) {
	next, err := w.tenure.take(context.Background(), happened)
	if err == nil {
		err = w.execute(w.tenure, next)
	}
	if err == nil && w.chance("note", 3) {
		err = w.tenure.note(context.Background())
	}
	if err != nil {
		w.check(err)
		w.crash("crash")
	}
}

func (w *world) check(err error) {
	if !errors.Is(err, errCrash) {
		simulation.Violated("I-16", "the lane ended: %v", err)
	}
}

func (w *world) tick() { w.take() }

func (w *world) dies(where string) bool {
	if w.calm || !w.chance(where, 40) {
		return false
	}
	w.note("dies", where)
	return true
}

// hear lets the lane hear of some documents.
func (w *world) hear() {
	n := min(len(w.feed), 1+w.Intn("documents", 12))
	if n == 0 {
		return
	}
	var happened []any
	for _, d := range w.feed[:n] {
		happened = append(happened, d.read(w))
	}
	w.feed = w.feed[n:]
	w.take(happened...)
}

// answer lets Pluralsight answer the call that is out.
func (w *world) answer() {
	if c := w.call; c != nil {
		w.call = nil
		w.take(w.ask(w.tenure, c, false))
	}
}

// ask is one call to Pluralsight and what the vendor's code makes of the answer.
func (w *world) ask(t *tenure, c call, old bool) input {
	w.note(fmt.Sprintf("%T", c))
	w.answering, w.asking, w.answeringOld = c, t.rules, old
	_, w.reading = c.(callRead)
	defer func() { w.answering, w.answeringOld, w.reading = nil, false, false }()
	ctx := context.Background()
	if apply, sends := c.(callApply); sends { // whose age the machine's own clock tells
		ctx = withSavedAt(ctx, time.Now().Add(apply.batch.SubmittedAt.Sub(w.now)))
	}
	in := t.vendor.do(ctx, c)
	switch in := in.(type) {
	case rechecked:
		if in.people != nil && !old {
			w.books.looked[in.batchID] = in.people
			for id := range in.people.byID {
				w.books.read[id] = w.now.Add(1)
			}
		}
	case readBack:
		if in.trouble.reason == "" {
			for _, row := range c.(callRead).rows {
				w.books.read[row.PsUserID] = w.now.Add(1)
				if u := w.plan.users[row.PsUserID]; u.deleted || offAccount(w.plan.shown(u)) {
					w.books.shownOff[row.PsUserID] = w.now
				}
			}
		}
	}
	return in
}

// untaken says that Pluralsight surely did not take the file that is being sent.
func (w *world) untaken(err error) error {
	b := w.answering.(callApply).batch
	delete(w.books.sent, b.ID)
	for _, row := range b.Rows {
		delete(w.books.submitted, row.PsUserID)
	}
	return err
}

// oldGoesOn lets a replica that lost the lane without noticing end its call and act upon it.
func (w *world) oldGoesOn() {
	t, c := w.old, w.oldCall
	w.old, w.oldCall = nil, nil
	if t == nil || c == nil {
		return
	}
	before := w.ledger.last
	next, err := t.take(context.Background(), []any{w.ask(t, c, true)})
	if err == nil {
		err = w.execute(t, next)
	}
	if _, sends := w.oldCall.(callApply); sends || w.ledger.last != before {
		simulation.Violated("I-07", "a replica without the lane went on")
	}
	if err != nil && !errors.Is(err, errLaneLost) {
		w.check(err)
	}
}
