package bus

import (
	"context"
	"errors"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/seatwire/seatwire/pkg/fault"
)

// maxRemembered bounds the memory for verdicts. Only messages that are past their deliveries need one, and those are
// few unless dead letters cannot be stored.
const maxRemembered = 4096

// crashSuspect sets aside, unread, a message that was delivered more often than any verdict allows. Every failure that
// is noticed at MaxDeliveries ends in a dead letter, so a message that comes once more has, each time or the last,
// taken its process with it; reading it again would be the next crash. The exceptions are messages whose dead letter
// could not be stored: this process remembers that it got a verdict on them and judges them again. After a restart
// they are set aside too, with the suspicion for a reason: the content is kept all the same.
type crashSuspect struct {
	// limit is how often the message of a context may be delivered.
	limit func(context.Context) uint64

	mu      sync.Mutex
	verdict map[place]struct{}
}

// place names a message for as long as its stream exists.
type place struct {
	stream, consumer string
	sequence         uint64
}

func newCrashSuspect(limit func(context.Context) uint64) *crashSuspect {
	return &crashSuspect{limit: limit, verdict: map[place]struct{}{}}
}

func (c *crashSuspect) check(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		d, _ := DeliveryOf(m.Context())
		at := place{d.Stream, d.Consumer, d.Sequence}
		if d.Delivered > c.limit(m.Context()) && !c.known(at) {
			return nil, fault.New(fault.Permanent, ReasonCrashSuspect, "delivered %d times without an answer; set aside unread", d.Delivered).Because(errSuspect)
		}
		out, err := next(m)
		switch {
		case err == nil:
			c.forget(at)
		case !wasInterrupted(m.Context(), err): // an interruption is no verdict: the next delivery knows as little
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

// remember makes room by forgetting any one: the worst that follows is a dead letter with the less telling reason.
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
