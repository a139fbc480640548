package deprovisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// commitSize is how many documents go into one atomic batch; the broker's limit is 1000.
	commitSize = 400
	// commitBytes bounds one atomic batch, so that it passes quickly.
	commitBytes = 8 << 20
	// commitTimeout is for one atomic batch. Whoever waits longer holds the lane no more.
	commitTimeout = 10 * time.Second
	// askTimeout is for one question. One that was on its way when the connection broke is never answered, and a
	// take-over has no time to wait for that.
	askTimeout = 3 * time.Second
	// lagWait is the wait before another replica of the ledger is asked.
	lagWait = 50 * time.Millisecond
	// headerLane marks what a lane wrote, with the fence it wrote under: a lane skips its own echo.
	headerLane = "Seatwire-Lane"
)

// errLaneLost says that another replica took the lane. Nothing was written, and nothing more may be done.
var errLaneLost = fault.New(fault.Permanent, "lane-lost", "another replica works on this connection now")

func spentSubject(connection string) string {
	return events.Subject(streams.LedgerSpentSubject, connection)
}

func toldSubject(connection string) string {
	return events.Subject(streams.LedgerToldSubject, connection)
}

func laneSubject(connection string) string {
	return events.Subject(streams.LedgerLaneSubject, connection)
}

func markSubject(connection string) string {
	return events.Subject(streams.LedgerLaneSubject, connection, "mark")
}

// fencedStore writes a connection's documents, each write under the condition that the lane is still ours: the
// broker compares the sequence of the lane's own document with the fence. Who was frozen and woke up too late can
// read as much as he likes and writes nothing.
type fencedStore struct {
	js         jetstream.JetStream
	connection string
	// fence is the sequence of the lane's document that names us.
	fence uint64
}

// commit makes the documents durable, in their order, in as few atomic batches as possible, and returns where in the
// ledger each one is.
func (s fencedStore) commit(ctx context.Context, saves []save) (map[string]uint64, error) {
	written := make(map[string]uint64, len(saves))
	var chunk []*nats.Msg
	size := 0
	flush := func() error {
		last, err := s.write(ctx, chunk)
		for i, msg := range chunk {
			written[msg.Subject] = last - uint64(len(chunk)-1-i)
		}
		chunk, size = nil, 0
		return err
	}
	for _, document := range saves {
		msg, err := s.message(document)
		if err != nil {
			return nil, err
		}
		chunk, size = append(chunk, msg), size+len(msg.Data)
		if len(chunk) == commitSize || size > commitBytes {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return written, flush()
}

// last asks again when a replica answers that does not know the place yet, or none: the question was on its way when a
// connection broke. What a day's budget is spent on, read from a replica that lags behind, would be spent twice.
func (s fencedStore) last(ctx context.Context, subject string, out any, upTo place) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	for {
		asked, cancelAsk := context.WithTimeout(ctx, askTimeout)
		found, err := streams.LastOf(asked, s.js, streams.Ledger, []string{subject, upTo.subject})
		lost := asked.Err() != nil
		cancelAsk()
		if err != nil && !lost {
			return 0, fault.New(fault.Transient, "ledger-unreadable", "read the ledger").Because(err)
		}
		if there := found[upTo.subject]; there != nil && there.Sequence >= upTo.sequence {
			return decodeLast(found[subject], out)
		}
		select {
		case <-ctx.Done():
			return 0, fault.New(fault.Transient, "ledger-unreadable", "no replica of the ledger knows what is needed").Because(ctx.Err())
		case <-time.After(lagWait):
		}
	}
}

func (s fencedStore) message(document save) (*nats.Msg, error) {
	body, err := json.Marshal(document.document)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", document.subject, err)
	}
	fence := strconv.FormatUint(s.fence, 10)
	return &nats.Msg{Subject: document.subject, Data: body, Header: nats.Header{
		jetstream.ExpectedLastSubjSeqHeader:     {fence},
		jetstream.ExpectedLastSubjSeqSubjHeader: {laneSubject(s.connection)},
		headerLane:                              {fence},
	}}, nil
}

// chunks splits messages into atomic batches: few enough for the broker, and small enough to pass within commitTimeout.
func chunks(msgs []*nats.Msg) iter.Seq[[]*nats.Msg] {
	return func(yield func([]*nats.Msg) bool) {
		for len(msgs) > 0 {
			n, size := 0, 0
			for n < len(msgs) && n < commitSize && size < commitBytes {
				size += len(msgs[n].Data)
				n++
			}
			if !yield(msgs[:n]) {
				return
			}
			msgs = msgs[n:]
		}
	}
}

// write stores messages as one, and returns the sequence of the last.
func (s fencedStore) write(ctx context.Context, msgs []*nats.Msg) (uint64, error) {
	if len(msgs) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	last, err := publishAtomic(ctx, s.js, msgs)
	switch {
	case err == nil:
		return last, nil
	case isConflict(err):
		return 0, errLaneLost
	default:
		return 0, fault.New(fault.Transient, "ledger-unwritable", "write to the ledger of %s", s.connection).Because(err)
	}
}

// publishAtomic stores all messages or none, and returns the sequence of the last one; the others are right before it.
func publishAtomic(ctx context.Context, js jetstream.JetStream, msgs []*nats.Msg) (uint64, error) {
	if len(msgs) == 1 {
		ack, err := js.PublishMsg(ctx, msgs[0])
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	ack, err := bus.StoreBatch(ctx, js, msgs)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// isConflict reports whether a condition of a write did not hold.
func isConflict(err error) bool {
	for _, code := range []jetstream.ErrorCode{jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant} {
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == code {
			return true
		}
	}
	return false
}

// lastDocument reads the newest document of a subject into out, and returns its sequence; 0 when there is none.
func lastDocument(ctx context.Context, js jetstream.JetStream, subject string, out any) (uint64, error) {
	msg, err := streams.At(js).Newest(ctx, streams.Ledger, subject)
	if err != nil {
		return 0, fault.New(fault.Transient, "ledger-unreadable", "read the ledger").Because(err)
	}
	return decodeLast(msg, out)
}

// decodeLast decodes a document, and returns its sequence; 0 when there is none.
func decodeLast(msg *jetstream.RawStreamMsg, out any) (uint64, error) {
	if msg == nil {
		return 0, nil
	}
	if err := json.Unmarshal(msg.Data, out); err != nil {
		return 0, fault.New(fault.Permanent, "ledger-corrupt", "%s is not what this version writes", msg.Subject).Because(err)
	}
	return msg.Sequence, nil
}

// lastDocuments reads the newest documents of many subjects, by subject. Subjects without one are missing.
func lastDocuments[T any](ctx context.Context, js jetstream.JetStream, subjects []string) (map[string]T, error) {
	found := make(map[string]T, len(subjects))
	for chunk := range slices.Chunk(subjects, commitSize) {
		msgs, err := streams.LastOf(ctx, js, streams.Ledger, chunk)
		if err != nil {
			return nil, fault.New(fault.Transient, "ledger-unreadable", "read the ledger").Because(err)
		}
		for subject, msg := range msgs {
			var document T
			if _, err := decodeLast(msg, &document); err != nil {
				return nil, err
			}
			found[subject] = document
		}
	}
	return found, nil
}
