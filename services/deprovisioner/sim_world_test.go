package deprovisioner

import (
	"fmt"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
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

func newWorld(d simulation.Dice, tr *simulation.Trace) *world {
	w := &world{
		Dice: d, trace: tr, now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), books: newBooks(),
		stream: brokermodel.NewStream(brokermodel.StreamConfig{Duplicates: 100 * time.Millisecond}), ledger: simLedger{at: map[string]int{}, versions: map[string][]simDocument{}},
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
