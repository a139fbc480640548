package bus

import (
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/seatwire/seatwire/pkg/fault"
)

// recoverPanic makes a panic of the handler a failure like others. The value may quote what was being handled, so only
// its type is told; the stack goes to the log, which names functions and no contents.
func recoverPanic(log *slog.Logger) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(m *message.Message) (out []*message.Message, err error) {
			defer func() {
				if value := recover(); value != nil {
					log.ErrorContext(m.Context(), "handler panicked", "handler", message.HandlerNameFromCtx(m.Context()), "stack", string(debug.Stack()))
					out, err = nil, panicError(value)
				}
			}()
			return next(m)
		}
	}
}

func panicError(value any) error {
	cause := errPanic
	if err, ok := value.(error); ok {
		cause = errors.Join(errPanic, err)
	}
	return fault.New(fault.Transient, ReasonPanic, "the handler panicked with a %T", value).Because(cause)
}

var errPanic = errors.New("panic")

func isPanic(err error) bool { return errors.Is(err, errPanic) }
