package deprovisioner

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// feedSize is how many documents of the ledger are taken in at once.
	feedSize = 500
	// feedBytes bounds what the feed holds in memory.
	feedBytes = 8 << 20
	// feedGone is how long the broker keeps a feed that nobody reads any more. It counts them, and has a limit a stream.
	feedGone = 30 * time.Second
)

// document is one entry of the ledger as the feed delivers it; of a kind that a later version may know it is nil.
type document struct {
	subject  string
	sequence uint64
	// fence is the writer's, 0 when it was not a lane.
	fence    uint64
	document any
}

// feed delivers a connection's documents in their order, the present ones and then those to come.
type feed struct {
	documents chan any
	stop      func()
}

// mark is what a holder writes before it loads, under the lane's fence. The lane's own document is not in the feed.
type mark struct{}

// mark writes ours and returns where it is.
func (t *tenure) mark(ctx context.Context) (uint64, error) {
	subject := markSubject(t.rules.connection)
	written, err := t.store.commit(ctx, []save{{subject, mark{}}})
	t.know(place{subject, written[subject]})
	return written[subject], err
}

// openFeed starts reading at the floor.
func (t *tenure) openFeed(ctx context.Context) (*feed, error) {
	c := t.rules.connection
	consumer, err := t.feedJS.OrderedConsumer(ctx, streams.Ledger, jetstream.OrderedConsumerConfig{
		// One filter, whatever the kind. With several, the broker looks at each subject of a block for each message that it
		// delivers: 30,000 open requests took it 12 s instead of 1, which is the time that a take-over has.
		FilterSubjects:    []string{events.Subject(streams.LedgerSubject, "*", c, ">")},
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       max(1, t.told.Floor),
		InactiveThreshold: feedGone,
		// The library tries again under the same name for ever, and the broker keeps that name where it first put it: on a
		// node that is gone, perhaps. An error ends the tenure, and the next one reads under a new name.
		MaxResetAttempts: 1,
	})
	if err != nil {
		return nil, fault.New(fault.Transient, "ledger-unreadable", "read the ledger of %s", c).Because(err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(feedSize, feedBytes))
	if err != nil {
		return nil, fault.New(fault.Transient, "ledger-unreadable", "read the ledger of %s", c).Because(err)
	}
	reading, cancel := context.WithCancel(ctx)
	f := &feed{documents: make(chan any, feedSize), stop: func() { cancel(); messages.Stop() }}
	go f.read(reading, messages)
	return f, nil
}

// read passes documents on until the feed is stopped. An error is passed on too, and ends the tenure.
func (f *feed) read(ctx context.Context, messages jetstream.MessagesContext) {
	for {
		var item any
		msg, err := messages.Next()
		if err == nil {
			item, err = decodeDocument(msg)
		}
		if err != nil {
			item = err
		}
		select {
		case f.documents <- item:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// next is the next document, for loading.
func (f *feed) next(ctx context.Context) (document, error) {
	select {
	case item := <-f.documents:
		if err, failed := item.(error); failed {
			return document{}, err
		}
		return item.(document), nil
	case <-ctx.Done():
		return document{}, ctx.Err()
	}
}

func decodeDocument(msg jetstream.Msg) (document, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return document{}, fault.New(fault.Permanent, "ledger-corrupt", "a message without metadata").Because(err)
	}
	d := document{subject: msg.Subject(), sequence: meta.Sequence.Stream, fence: fenceOf(msg)}
	switch {
	case events.Tokens(streams.LedgerRequestSubject, d.subject) != nil:
		d.document, err = decodeAs[deprovision.Request](msg)
	case events.Tokens(streams.LedgerBatchSubject, d.subject) != nil:
		d.document, err = decodeAs[deprovision.Batch](msg)
	case events.Tokens(streams.LedgerCancelSubject, d.subject) != nil:
		d.document, err = decodeAs[deprovision.Cancel](msg)
	case events.Tokens(streams.LedgerDecisionSubject, d.subject) != nil:
		d.document, err = decodeAs[deprovision.Decision](msg)
	case events.Tokens(streams.LedgerLaneSubject, d.subject) != nil:
		d.document = mark{}
	}
	return d, err
}

// fenceOf is the fence under which a lane wrote the message; 0 when it was not a lane.
func fenceOf(msg jetstream.Msg) uint64 {
	fence, err := strconv.ParseUint(msg.Headers().Get(headerLane), 10, 64)
	if err != nil {
		return 0
	}
	return fence
}

func decodeAs[T any](msg jetstream.Msg) (any, error) {
	var out T
	if err := json.Unmarshal(msg.Data(), &out); err != nil {
		return nil, fault.New(fault.Permanent, "ledger-corrupt", "%s is not what this version writes", msg.Subject()).Because(err)
	}
	return out, nil
}
