package deprovisioner

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
)

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
