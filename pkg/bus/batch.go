package bus

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
)

// maxBatch is the broker's default limit for one atomic batch, in messages.
const maxBatch = 1000

// turnWait is about how long a batch waits that the broker has no room for.
const turnWait = 20 * time.Millisecond

// PublishBatch stores all messages or none, in one write to the disk. They belong to one stream. More than a thousand
// go as several batches in order, each atomic by itself. Headers are sent as given.
//
// Repeating a batch that was stored although its confirmation got lost is success. The broker answers it with
// "duplicate id" and does not say which, so the messages are then written one by one: those that are there are dropped by their ids, and
// one that is not, because the caller batched differently this time, is stored instead of being lost.
func (p *Publisher) PublishBatch(ctx context.Context, msgs []*nats.Msg) error {
	for chunk := range slices.Chunk(msgs, maxBatch) {
		if err := p.publishChunk(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (p *Publisher) publishChunk(ctx context.Context, chunk []*nats.Msg) error {
	if len(chunk) == 1 {
		_, err := p.publish(ctx, chunk[0])
		return err
	}
	copies := make([]*nats.Msg, len(chunk)) // the library writes batch headers and a reply subject into its messages
	for i, msg := range chunk {
		copies[i] = clone(msg)
	}
	flow := jetstreamext.BatchFlowControl{AckFirst: true, AckTimeout: untilDeadline(ctx)}
	_, err := StoreBatch(ctx, p.conn.publishJS, copies, flow)
	if hasCode(err, codeBatchDuplicateMsgID) && allIdentified(chunk) {
		return p.publishEach(ctx, chunk)
	}
	return classify(chunk[0].Subject, err)
}

// StoreBatch stores all messages, or none, and writes batch headers and a reply subject into them. The broker has 50
// batches of one stream open at most and refuses a further one with its first message: then many write at the same
// time, and this one waits for its turn until ctx ends.
func StoreBatch(ctx context.Context, js jetstream.JetStream, msgs []*nats.Msg, opts ...jetstreamext.PublishMsgBatchOpt) (*jetstreamext.BatchAck, error) {
	for {
		ack, err := jetstreamext.PublishMsgBatch(ctx, js, msgs, opts...)
		if !hasCode(err, jetstreamext.JSErrCodeAtomicPublishTooManyInflight) || within(ctx.Done(), turnWait/2+rand.N(turnWait)) {
			return ack, err
		}
	}
}

func allIdentified(msgs []*nats.Msg) bool {
	return !slices.ContainsFunc(msgs, func(m *nats.Msg) bool { return m.Header.Get(nats.MsgIdHdr) == "" })
}

// untilDeadline bounds the one request of a batch that takes no context.
func untilDeadline(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return min(max(time.Until(deadline), time.Millisecond), requestTimeout)
	}
	return requestTimeout
}
