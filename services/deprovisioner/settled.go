package deprovisioner

import (
	"context"

	"github.com/seatwire/seatwire/pkg/bus"
)

// settled reports whether the ledger knows an event's identity.
func (i *intake) settled(ctx context.Context, d bus.Delivery, body []byte) (bool, error) {
	entry, err := i.read(d, body)
	if err != nil {
		return false, nil
	}
	var known identity
	at, err := lastDocument(ctx, i.js, entry.subject, &known)
	return at > 0, err
}
