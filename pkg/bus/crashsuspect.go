package bus

import (
	"context"
	"errors"
	"math"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/seatwire/seatwire/pkg/fault"
)

// maxRemembered bounds the memory for verdicts. Only messages that come back need one, and those are few unless the
// broker or a vendor is ill.
const maxRemembered = 4096

// crashSuspect protects the process from a message that kills it. Every failure that is noticed gives a verdict, which
// this process remembers; so a message that comes again and has none may have taken a process with it. It may also
// have been in hand beside such a message, or when the machine failed, so it gets another chance, where it can hurt
// nobody: in a process of its own. What ends that is set aside unread by us, and has restarted us once.
//
// Where no process can be started, or for a handler without one, a message is set aside when it came more often than
// any verdict allows: the failure at MaxDeliveries would have been a dead letter. The exceptions are messages whose
// dead letter could not be stored: they have a verdict and are judged again.
type crashSuspect struct {
	// limit is how often the message of a context may be delivered.
	limit func(context.Context) uint64
	// isolated is nil when there is none.
	isolated *isolation

	mu      sync.Mutex
	verdict map[place]struct{}
}

// place names a message for as long as its stream exists.
type place struct {
	stream, consumer string
	sequence         uint64
}

func newCrashSuspect(limit func(context.Context) uint64, isolated *isolation) *crashSuspect {
	return &crashSuspect{limit: limit, isolated: isolated, verdict: map[place]struct{}{}}
}

func (c *crashSuspect) check(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		ctx := m.Context()
		d, _ := DeliveryOf(ctx)
		at := place{d.Stream, d.Consumer, d.Sequence}
		err := errNotIsolated
		if limit := c.limit(ctx); d.Delivered > 1 && limit < math.MaxUint64 && !c.known(at) {
			if c.isolated != nil {
				err = c.isolated.handle(ctx, errand{Handler: message.HandlerNameFromCtx(ctx), Delivery: d, Body: m.Payload})
			}
			if errors.Is(err, errEndedItAll) || errors.Is(err, errNotIsolated) && d.Delivered > limit {
				return nil, fault.New(fault.Permanent, ReasonCrashSuspect, "delivered %d times without an answer; set aside unread", d.Delivered).Because(errSuspect)
			}
		}
		var out []*message.Message
		if errors.Is(err, errNotIsolated) {
			out, err = next(m)
		}
		switch {
		case err == nil:
			c.forget(at)
		case !wasInterrupted(ctx, err): // an interruption is no verdict: the next delivery knows as little
			c.remember(at)
		}
		return out, err
	}
}

func (c *crashSuspect) known(at place) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.verdict[at]
	return ok
}

func (c *crashSuspect) forget(at place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.verdict, at)
}

// remember makes room by forgetting any one: the worst that follows is a stay in isolation.
func (c *crashSuspect) remember(at place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.verdict) >= maxRemembered {
		for other := range c.verdict {
			delete(c.verdict, other)
			break
		}
	}
	c.verdict[at] = struct{}{}
}

// errSuspect tells the policy that the handler was not called.
var errSuspect = errors.New("crash suspect")
