package bus

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
)

// verdict is what becomes of a message whose handler failed.
type verdict struct {
	// dead is the dead letter's reason; empty: try again.
	dead string
	// after is the wait before the next try; negative: the subscriber's choice.
	after time.Duration
	// outcome is the metric's label, from a closed set.
	outcome string
}

// judge decides about a failure. It is the error policy of Handler, and knows nothing of brokers.
func judge(err error, interrupted bool, delivered, limit uint64, nakDelay func(uint64) time.Duration) verdict {
	if interrupted {
		return verdict{after: -1, outcome: outcomeInterrupted}
	}
	switch class := fault.ClassOf(err); {
	case errors.Is(err, errSuspect):
		return dead(ReasonCrashSuspect)
	case class == fault.Permanent && fault.ReasonOf(err) == ReasonUndecodable:
		return dead(ReasonUndecodable)
	case class == fault.Permanent:
		return dead(ReasonRejected)
	case delivered >= limit && isPanic(err):
		return dead(ReasonPanic)
	case delivered >= limit:
		return dead(ReasonExhausted)
	case class == fault.Throttled:
		if after, ok := fault.RetryAfter(err); ok {
			return verdict{after: after, outcome: outcomeThrottled}
		}
		return verdict{after: nakDelay(delivered), outcome: outcomeThrottled}
	default:
		return verdict{after: nakDelay(delivered), outcome: outcomeFailed}
	}
}

func dead(reason string) verdict { return verdict{dead: reason, outcome: reason} }

// giveUpOrRetry carries out the verdict. A dead letter is stored before nil is returned, which acknowledges the
// original; if it cannot be stored, the original comes back and is judged again.
func (r *Router) giveUpOrRetry() message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) ([]*message.Message, error) {
			out, err := next(m)
			if err == nil {
				return out, nil
			}
			return nil, r.carryOut(m, err)
		}
	}
}

func (r *Router) carryOut(m *message.Message, err error) error {
	ctx := m.Context()
	d, _ := DeliveryOf(ctx)
	v := judge(err, wasInterrupted(ctx, err), d.Delivered, r.limit(ctx), r.cfg.NakDelay)
	setOutcome(ctx, v.outcome)
	if v.dead == "" {
		postpone(d, v.after)
		r.logFailure(ctx, d, v, err)
		return err
	}
	putErr := r.deps.DeadLetters.Put(ctx, d, m.Payload, v.dead, err)
	r.tellBlocked(ctx, putErr)
	if putErr != nil {
		setOutcome(ctx, outcomeUndeliverable)
		postpone(d, r.cfg.NakDelay(d.Delivered))
		return errors.Join(err, putErr)
	}
	failpoint.Hit(failpoint.D15)
	r.logFailure(ctx, d, v, err)
	return nil
}

// tellBlocked says once that dead letters cannot be stored, and once that they can again. Meanwhile their messages stay
// unacknowledged and come back, and so many of them hold up the others; the program is not unready, for no restart helps.
func (r *Router) tellBlocked(ctx context.Context, putErr error) {
	if blocked := putErr != nil; !r.blocked.CompareAndSwap(!blocked, blocked) {
		return
	}
	if putErr != nil {
		r.metrics.blocked.WithLabelValues(r.cfg.Service).Set(1)
		r.deps.Log.ErrorContext(ctx, "cannot store dead letters; their messages stay until there is room", "error", fault.Text(putErr))
		return
	}
	r.metrics.blocked.WithLabelValues(r.cfg.Service).Set(0)
	r.deps.Log.InfoContext(ctx, "dead letters are stored again")
}

// wasInterrupted reports whether the handler was stopped rather than failed: the message context ended, or the
// service cancelled its own. A time-out of the handler's own is a failure.
func wasInterrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, context.Canceled)
}

func postpone(d Delivery, after time.Duration) {
	if h, ok := d.Lease.(*held); ok {
		h.giveBackAfter(after)
	}
}

func (r *Router) logFailure(ctx context.Context, d Delivery, v verdict, err error) {
	r.deps.Log.WarnContext(ctx, "message not handled", "handler", message.HandlerNameFromCtx(ctx), "outcome", v.outcome, "class", fault.ClassOf(err).String(),
		"error", fault.Text(err), "stream", d.Stream, "sequence", d.Sequence, "delivered", d.Delivered, "retry_after", max(v.after, 0))
}
