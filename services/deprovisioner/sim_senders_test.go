package deprovisioner

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
)

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
