package bus

import (
	"context"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// groupMessages and groupBytes bound one group: below the broker's limit for a batch, and small enough that
	// nobody waits long for the others.
	groupMessages = 64
	groupBytes    = 8 << 20
)

// Group publishes to one stream what is waiting, together: callers that come while a write is under way share the
// next one. A broker that writes through to its disk does so once per atomic batch, so a group costs about as much as
// one message.
//
// Each caller waits for its own message and gets its own result. A group that the broker refuses as a whole, because
// one subject is taken or one id was seen, is written message by message.
type Group struct {
	publisher *Publisher
	waiting   chan *groupCall
	// turn holds one token: whoever has it writes for everybody who waits.
	turn chan struct{}
}

// groupCall is one caller's message, and where its result goes.
type groupCall struct {
	msg  *nats.Msg
	done chan groupResult
}

type groupResult struct {
	ack *jetstream.PubAck
	err error
}

// NewGroup returns a group for messages of one stream.
func NewGroup(p *Publisher) *Group {
	return &Group{publisher: p, waiting: make(chan *groupCall, groupMessages), turn: make(chan struct{}, 1)}
}

// PublishMsg is Publisher.PublishMsg, in company. The confirmation of a message that went in a batch says only that
// it is stored.
func (g *Group) PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (*jetstream.PubAck, error) {
	msg, err := newMsg(subject, id, header, body)
	if err != nil {
		return nil, err
	}
	call := &groupCall{msg: msg, done: make(chan groupResult, 1)}
	select {
	case g.waiting <- call:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		select {
		case r := <-call.done:
			return r.ack, r.err
		case g.turn <- struct{}{}:
			g.write(context.WithoutCancel(ctx))
			<-g.turn
		}
	}
}

// write takes everybody who waits, once. The writer's own end must not take the others along, so the context only
// carries values; the broker's request time-out bounds the call.
func (g *Group) write(ctx context.Context) {
	calls := g.take()
	if len(calls) == 0 {
		return
	}
	if len(calls) > 1 && g.together(ctx, calls) {
		return
	}
	for _, c := range calls {
		ack, err := g.publisher.publish(ctx, c.msg)
		c.done <- groupResult{ack, err}
	}
}

func (g *Group) take() (calls []*groupCall) {
	for size := 0; len(calls) < groupMessages && size < groupBytes; {
		select {
		case c := <-g.waiting:
			calls = append(calls, c)
			size += len(c.msg.Data)
		default:
			return calls
		}
	}
	return calls
}

// together writes one atomic batch, and reports whether that settled everybody.
func (g *Group) together(ctx context.Context, calls []*groupCall) bool {
	batch := make([]*nats.Msg, len(calls))
	for i, c := range calls {
		batch[i] = c.msg
	}
	if g.publisher.PublishBatch(ctx, batch) != nil {
		return false
	}
	for _, c := range calls {
		c.done <- groupResult{ack: &jetstream.PubAck{}}
	}
	return true
}
