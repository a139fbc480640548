package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/fault"
)

// Delivery says where a message came from. It is a value; copies speak of the same delivery.
type Delivery struct {
	Stream   string
	Consumer string
	Subject  string
	// Sequence is the message's place in its stream, the same at every delivery.
	Sequence uint64
	// Delivered counts deliveries from 1, those included that a crash or a stop cut short.
	Delivered uint64
	// Time is when the stream stored the message.
	Time time.Time
	// Header is the original, with all values and with the broker's own Nats-* headers. Do not publish it.
	Header nats.Header
	// Lease is our hold on the message.
	Lease Lease
}

// Lease is a hold on a delivery that ends when it is not renewed in time.
type Lease interface {
	// Renew returns nil when the message was ours a moment ago and the broker confirmed to leave it with us for
	// another ack wait. Any error means: stop, somebody else may have it.
	Renew(ctx context.Context) error
}

// Renew asks the broker for another ack wait. A holder of work that must not run twice at once calls it before each
// outside effect, with a deadline on the effect that is shorter than the ack wait.
func (d Delivery) Renew(ctx context.Context) error {
	if d.Lease == nil {
		return fault.New(fault.Permanent, "no-lease", "this delivery is not held from a broker")
	}
	return d.Lease.Renew(ctx)
}

type deliveryKey struct{}

// DeliveryOf returns the delivery that a message context belongs to.
func DeliveryOf(ctx context.Context) (Delivery, bool) {
	d, ok := ctx.Value(deliveryKey{}).(Delivery)
	return d, ok
}

// WithDelivery returns a context that carries d, for tests of handlers.
func WithDelivery(ctx context.Context, d Delivery) context.Context {
	return context.WithValue(ctx, deliveryKey{}, d)
}
