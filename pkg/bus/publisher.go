package bus

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
)

// expected begins the only headers of the broker that a caller may set: conditions on a write.
const expected = "Nats-Expected-"

// attemptTimeout bounds one attempt of a publish. A broker that writes through to a slow disk answers in well under a
// second.
const attemptTimeout = 3 * time.Second

// Publisher writes to streams. Each message has an id that follows from what it says, so that a repeat inside the
// stream's duplicate window is dropped by the broker; beyond the window only a key, one message per subject, does.
type Publisher struct {
	conn *Conn
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher returns a publisher on the connection, which stays the caller's.
func NewPublisher(conn *Conn) *Publisher { return &Publisher{conn: conn} }

// PublishMsg stores one message and returns the broker's confirmation. Headers beginning with Nats- are left out, for
// they may come from somebody else's message; only Nats-Expected-* conditions are sent.
func (p *Publisher) PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (*jetstream.PubAck, error) {
	msg, err := newMsg(subject, id, header, body)
	if err != nil {
		return nil, err
	}
	return p.publish(ctx, msg)
}

func newMsg(subject, id string, header nats.Header, body []byte) (*nats.Msg, error) {
	if id == "" {
		return nil, fault.New(fault.Permanent, "no-message-id", "a message to %s has no id", subject)
	}
	msg := &nats.Msg{Subject: subject, Header: outgoing(header), Data: body}
	msg.Header.Set(nats.MsgIdHdr, id)
	return msg, nil
}

// publish asks again when an attempt stays without an answer, as the one does that reached a leader in its last
// moment: the next leader answers within seconds, and drops by its id what was stored after all. A conditional write
// is tried once, because its own success would look like somebody else's.
func (p *Publisher) publish(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout) // an earlier deadline of the caller's stands
	defer cancel()
	for began := time.Now(); ; {
		ack, err := p.attempt(ctx, msg)
		if err != nil && p.conn.health.deniedSince(msg.Subject, began) {
			return nil, errDenied("publish to " + msg.Subject).Because(err)
		}
		if unanswered := errors.Is(err, context.DeadlineExceeded); !unanswered || ctx.Err() != nil || isConditional(msg) {
			return ack, classify(msg.Subject, err)
		}
	}
}

func (p *Publisher) attempt(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	if !isConditional(msg) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, attemptTimeout)
		defer cancel()
	}
	return p.conn.publishJS.PublishMsg(ctx, msg)
}

func isConditional(msg *nats.Msg) bool {
	for name := range msg.Header {
		if strings.HasPrefix(name, expected) {
			return true
		}
	}
	return false
}

// Publish is watermill's: the topic is the subject, and several messages are one atomic batch where the stream allows
// it. The id is the metadata's Nats-Msg-Id, or follows from subject and UUID; a message with neither is refused.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	var batch []*nats.Msg
	for _, m := range messages {
		msg, err := identified(topic, m)
		if err != nil {
			return err
		}
		batch = append(batch, msg)
	}
	ctx := context.Background() // watermill's interface has none; the request time-out bounds each call
	err := p.PublishBatch(ctx, batch)
	if hasCode(err, codeBatchNotEnabled) {
		return p.publishEach(ctx, batch)
	}
	return err
}

func identified(subject string, m *message.Message) (*nats.Msg, error) {
	msg, err := marshal(subject, m)
	if err != nil {
		return nil, fault.New(fault.Permanent, "unmarshallable", "a message to %s cannot be encoded", subject).Because(err)
	}
	id := m.Metadata.Get(nats.MsgIdHdr)
	if id == "" && m.UUID != "" {
		id = subject + "/" + m.UUID
	}
	if id == "" {
		return nil, fault.New(fault.Permanent, "no-message-id", "a message to %s has no id", subject)
	}
	msg.Header = outgoing(msg.Header)
	msg.Header.Set(nats.MsgIdHdr, id)
	return msg, nil
}

// publishEach writes in order; after a failure the messages before it are stored, and a repeat drops them by id.
func (p *Publisher) publishEach(ctx context.Context, batch []*nats.Msg) error {
	for _, msg := range batch {
		if _, err := p.publish(ctx, msg); err != nil {
			return err
		}
	}
	return nil
}

// Close does nothing: the connection is shared, and its owner closes it.
func (p *Publisher) Close() error { return nil }

func outgoing(header nats.Header) nats.Header {
	out := make(nats.Header, len(header)+1)
	for name, values := range header {
		if !strings.HasPrefix(name, reserved) || strings.HasPrefix(name, expected) {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

func clone(msg *nats.Msg) *nats.Msg {
	header := make(nats.Header, len(msg.Header)+3)
	maps.Copy(header, msg.Header)
	return &nats.Msg{Subject: msg.Subject, Header: header, Data: msg.Data}
}
