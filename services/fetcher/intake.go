package fetcher

import (
	"context"
	"encoding/json"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

const intakeConcurrency = 16

// intake accepts one sync request: readable, of the subject's type, for a connection of ours. The accepted request is
// stored under its identity, so the same event sent again is absorbed and another one in its name is refused.
func (f *Fetcher) intake(ctx context.Context, d bus.Delivery, body []byte) error {
	connection := events.ConnectionOf(d.Subject)
	if _, known := f.deps.Plans[connection]; !known {
		return refused("no connection of this name is configured")
	}
	event, err := events.Read(d.Header, body)
	if err != nil {
		return err
	}
	if event.Type != events.SyncRequestedType {
		return refused("the type is not %s", events.SyncRequestedType)
	}
	request, err := events.ReadSyncRequested(event.Data)
	if err != nil {
		return refused("the data is not that of a sync request")
	}
	if request.Connection != "" && request.Connection != connection {
		return refused("the data names another connection than the subject")
	}
	return f.accept(ctx, connection, event)
}

func refused(detail string, args ...any) error {
	return fault.New(fault.Permanent, "rejected", detail, args...)
}

func (f *Fetcher) accept(ctx context.Context, connection string, event events.Event) error {
	accepted := roster.AcceptedSync{
		RequestID: event.ID, Source: event.Source, Content: event.Content(), Accepted: f.deps.Now().UTC(),
	}
	body, err := json.Marshal(accepted)
	if err != nil {
		return err
	}
	subject := acceptedSubject(connection, event)
	ack, err := f.deps.Publisher.PublishMsg(ctx, subject, subject, nil, body)
	if bus.IsKeyExists(err) || ack != nil && ack.Duplicate {
		return f.compare(ctx, subject, accepted)
	}
	return err
}

// acceptedSubject is where the request of an identity is stored once it is accepted.
func acceptedSubject(connection string, event events.Event) string {
	return events.Subject(streams.SweepAcceptedSubject, connection, event.Key())
}

// compare decides about a known identity: the same content is a repeat, absorbed; other content is an impostor.
func (f *Fetcher) compare(ctx context.Context, subject string, again roster.AcceptedSync) error {
	msg, err := streams.At(f.deps.JS).Newest(ctx, streams.Sweeps, subject)
	if err != nil {
		return err
	}
	if msg == nil {
		return fault.New(fault.Transient, "state-unreadable", "the request that was accepted first is not readable yet")
	}
	var first roster.AcceptedSync
	if json.Unmarshal(msg.Data, &first) != nil || first.Content != again.Content {
		return refused("an event with this source and id and other content was accepted before")
	}
	return nil
}
