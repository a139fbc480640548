package bus

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// hiccupPauses are the waits before the second and third call. Anything longer is for redelivery, which does not hold
// a slot.
var hiccupPauses = []time.Duration{100 * time.Millisecond, 300 * time.Millisecond}

// retryHiccups calls the handler again when our own broker was away for a moment, so that it costs no delivery. It
// never repeats anything else: how often a vendor is called is for the service to decide.
func retryHiccups(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		out, err := next(m)
		for _, pause := range hiccupPauses {
			if err == nil || !isHiccup(err) || within(m.Context().Done(), pause) {
				break
			}
			out, err = next(m)
		}
		return out, err
	}
}
