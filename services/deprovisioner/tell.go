package deprovisioner

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

// told is how far a lane got with telling the world, and from where a new holder has to read.
type told struct {
	// Ledger: everything up to this sequence of the ledger was told.
	Ledger uint64 `json:"ledger"`
	// Floor: nothing open is below this sequence, so a new holder begins here. A document moves up with each change.
	Floor uint64 `json:"floor"`
	// Outcome is the last sequence of ours in the stream of outcomes.
	Outcome uint64 `json:"outcome"`
}

// outcomes is the stream of what the world is told; outcomeStream is one.
type outcomes interface {
	// since yields what was told from a sequence on, oldest first.
	since(ctx context.Context, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error]
	// publish stores messages, or finds them stored, and returns the sequence of the last.
	publish(ctx context.Context, msgs []*nats.Msg) (uint64, error)
}

// teller publishes what became durable. Each event has an id that follows from what it tells, so telling twice is one
// event within the stream's duplicate window of a day. Beyond it, after a crash between telling and noting it, known
// holds the ids that are there already.
type teller struct {
	stream     outcomes
	connection string
	known      map[string]bool
	// last is the sequence of the last event told.
	last uint64
}

// recall reads the ids of what was told since the last note.
func (t *teller) recall(ctx context.Context, since uint64) error {
	t.known, t.last = map[string]bool{}, since
	for _, base := range []string{events.DeprovisionProgressedSubject, events.DeprovisionSettledSubject} {
		for msg, err := range t.stream.since(ctx, events.Subject(base, t.connection, "*"), since+1) {
			if err != nil {
				return fault.New(fault.Transient, "outcomes-unreadable", "read what was told").Because(err)
			}
			t.known[msg.Header.Get(nats.MsgIdHdr)] = true
			t.last = max(t.last, msg.Sequence)
		}
	}
	return nil
}

// tell publishes events in order and returns when they are stored.
func (t *teller) tell(ctx context.Context, msgs []*nats.Msg) error {
	if len(t.known) > 0 {
		msgs = slices.DeleteFunc(msgs, func(m *nats.Msg) bool { return t.known[m.Header.Get(nats.MsgIdHdr)] })
	}
	for chunk := range chunks(msgs) {
		last, err := t.stream.publish(ctx, chunk)
		if err != nil {
			return fault.New(fault.Transient, "outcomes-unwritable", "tell what happened on %s", t.connection).Because(err)
		}
		t.last = max(t.last, last)
	}
	return nil
}

// outcomeStream is the broker's.
type outcomeStream struct{ js jetstream.JetStream }

func (o outcomeStream) since(ctx context.Context, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return streams.Read(ctx, o.js, streams.Outcomes, filter, sequence)
}

// publish sends a chunk as one write. One event that is there already refuses all, and then they go one by one.
func (o outcomeStream) publish(ctx context.Context, chunk []*nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	last, err := publishAtomic(ctx, o.js, chunk)
	if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != jetstreamext.JSErrCodeBatchPublishDuplicateMsgID {
		return last, err
	}
	for _, msg := range chunk {
		for _, header := range []string{jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader} {
			msg.Header.Del(header)
		}
		msg.Reply = ""
		ack, err := o.js.PublishMsg(ctx, msg)
		if err != nil {
			return 0, err
		}
		last = ack.Sequence
	}
	return last, nil
}

// requestEvents are what the world has not been told of a request: a progressed event for each change, and the
// settled event at its end.
func requestEvents(r deprovision.Request) (msgs []*nats.Msg) {
	for _, change := range r.History[min(r.Told, len(r.History)):] {
		if change.State == deprovision.Settled {
			msgs = append(msgs, settledEvent(r, change))
			continue
		}
		msgs = append(msgs, progressedEvent(r.Connection, r.Publisher, change.At,
			events.Key("progressed", r.Key, strconv.FormatInt(change.At.UnixNano(), 10), change.State, change.BatchID),
			events.DeprovisionProgressed{
				RequestSource: r.Source, RequestID: r.ID, State: change.State, BatchID: change.BatchID, At: change.At,
			}))
	}
	return msgs
}

// cancelEvent answers a cancel that came too late; other cancels are answered by what becomes of their request.
func cancelEvent(c deprovision.Cancel) []*nats.Msg {
	if c.State != deprovision.CancelLate {
		return nil
	}
	return []*nats.Msg{progressedEvent(c.Connection, c.Publisher, c.At, events.Key(deprovision.CancelTooLate, c.Key),
		events.DeprovisionProgressed{
			RequestSource: c.TargetSource, RequestID: c.TargetID, State: deprovision.CancelTooLate, At: c.At,
		})}
}

func settledEvent(r deprovision.Request, change deprovision.Change) *nats.Msg {
	return message(events.Subject(events.DeprovisionSettledSubject, r.Connection, r.Publisher), events.Event{
		ID: events.Key("settled", r.Key), Source: eventSource(r.Connection), Type: events.DeprovisionSettledType, Time: change.At,
	}, events.DeprovisionSettled{
		RequestSource: r.Source, RequestID: r.ID, Email: r.Email, PsUserID: firstOf(r.Person, r.PsUserID),
		Outcome: r.Outcome, Reason: r.OutcomeReason, BatchID: r.BatchID,
		DryRun: r.Outcome == deprovision.OutcomeDryRun, Evidence: r.Evidence,
	})
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func progressedEvent(connection, publisher string, at time.Time, id string, data events.DeprovisionProgressed) *nats.Msg {
	return message(events.Subject(events.DeprovisionProgressedSubject, connection, publisher), events.Event{
		ID: id, Source: eventSource(connection), Type: events.DeprovisionProgressedType, Time: at,
	}, data)
}

// eventSource is the CloudEvents source of what we emit.
func eventSource(connection string) string { return "seatwire/deprovisioner/" + connection }

// message encodes an event under its own id, which is the broker's message id too.
func message(subject string, e events.Event, data any) *nats.Msg {
	body, err := json.Marshal(data)
	if err != nil { // strings, booleans and times always encode
		panic("deprovisioner: encode " + e.Type)
	}
	e.Data = body
	header, body := e.Encode()
	msg := &nats.Msg{Subject: subject, Header: nats.Header(header), Data: body}
	msg.Header.Set(nats.MsgIdHdr, "deprovisioner/"+e.ID)
	return msg
}
