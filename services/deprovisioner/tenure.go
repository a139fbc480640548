package deprovisioner

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/failpoint"
)

const (
	// noteEvery is how often at most a lane writes down how far it told.
	noteEvery = 2 * time.Second
	// drainTimeout is how long a stop waits for a call to Pluralsight, so that its answer is not lost; a call that
	// takes longer is found as unknown by the next holder.
	drainTimeout = 12 * time.Second
)

// keeper keeps what a tenure decides; fencedStore is one.
type keeper interface {
	// commit makes documents durable, in their order, and returns where each one is.
	commit(ctx context.Context, saves []save) (map[string]uint64, error)
	// last reads a subject's newest document into out, from a replica that has everything up to a place, and returns
	// its sequence; 0 when there is none.
	last(ctx context.Context, subject string, out any, upTo place) (uint64, error)
}

// place is where a document is in the ledger.
type place struct {
	subject  string
	sequence uint64
}

// tenure is one replica's time with a lane. Its memory is thrown away with it.
type tenure struct {
	*lane
	// fence is the sequence of the lane's document that names us: everything before it is to be loaded.
	fence uint64
	// newest is the last document that we know of. A replica that has it lacks nothing that we rest on.
	newest place
	store  keeper
	book   *book
	teller teller
	told   told
	noted  told
	// unheard are our own writes that the feed has not brought back, oldest first.
	unheard []unheard
	// noteDue is when the next note may be written.
	noteDue time.Time
	// positions are where the open documents are in the ledger; all of them once it is loaded.
	positions map[string]uint64
	// results brings the one call's answer; it holds one, so that a call outlasts its tenure without a leak.
	results chan input
}

// unheard is one of our writes: where its last document is, and the last event that was told before it.
type unheard struct{ written, before uint64 }

func newTenure(l *lane, fence uint64) *tenure {
	return &tenure{
		lane: l, fence: fence, newest: place{laneSubject(l.rules.connection), fence},
		book: newBook(l.rules), positions: map[string]uint64{}, results: make(chan input, 1),
		store:  fencedStore{js: l.js, connection: l.rules.connection, fence: fence},
		teller: teller{stream: outcomeStream{l.js}, connection: l.rules.connection},
	}
}

// work loads the ledger and then turns what happens into effects.
func (t *tenure) work(ctx context.Context) error {
	calls, stopCalls := context.WithCancel(context.WithoutCancel(ctx))
	defer stopCalls()
	if err := t.recall(ctx); err != nil {
		return err
	}
	feed, err := t.openFeed(ctx)
	if err != nil {
		return err
	}
	defer feed.stop()
	next, err := t.load(ctx, feed)
	if err != nil {
		return err
	}
	for {
		if err := t.execute(ctx, calls, next); err != nil {
			return err
		}
		if err := t.noteIfDue(ctx); err != nil {
			return err
		}
		inputs, err := t.wait(ctx, feed, next.wake)
		if err != nil {
			return t.drain(ctx, err)
		}
		if next, err = t.take(ctx, inputs); err != nil {
			return err
		}
	}
}

// recall reads how far earlier holders told.
func (t *tenure) recall(ctx context.Context) error {
	if _, err := t.store.last(ctx, toldSubject(t.rules.connection), &t.told, t.newest); err != nil {
		return err
	}
	return t.teller.recall(ctx, t.told.Outcome)
}

// load reads everything from the floor to our own mark, which is beyond what earlier holders could write.
func (t *tenure) load(ctx context.Context, feed *feed) (effects, error) {
	var c contents
	var untold []*nats.Msg
	end, err := t.mark(ctx)
	if err != nil {
		return effects{}, err
	}
	if _, err := t.store.last(ctx, spentSubject(t.rules.connection), &c.spent, t.newest); err != nil {
		return effects{}, err
	}
	for {
		d, err := feed.next(ctx)
		if err != nil {
			return effects{}, err
		}
		if d.sequence >= end {
			break
		}
		switch doc := d.document.(type) {
		case deprovision.Request:
			if d.sequence > t.told.Ledger {
				untold = append(untold, requestEvents(doc)...)
			}
			doc.Told = len(doc.History)
			if t.position(d.subject, d.sequence, doc.Open()); doc.Open() {
				c.requests = append(c.requests, doc)
			}
		case deprovision.Batch:
			if t.position(d.subject, d.sequence, doc.State.Open()); doc.State.Open() {
				c.batches = append(c.batches, doc)
			}
		case deprovision.Cancel:
			if d.sequence > t.told.Ledger {
				untold = append(untold, cancelEvent(doc)...)
			}
			t.position(d.subject, d.sequence, doc.State == deprovision.CancelWaiting)
			over, err := t.over(ctx, doc)
			if err != nil {
				return effects{}, err
			}
			c.cancels = append(c.cancels, withdrawn{doc, over})
		case deprovision.Decision:
			c.decisions = append(c.decisions, doc)
		}
	}
	if err := t.teller.tell(ctx, untold); err != nil {
		return effects{}, err
	}
	t.teller.known = nil
	t.told.Ledger = max(t.told.Ledger, end)
	t.log.Info("lane taken", "connection", t.rules.connection, "requests", len(c.requests), "batches", len(c.batches))
	return t.book.load(c, t.vendor.now()), nil
}

// over reports whether a waiting cancel's request has settled. Requests that are open are the book's to know.
func (t *tenure) over(ctx context.Context, c deprovision.Cancel) (bool, error) {
	if c.State != deprovision.CancelWaiting || t.book.open[c.Target] != nil {
		return false, nil
	}
	var r deprovision.Request
	at, err := t.store.last(ctx, deprovision.RequestSubject(t.rules.connection, c.Target), &r, t.newest)
	return at > 0 && !r.Open(), err
}

func (t *tenure) know(p place) {
	if p.sequence > t.newest.sequence {
		t.newest = p
	}
}

func (t *tenure) position(subject string, sequence uint64, open bool) {
	if open {
		t.positions[subject] = sequence
	} else {
		delete(t.positions, subject)
	}
}

// wait returns what happens next; nothing when it is time for a tick.
func (t *tenure) wait(ctx context.Context, feed *feed, wake time.Time) ([]any, error) {
	timeout := noteEvery
	if !wake.IsZero() {
		timeout = min(timeout, max(0, time.Until(wake)))
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var first any
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case in := <-t.results:
		return []any{in}, nil
	case first = <-feed.documents:
	case <-timer.C:
		return nil, nil
	}
	happened := []any{first}
	for len(happened) < feedSize {
		select {
		case d := <-feed.documents:
			happened = append(happened, d)
		default:
			return happened, nil
		}
	}
	return happened, nil
}

// take turns what happened into inputs, tells what the intake made durable, and steps.
func (t *tenure) take(ctx context.Context, happened []any) (effects, error) {
	var inputs []input
	var untold []*nats.Msg
	for _, h := range happened {
		switch h := h.(type) {
		case input:
			inputs = append(inputs, h)
		case error:
			return effects{}, h
		case document:
			in, events, err := t.takeDocument(ctx, h)
			if err != nil {
				return effects{}, err
			}
			if in != nil {
				inputs = append(inputs, in)
			}
			untold = append(untold, events...)
		}
	}
	if err := t.teller.tell(ctx, untold); err != nil {
		return effects{}, err
	}
	for _, h := range happened {
		if d, ok := h.(document); ok {
			t.told.Ledger = max(t.told.Ledger, d.sequence)
		}
	}
	return t.book.step(t.vendor.now(), inputs...), nil
}

// takeDocument turns one document of the ledger that we did not write into an input, and what to tell of it.
func (t *tenure) takeDocument(ctx context.Context, d document) (input, []*nats.Msg, error) {
	t.know(place{d.subject, d.sequence})
	if d.fence == t.fence {
		return nil, nil, nil // our own echo
	}
	switch doc := d.document.(type) {
	case deprovision.Request:
		untold := requestEvents(doc)
		doc.Told = len(doc.History)
		if t.position(d.subject, d.sequence, doc.Open()); !doc.Open() {
			t.metrics.settled.WithLabelValues(doc.Connection, doc.Outcome, doc.OutcomeReason).Inc()
		}
		return arrived{doc}, untold, nil
	case deprovision.Cancel:
		over, err := t.over(ctx, doc)
		t.position(d.subject, d.sequence, true)
		return withdrawn{doc, over}, nil, err
	case deprovision.Decision:
		return decided{doc}, nil, nil
	case mark:
		return nil, nil, errLaneLost
	}
	return nil, nil, nil
}

// execute makes durable, then tells, then calls. Nothing is told and no byte leaves before what it rests on is saved.
func (t *tenure) execute(ctx, calls context.Context, e effects) error {
	begun := time.Now()
	if err := t.keep(ctx, e.saves); err != nil {
		return err
	}
	if e.call != nil {
		go func() { t.results <- t.vendor.do(withSavedAt(calls, begun), e.call) }()
	}
	t.metrics.observe(t.rules.connection, t.book)
	return nil
}

// keep makes durable, then tells.
func (t *tenure) keep(ctx context.Context, saves []save) error {
	if len(saves) == 0 {
		return nil
	}
	written, err := t.store.commit(ctx, saves)
	if err != nil {
		return err
	}
	return t.saved(ctx, saves, written)
}

// saved tells what was just made durable, and notes it in memory.
func (t *tenure) saved(ctx context.Context, saves []save, written map[string]uint64) error {
	var untold []*nats.Msg
	mine := unheard{before: t.teller.last}
	for _, s := range saves {
		t.know(place{s.subject, written[s.subject]})
		switch doc := s.document.(type) {
		case deprovision.Request:
			untold = append(untold, requestEvents(doc)...)
			t.position(s.subject, written[s.subject], doc.Open())
			if r := t.book.open[doc.Key]; r != nil {
				r.Told = len(r.History)
			}
			if !doc.Open() {
				failpoint.Hit(failpoint.D14)
				t.metrics.settled.WithLabelValues(doc.Connection, doc.Outcome, doc.OutcomeReason).Inc()
			}
		case deprovision.Cancel:
			untold = append(untold, cancelEvent(doc)...)
			t.position(s.subject, written[s.subject], doc.State == deprovision.CancelWaiting)
		case deprovision.Batch:
			t.position(s.subject, written[s.subject], doc.State.Open())
		default:
			continue // not in the feed
		}
		mine.written = max(mine.written, written[s.subject])
	}
	t.unheard = append(t.unheard, mine)
	return t.teller.tell(ctx, untold)
}

// drain waits for a call that is out, so that its answer is written down before somebody else takes over. A look that
// would lead to sending is thrown away: the next holder looks again.
func (t *tenure) drain(ctx context.Context, cause error) error {
	if !errors.Is(cause, context.Canceled) {
		return cause
	}
	if !t.book.calling {
		return nil
	}
	select {
	case in := <-t.results:
		if _, sends := in.(rechecked); sends {
			return nil
		}
		e := t.book.step(t.vendor.now(), in)
		e.call = nil
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
		defer cancel()
		return t.execute(late, late, e)
	case <-time.After(drainTimeout):
		return nil
	}
}

// noteIfDue writes down how far the lane told, when that moved on and the last note is old enough.
func (t *tenure) noteIfDue(ctx context.Context) error {
	if time.Now().Before(t.noteDue) {
		return nil
	}
	t.noteDue = time.Now().Add(noteEvery)
	return t.note(ctx)
}

// note writes down how far the lane told. Of what it told about its own writes it only counts what the feed has brought
// back: the next holder tells again whatever lies beyond Ledger, and has to recall all of that, beyond Outcome. Who has
// not loaded the ledger, up to its fence, does not know what is open: a floor of its would leave requests behind for ever.
func (t *tenure) note(ctx context.Context) error {
	if t.told.Ledger < t.fence {
		return nil
	}
	outcome := t.teller.last
	t.unheard = slices.DeleteFunc(t.unheard, func(u unheard) bool { return u.written <= t.told.Ledger })
	if len(t.unheard) > 0 {
		outcome = t.unheard[0].before
	}
	t.told.Outcome = max(t.told.Outcome, outcome)
	t.told.Floor = t.told.Ledger + 1
	for _, at := range t.positions {
		t.told.Floor = min(t.told.Floor, at)
	}
	if t.told == t.noted {
		return nil
	}
	if _, err := t.store.commit(ctx, []save{{toldSubject(t.rules.connection), t.told}}); err != nil {
		return err
	}
	t.noted = t.told
	return nil
}
