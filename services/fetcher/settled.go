package fetcher

import (
	"context"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// settled reports whether a sync request was accepted, or one of its identity.
func (f *Fetcher) settled(ctx context.Context, d bus.Delivery, body []byte) (bool, error) {
	event, err := events.Read(d.Header, body)
	if err != nil {
		return false, nil
	}
	msg, err := streams.At(f.deps.JS).Newest(ctx, streams.Sweeps, acceptedSubject(events.ConnectionOf(d.Subject), event))
	return msg != nil, err
}

// settled reports whether an accepted request's sweep is finished.
func (l *lane) settled(ctx context.Context, d bus.Delivery, _ []byte) (bool, error) {
	var s roster.Sweep
	_, err := l.deps.State.Get(ctx, roster.SweepKey(l.connection.Name), &s)
	inHand := s.Running && d.Sequence > s.After
	return err == nil && d.Sequence <= s.Through && !inHand, err
}
