package bus

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/seatwire/seatwire/pkg/fault"
)

// limitTime ends the handler's context after d; 0 means never. Each call of a retried handler gets the whole time,
// because the message has its own context back afterwards. A handler that ignores its context runs on: MaxHold is the
// net below that.
func limitTime(d time.Duration) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		if d == 0 {
			return next
		}
		return func(m *message.Message) ([]*message.Message, error) {
			own := m.Context()
			limited, cancel := context.WithTimeout(own, d)
			defer cancel()
			m.SetContext(limited)
			defer m.SetContext(own)
			out, err := next(m)
			if err != nil && own.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) && errors.Is(err, context.DeadlineExceeded) {
				err = fault.New(fault.Transient, "handler-timeout", "the handler took longer than %s", d).Because(err)
			}
			return out, err
		}
	}
}
