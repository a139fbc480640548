package bus

import (
	"context"
	"math"

	"github.com/ThreeDotsLabs/watermill/message"
)

// AddLane is AddHandler for work that is done one at a time and lasts: one message in hand, and no limit to its
// deliveries. A lane's message is a job that a crash interrupts and the next delivery goes on with; how often it may
// start without progress is known to the handler's own state, and the handler gives up by returning a permanent error
// or by finishing the job as failed.
func (r *Router) AddLane(name, stream, durable string, h Handler) {
	r.lanes[name] = struct{}{}
	r.AddHandler(name, stream, durable, 1, h)
}

// limit is how often the message of a context is delivered before it is given up.
func (r *Router) limit(ctx context.Context) uint64 {
	if _, lane := r.lanes[message.HandlerNameFromCtx(ctx)]; lane {
		return math.MaxUint64
	}
	return uint64(r.cfg.MaxDeliveries)
}
