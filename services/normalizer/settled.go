package normalizer

import (
	"context"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// settled reports whether a page is normalised.
func (n *Normalizer) settled(ctx context.Context, d bus.Delivery, _ []byte) (bool, error) {
	tokens := events.Tokens(streams.UsersFetchedSubject, d.Subject)
	msg, err := streams.At(n.deps.JS).Newest(ctx, streams.Normalized, events.Subject(streams.UsersNormalizedSubject, tokens...))
	return msg != nil, err
}
