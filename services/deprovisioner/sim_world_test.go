package deprovisioner

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/streams"
)

// world is everything around one connection, on one clock.
type world struct {
	simulation.Dice
	trace *simulation.Trace
	now   time.Time
	rules rules
	plan  *simPlan
	// stream is what other systems sent, and consumer the durable of the intake.
	stream   *brokermodel.Stream
	consumer *brokermodel.Consumer
	// hands are events that were delivered to us and not acknowledged.
	hands []brokermodel.Delivery
	// ledger is the newest document of each subject; outcomes is what the world was told.
	ledger   simLedger
	outcomes *brokermodel.Stream
	serial   int

	tenure *tenure
	// feed are documents that others wrote, on their way to the lane.
	feed []simDocument
	call call
	wake time.Time
	// old is a tenure that was overtaken and does not know, with its call.
	old     *tenure
	oldCall call
	// answering is the call that Pluralsight is at, asking the rules of who asks; answeringOld says that it is the old tenure.
	answering             call
	asking                rules
	answeringOld, reading bool

	paused, calm bool
	books        books
}

// errCrash is the end of a process between two effects.
var errCrash = errors.New("the process died")

func newWorld(d simulation.Dice, tr *simulation.Trace) *world {
	w := &world{
		Dice: d, trace: tr, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), books: newBooks(),
		stream: brokermodel.NewStream(brokermodel.StreamConfig{Duplicates: 100 * time.Millisecond}), ledger: simLedger{at: map[string]int{}},
		outcomes: brokermodel.NewStream(brokermodel.StreamConfig{Duplicates: day}),
	}
	w.consumer = brokermodel.NewConsumer(w.stream, brokermodel.ConsumerConfig{AckWait: 15 * time.Second, MaxDeliver: -1, MaxAckPending: 1024})
	w.rules = rulesFor(config.Connection{Name: "acme", Deprovision: config.Deprovision{
		Apply:                simulation.OneOf(w, "apply", "dry-run", "review", "review", "auto", "auto", "auto"),
		Strict:               w.chance("strict", 2),
		BatchMaxUsers:        1 + w.Intn("batchMaxUsers", 6),
		BatchMaxAge:          simulation.OneOf(w, "batchMaxAge", 0, time.Second, 30*time.Second),
		MaxUsersPerBatchAuto: 1 + w.Intn("perBatch", 6),
		MaxUsers24hAuto:      2 + w.Intn("perDay", 13),
		MaxEventAge:          168 * time.Hour,
		VerifyWithin:         simulation.OneOf(w, "within", 2*time.Minute, time.Hour),
		VerifyEvery:          simulation.OneOf(w, "every", 5*time.Second, time.Minute),
		Protect:              simulation.OneOf(w, "protect", nil, []string{"p0@*"}, []string{"*boss*", "P1@corp.example"}),
		ProtectAdmins:        w.chance("protectAdmins", 2),
	}}, config.Retry{MaxAttempts: 1 + w.Intn("attempts", 3), InitialDelay: 250 * time.Millisecond, CallTimeout: 5 * time.Second})
	w.plan = newSimPlan(w, 1+w.Intn("people", 9))
	w.takeOver()
	return w
}

func (w *world) chance(what string, in int) bool { return simulation.Chance(w, what, in) }

func (w *world) note(parts ...string) { w.trace.Note(w.now, parts...) }

// happen is one thing that may happen next.
func (w *world) happen() {
	w.advance(time.Millisecond)
	switch w.Intn("op", 24) {
	case 0, 1:
		w.send()
	case 2:
		w.sendCancel()
	case 3, 4, 5: // what was sent goes its way, or some of it
		w.send()
		w.pull()
		w.commit()
		w.hear()
	case 6:
		w.pull()
	case 7:
		w.commit()
	case 8, 9:
		w.hear()
	case 10, 11:
		w.decide()
	case 12:
		w.change()
	case 13:
		w.plan.meddle()
	case 14:
		w.oldGoesOn()
	case 15:
		w.advance(time.Duration(1+w.Intn("pass", 7200)) * time.Second)
		w.tick()
	case 16, 17, 18:
		w.advance(max(0, w.wake.Sub(w.now)))
		w.tick()
	default:
		w.answer()
	}
}

// change is an operator, or the orchestrator: a pause, another configuration, a crash, a second replica.
func (w *world) change() {
	switch w.Intn("change", 4) {
	case 0:
		w.paused = !w.paused
		w.note("paused", strconv.FormatBool(w.paused))
	case 1:
		w.rules.Apply = simulation.OneOf(w, "apply", "dry-run", "review", "auto")
		w.crash("restarted with apply: " + w.rules.Apply)
	case 2:
		w.crash("crash")
	default:
		w.old, w.oldCall = w.tenure, w.call
		w.call = nil
		w.note("another replica takes the lane")
		w.takeOver()
	}
}

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
		next, err := t.load(ctx, w.ledgerFrom(t.told.Floor, fence))
		if err == nil {
			err = w.execute(t, next)
		}
		if err == nil {
			return
		}
		w.check(err)
	}
}

// ledgerFrom is the feed that a new holder reads: everything from the floor, and its own claim at the end.
func (w *world) ledgerFrom(floor, fence uint64) *feed {
	var docs []document
	for _, d := range w.ledger.docs {
		if d.document.document != nil && d.sequence >= floor && d.sequence < fence {
			docs = append(docs, d.read(w))
		}
	}
	slices.SortFunc(docs, func(a, b document) int { return cmp.Compare(a.sequence, b.sequence) })
	f := &feed{documents: make(chan any, len(docs)+1)}
	for _, d := range docs {
		f.documents <- d
	}
	f.documents <- document{subject: laneSubject("acme"), sequence: fence, document: holder{}}
	return f
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

// send publishes a request as another system would: a new one, one of a moment ago again, or another in its name.
func (w *world) send() {
	w.serial++
	id := fmt.Sprintf("e%d", max(0, w.serial-w.Intn("id", 4)))
	person := w.Intn("who", 11)
	data := map[string]any{}
	switch w.Intn("by", 7) {
	case 0:
		data["psUserId"] = fmt.Sprintf("u%d", person)
	case 1:
		data["email"] = simulation.OneOf(w, "odd", "boss@corp.example", samePlace, "nobody@corp.example", "a,b@corp.example")
	case 2:
		data["email"], data["psUserId"] = fmt.Sprintf("P%d@corp.example", person), fmt.Sprintf("u%d", w.Intn("other", 11))
	default:
		data["email"] = fmt.Sprintf(" p%d@Corp.example", person)
	}
	if w.chance("deferred", 5) {
		data["effectiveAt"] = w.now.Add(time.Duration(1+w.Intn("seconds", 4000)) * time.Second)
	}
	if w.chance("options", 5) {
		data["retainPrivileges"] = true
	}
	if w.chance("elsewhere", 20) {
		data["connection"] = "other"
	}
	at := w.now.Add(-time.Duration(simulation.OneOf(w, "hours", 0, 0, 0, 1, 1, 50, 200)) * time.Hour)
	publisher := simulation.OneOf(w, "publisher", "hr", "hr", "it")
	for range 1 + w.Intn("times", 2) { // a sender that missed the acknowledgement says the same again
		w.publish("requested", publisher, events.Event{ID: id, Source: simulation.OneOf(w, "source", "/a", "/a", "/b"),
			Type: events.DeprovisionRequestedType, Time: at}, data)
	}
}

func (w *world) sendCancel() {
	w.serial++
	w.publish("cancelled", simulation.OneOf(w, "publisher", "hr", "it"), events.Event{ID: fmt.Sprintf("c%d", w.serial), Source: "/a",
		Type: events.DeprovisionCancelledType, Time: w.now},
		map[string]any{"source": "/a", "id": fmt.Sprintf("e%d", max(0, w.serial+1-w.Intn("target", 9)))})
}

func (w *world) publish(kind, publisher string, e events.Event, data any) {
	e.Data, _ = json.Marshal(data) // maps of strings and times always encode
	header, body := e.Encode()
	m := brokermodel.Message{Subject: "seatwire.v1.deprovision." + kind + ".acme." + publisher, Header: header, Body: body}
	if sequence, _, err := w.stream.Publish(w.now, m, nil); err == nil {
		w.note("sent", strconv.FormatUint(sequence, 10), m.Subject, string(e.Data))
	}
}

// pull is a replica's handlers taking messages in hand.
func (w *world) pull() {
	for range 1 + w.Intn("messages", 4) {
		d, any := w.consumer.Pull(w.now)
		if !any {
			return
		}
		w.note("delivered", strconv.FormatUint(d.Sequence, 10), strconv.Itoa(d.Delivered))
		w.hands = append(w.hands, d)
	}
}

// commit is intake.settle with some of what is in hand, which may be long since somebody else's. A crash may come
// before the write, after it, or between two acknowledgements.
func (w *world) commit() {
	i := newIntake(nil, map[string]rules{"acme": w.rules}, nil, func() time.Time { return w.now })
	var group []*claimEntry
	var deliveries []brokermodel.Delivery
	taken := 1 + w.Intn("group", 4)
	for len(w.hands) > 0 && len(group) < taken {
		n := w.Intn("which", len(w.hands))
		d := w.hands[n]
		w.hands = slices.Delete(w.hands, n, n+1)
		entry, err := i.read(bus.Delivery{Subject: d.Subject, Sequence: d.Sequence, Header: d.Header}, d.Body)
		if err != nil {
			simulation.Violated("I-01", "a good event is refused: %v", err)
		}
		group, deliveries = append(group, entry), append(deliveries, d)
	}
	if len(group) == 0 || w.dies("before the ledger") {
		return
	}
	slices.SortFunc(group, func(a, b *claimEntry) int { return cmp.Compare(a.sequence, b.sequence) })
	slices.SortFunc(deliveries, func(a, b brokermodel.Delivery) int { return cmp.Compare(a.Sequence, b.Sequence) })
	known := map[string]identity{}
	for _, entry := range group {
		if n, ok := w.ledger.at[entry.subject]; ok {
			known[entry.subject] = decodeOf[identity](w, w.ledger.docs[n].body)
		}
	}
	verdicts, unknown := absorb(group, known)
	for _, n := range unknown {
		w.write(group[n].subject, group[n].document)
	}
	for n, d := range deliveries {
		if w.dies("before the acknowledgement") {
			return
		}
		w.acknowledge(d, verdicts[n])
	}
}

// acknowledge ends an event: it is in the ledger, or set aside as a dead letter. The judges learn of it here.
func (w *world) acknowledge(d brokermodel.Delivery, verdict error) {
	if w.chance("the acknowledgement is lost", 8) && !w.calm {
		return
	}
	w.consumer.Ack(d.Sequence)
	w.note("acknowledged", strconv.FormatUint(d.Sequence, 10), strconv.FormatBool(verdict == nil))
	if tokens := events.Tokens(events.DeprovisionRequestedSubject, d.Subject); verdict != nil {
		w.books.refused[d.Sequence] = true
	} else if tokens != nil {
		e, _ := events.Read(d.Header, d.Body) // commit has read it before
		w.acceptedAs(tokens[1], e)
	}
}

// acceptedAs notes what an identity stands for. The first content counts, for ever.
func (w *world) acceptedAs(publisher string, e events.Event) {
	key := identityOf(publisher, e.Source, e.ID)
	if before := w.books.accepted[key]; before != "" && before != e.Content() {
		simulation.Violated("I-01", "%s was acknowledged with two contents", key)
	}
	w.books.accepted[key] = e.Content()
}

// write stores a document that is not a lane's, and puts it on its way to the lane.
func (w *world) write(subject string, doc any) {
	if r, ok := doc.(deprovision.Request); ok {
		w.books.accepted[identityOf(r.Publisher, r.Source, r.ID)] = r.Content
	}
	w.ledger.put(w, subject, doc, 0)
	w.feed = append(w.feed, w.ledger.docs[w.ledger.at[subject]])
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

// decide is a person's word about a hold, or about an earlier one, which must not count.
func (w *world) decide() {
	for _, d := range w.ledger.docs {
		b, ok := d.document.document.(deprovision.Batch)
		if !ok || b.State != deprovision.BatchHeld {
			continue
		}
		approve, hold := w.Intn("yes", 4) > 0, b.Hold
		if hold > 1 && !w.calm && w.chance("late", 3) {
			hold--
		}
		subject := deprovision.DecisionSubject("acme", b.ID, hold)
		if _, twice := w.ledger.at[subject]; twice {
			continue
		}
		if approve && hold == b.Hold {
			w.books.approved[b.ID] = hold
		}
		w.write(subject, deprovision.Decision{Connection: "acme", BatchID: b.ID, Hold: hold, Approve: approve, By: "ada", SHA256: b.SHA256, At: w.now})
		return
	}
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

func (w *world) advance(d time.Duration) {
	w.now = w.now.Add(d)
	w.plan.work()
}

// end is the end of a history: nobody asks for anything any more, persons decide, and time passes until nothing is left
// to do. Processes stop dying after a while, and Pluralsight is well a while later. Then nothing more happens, however
// often a replica starts.
func (w *world) end() {
	w.paused = false
	for step := 0; !w.quiet(); step++ {
		w.calm, w.plan.healthy = step > 20, step > 40
		if step == 20_000 { // nine batches that are read every five seconds for an hour take 13,000
			simulation.Violated("I-16", "not settled after %d steps: %s", step, w.open())
		}
		w.pull()
		w.commit()
		w.hear()
		w.decide()
		switch {
		case w.call != nil:
			w.answer()
		case w.wake.After(w.now) && w.consumer.Pending() == 0:
			w.advance(w.wake.Sub(w.now))
			w.tick()
		default:
			w.advance(time.Minute)
			w.tick()
		}
	}
	w.calm, w.plan.healthy = true, true
	w.judgeEnd()
	saved, sent := w.ledger.writes, len(w.books.sent)
	w.crash("restarted")
	w.advance(time.Hour)
	w.tick()
	if w.ledger.writes != saved || len(w.books.sent) != sent || w.call != nil {
		simulation.Violated("I-21", "idle, and not silent")
	}
}

func (w *world) quiet() bool {
	return w.consumer.Quiet() && len(w.hands) == 0 && len(w.feed) == 0 &&
		len(w.tenure.book.open)+len(w.tenure.book.batches)+len(w.tenure.book.cancels) == 0
}

func (w *world) open() (left string) {
	for _, r := range w.requests() {
		if r.Open() {
			left += fmt.Sprintf(" %s in batch %q;", r.State, r.BatchID)
		}
	}
	return left
}

// simLedger is the ledger stream: the newest document of each subject.
type simLedger struct {
	last uint64
	docs []simDocument
	at   map[string]int
	// writes counts what others than the lane's own book-keeping wrote.
	writes int
}

// simDocument is a document as it was written, and as it is for whoever only looks.
type simDocument struct {
	document
	body json.RawMessage
}

func (l *simLedger) put(w *world, subject string, doc any, fence uint64) uint64 {
	body, err := json.Marshal(doc)
	if err != nil {
		simulation.Violated("I-01", "a document that does not encode: %v", err)
	}
	l.last++
	d := simDocument{document{subject: subject, sequence: l.last, fence: fence}, body}
	if d.document.document = d.read(w).document; d.document.document != nil {
		l.writes++
	}
	if n, known := l.at[subject]; known {
		l.docs[n] = d
	} else {
		l.at[subject] = len(l.docs)
		l.docs = append(l.docs, d)
	}
	w.note("wrote", subject, string(body))
	return l.last
}

// read is the document as the feed hands it over; without a document when it is none that the lane follows.
func (d simDocument) read(w *world) document {
	out := document{subject: d.subject, sequence: d.sequence, fence: d.fence}
	switch {
	case events.Tokens(streams.LedgerRequestSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Request](w, d.body)
	case events.Tokens(streams.LedgerBatchSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Batch](w, d.body)
	case events.Tokens(streams.LedgerCancelSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Cancel](w, d.body)
	case events.Tokens(streams.LedgerDecisionSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Decision](w, d.body)
	}
	return out
}

// newest is the document of a subject, for looking at.
func newest[T any](w *world, subject string) (out T, found bool) {
	if n, ok := w.ledger.at[subject]; ok {
		out, found = w.ledger.docs[n].document.document.(T)
	}
	return out, found
}

func (w *world) requests() (all []deprovision.Request) {
	for _, d := range w.ledger.docs {
		if r, ok := d.document.document.(deprovision.Request); ok {
			all = append(all, r)
		}
	}
	return all
}

func (w *world) requestByKey(key string) deprovision.Request {
	r, _ := newest[deprovision.Request](w, deprovision.RequestSubject("acme", key))
	return r
}

func decodeOf[T any](w *world, body []byte) (out T) {
	if err := json.Unmarshal(body, &out); err != nil {
		simulation.Violated("I-25", "what was written cannot be read: %v", err)
	}
	return out
}

// simKeeper is a tenure's way to the ledger: it writes under the fence, and dies now and then between two documents.
type simKeeper struct {
	w *world
	t *tenure
}

func (k simKeeper) commit(_ context.Context, saves []save) (map[string]uint64, error) {
	if k.t != k.w.tenure {
		return nil, errLaneLost
	}
	written := map[string]uint64{}
	for _, s := range saves {
		if k.w.dies("between two documents") {
			return nil, errCrash
		}
		if r, ok := s.document.(deprovision.Request); ok {
			if before := k.w.requestByKey(r.Key); before.Key != "" && !before.Open() {
				simulation.Violated("I-01", "a settled request is written again")
			}
		}
		if c, ok := s.document.(deprovision.Cancel); ok {
			k.w.judgeCancel(c)
		}
		written[s.subject] = k.w.ledger.put(k.w, s.subject, s.document, k.t.fence)
		if d := k.w.ledger.docs[k.w.ledger.at[s.subject]]; d.document.document != nil {
			k.w.feed = append(k.w.feed, d) // the lane hears its own echo
		}
	}
	return written, nil
}

func (k simKeeper) last(_ context.Context, subject string, out any) (uint64, error) {
	n, found := k.w.ledger.at[subject]
	if !found {
		return 0, nil
	}
	d := k.w.ledger.docs[n]
	return d.sequence, json.Unmarshal(d.body, out)
}

// simOutcomes is a tenure's way to tell the world.
type simOutcomes struct{ w *world }

func (o simOutcomes) since(_ context.Context, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for _, m := range o.w.outcomes.Messages() {
			match := len(m.Subject) > len(filter)-1 && m.Subject[:len(filter)-1] == filter[:len(filter)-1]
			raw := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Header: m.Header, Data: m.Body}
			if match && m.Sequence >= sequence && !yield(raw, nil) {
				return
			}
		}
	}
}

func (o simOutcomes) publish(_ context.Context, msgs []*nats.Msg) (last uint64, err error) {
	for _, m := range msgs {
		if o.w.dies("before telling") {
			return 0, errCrash
		}
		id := m.Header.Get(nats.MsgIdHdr)
		sequence, again, err := o.w.outcomes.Publish(o.w.now, brokermodel.Message{Subject: m.Subject, ID: id, Header: m.Header, Body: m.Data}, nil)
		if err != nil {
			return 0, err
		}
		if !again {
			o.w.note("told", m.Subject, string(m.Data))
			e, err := events.Read(m.Header, m.Data)
			if err != nil {
				simulation.Violated("I-01", "an outcome that cannot be read: %v", err)
			}
			o.w.judgeTold(e, m.Subject)
		}
		last = sequence
		if o.w.dies("after telling") {
			return 0, errCrash
		}
	}
	return last, nil
}
