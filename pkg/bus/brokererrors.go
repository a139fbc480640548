package bus

import (
	"context"
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
)

// Codes of the broker's API errors that the client library does not name.
const (
	codeStoreFailed         jetstream.ErrorCode = 10077 // the store refused; the description says which limit
	codeMaxPayload          jetstream.ErrorCode = 10054
	codeBatchNotEnabled     jetstream.ErrorCode = 10174
	codeBatchDuplicateMsgID jetstream.ErrorCode = 10201
)

// Descriptions that tell the refusals under codeStoreFailed apart; the broker gives them no code of their own.
const (
	perSubjectLimit = "maximum messages per subject exceeded"
	bytesLimit      = "maximum bytes exceeded"
	messagesLimit   = "maximum messages exceeded"
)

// reasonBroker is the reason of every failure that a moment's patience may cure.
const reasonBroker = "broker-unavailable"

// IsKeyExists reports whether a stream that keeps one message per subject refused a second one: the thing is already
// recorded, which to a repeated write means success.
func IsKeyExists(err error) bool { return refused(err, perSubjectLimit) }

// IsStreamFull reports whether a stream refused because it is full. Nothing was stored; try again later.
func IsStreamFull(err error) bool {
	return refused(err, bytesLimit) || refused(err, messagesLimit)
}

func refused(err error, limit string) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, limit)
}

func hasCode(err error, codes ...jetstream.ErrorCode) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	for _, c := range codes {
		if api.ErrorCode == c {
			return true
		}
	}
	return false
}

// classify is where an error of a publish is born. An error about a write that may have happened is transient too:
// every write has an id or a key, so writing again is safe.
func classify(subject string, err error) error {
	switch {
	case err == nil:
		return nil
	case IsKeyExists(err):
		return fault.New(fault.Permanent, "key-exists", "%s is already recorded", subject).Because(err)
	case IsStreamFull(err):
		return fault.New(fault.Transient, "stream-full", "the stream of %s is full", subject).Because(err)
	case hasCode(err, codeMaxPayload) || errors.Is(err, nats.ErrMaxPayload):
		return fault.New(fault.Permanent, "message-too-large", "a message to %s is over the broker's limit", subject).Because(err)
	case hasCode(err, jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return fault.New(fault.Transient, "sequence-conflict", "somebody else wrote to %s first", subject).Because(err)
	case hasCode(err, codeBatchNotEnabled):
		return fault.New(fault.Permanent, "batch-not-enabled", "the stream of %s takes no atomic batches", subject).Because(err)
	case errors.Is(err, context.Canceled):
		return err
	default:
		return fault.New(fault.Transient, reasonBroker, "the write to %s was not confirmed", subject).Because(err)
	}
}

// isHiccup reports whether err is our own broker being away for a moment. A vendor's failures are never one: how
// often a vendor is called is for the service to decide.
func isHiccup(err error) bool {
	if classified, ok := errors.AsType[*fault.Error](err); ok {
		return classified.Reason == reasonBroker
	}
	for _, hiccup := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, hiccup) {
			return true
		}
	}
	return false
}
