package bus

import (
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"

	"github.com/seatwire/seatwire/pkg/fault"
)

// quietLog gives watermill a logger that tells no error texts, which may quote a vendor or a person's record, and
// nothing of each message: what became of one is logged by giveUpOrRetry, once.
type quietLog struct{ log *slog.Logger }

// handlerFailed is what watermill says of a failure that giveUpOrRetry has told already.
const handlerFailed = "Handler returned error"

var _ watermill.LoggerAdapter = quietLog{}

func (l quietLog) Error(msg string, err error, fields watermill.LogFields) {
	if msg == handlerFailed {
		return
	}
	l.log.Error(msg, append(attributes(fields), "error", fault.Text(err))...)
}

func (l quietLog) Info(msg string, fields watermill.LogFields) {
	l.log.Debug(msg, attributes(fields)...)
}

func (l quietLog) Debug(string, watermill.LogFields) {}

func (l quietLog) Trace(string, watermill.LogFields) {}

func (l quietLog) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return quietLog{l.log.With(attributes(fields)...)}
}

// attributes keeps what names a part of the program and drops ids, which foreign publishers choose.
func attributes(fields watermill.LogFields) []any {
	var kept []any
	for _, name := range []string{"handler_name", "topic", "subscriber_name"} {
		if value, ok := fields[name]; ok {
			kept = append(kept, name, value)
		}
	}
	return kept
}
