package bus

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
)

// Reasons of dead letters; see CONTRACT section 4.
const (
	ReasonUndecodable  = "undecodable"
	ReasonRejected     = "rejected"
	ReasonExhausted    = "exhausted"
	ReasonPanic        = "panic"
	ReasonCrashSuspect = "crash-suspect"
)

// Headers that a dead letter adds to the original's.
const (
	HeaderDeadReason   = "Seatwire-Dead-Reason"
	HeaderDeadError    = "Seatwire-Dead-Error"
	HeaderDeadService  = "Seatwire-Dead-Service"
	HeaderDeadSubject  = "Seatwire-Dead-Subject"
	HeaderDeadSequence = "Seatwire-Dead-Sequence"
	HeaderDeadAttempts = "Seatwire-Dead-Attempts"
	HeaderDeadAt       = "Seatwire-Dead-At"

	// OriginalPrefix goes before the original's Nats-* headers, so that the broker does not act on them again; and before
	// its Status when the body is empty, which clients take for a line of the broker's: "404" would hide every dead letter
	// behind this one from who reads them.
	OriginalPrefix = "Seatwire-Orig-"
	statusHeader   = "Status"
)

const (
	unknownConnection = "unknown"
	maxErrorText      = 1 << 10 // bytes
)

// DeadLetters keeps messages that a stage gave up on, with their reason.
type DeadLetters struct {
	pub          *Publisher
	service      string
	connectionOf func(subject string) string
	now          func() time.Time
}

// NewDeadLetters returns the dead letters of one service. connectionOf names the connection that a subject belongs to.
func NewDeadLetters(pub *Publisher, service string, connectionOf func(subject string) string) *DeadLetters {
	return &DeadLetters{pub: pub, service: service, connectionOf: connectionOf, now: time.Now}
}

// Put stores a dead letter and returns when the broker confirmed it; only then may the original be acknowledged. After
// an error nothing is lost: the original comes back, and a second Put of the same message is dropped by its id. err may
// be nil; of its text only the classified part is kept.
func (l *DeadLetters) Put(ctx context.Context, d Delivery, body []byte, reason string, err error) error {
	_, perr := l.pub.PublishMsg(ctx, l.subject(d), l.id(d), l.header(d, body, reason, err), body)
	return perr
}

func (l *DeadLetters) subject(d Delivery) string {
	connection := l.connectionOf(d.Subject)
	if !events.LegalName(connection) {
		connection = unknownConnection
	}
	return events.Subject(events.DeadLetterSubject, l.service, connection)
}

// id holds the storing time too: a stream that was deleted and declared again counts from one, and its messages are
// others.
func (l *DeadLetters) id(d Delivery) string {
	return fmt.Sprintf("dead/%s/%s/%d/%d", l.service, d.Stream, d.Sequence, d.Time.UnixNano())
}

func (l *DeadLetters) header(d Delivery, body []byte, reason string, err error) nats.Header {
	h := make(nats.Header, len(d.Header)+8)
	for name, values := range d.Header {
		if strings.HasPrefix(name, reserved) || name == statusHeader && len(body) == 0 {
			name = OriginalPrefix + name
		}
		h[name] = append(h[name], slices.Clone(values)...)
	}
	h.Set(HeaderDeadReason, reason)
	h.Set(HeaderDeadError, shorten(err))
	h.Set(HeaderDeadService, l.service)
	h.Set(HeaderDeadSubject, d.Subject)
	h.Set(HeaderDeadSequence, strconv.FormatUint(d.Sequence, 10))
	h.Set(HeaderDeadAttempts, strconv.FormatUint(d.Delivered, 10))
	h.Set(HeaderDeadAt, l.now().UTC().Format(time.RFC3339))
	return h
}

// shorten cuts at a rune, so that the header stays UTF-8.
func shorten(err error) string {
	if err == nil {
		return ""
	}
	text := fault.Text(err)
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return strings.ToValidUTF8(text, "")
}
