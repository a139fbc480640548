package streams

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// readBatch and readBytes bound what one read request may leave in memory.
	readBatch = 64
	readBytes = 4 << 20
)

// Store is what a stage asks of streams that others fill; At is the broker's.
type Store interface {
	Read(ctx context.Context, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error]
	Count(ctx context.Context, stream, filter string) (int, error)
	Purge(ctx context.Context, stream, filter string) error
}

type broker struct{ js jetstream.JetStream }

// At returns the broker's streams: Read, Count, and Purge, which frees what matches filter.
func At(js jetstream.JetStream) Store { return broker{js} }

func (b broker) Read(ctx context.Context, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return Read(ctx, b.js, stream, filter, sequence)
}

func (b broker) Count(ctx context.Context, stream, filter string) (int, error) {
	return Count(ctx, b.js, stream, filter)
}

func (b broker) Purge(ctx context.Context, stream, filter string) error {
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("purge %s: %w", stream, err)
	}
	return s.Purge(ctx, jetstream.WithPurgeSubject(filter))
}

// Read yields the messages of a stream whose subjects match filter, from sequence on, in stream order. It creates
// nothing at the broker. On a cluster it may be answered by a replica that lags a moment behind.
func Read(ctx context.Context, js jetstream.JetStream, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for next := max(sequence, 1); ; {
			before := next
			end, err := readSome(ctx, js, stream, filter, &next, yield)
			if err == nil && !end && next == before {
				// The library takes a broker that does not answer for one that has nothing.
				err = fault.New(fault.Transient, "stream-unreadable", "no answer while reading %s", stream)
			}
			if err != nil {
				yield(nil, err)
			}
			if end || err != nil {
				return
			}
		}
	}
}

// readSome yields one request's messages and moves next behind them. end is set when the broker said that there are no
// more, or nobody wants them.
func readSome(ctx context.Context, js jetstream.JetStream, stream, filter string, next *uint64, yield func(*jetstream.RawStreamMsg, error) bool) (end bool, err error) {
	batch, err := jetstreamext.GetBatch(ctx, js, stream, readBatch, jetstreamext.GetBatchSubject(filter),
		jetstreamext.GetBatchSeq(*next), jetstreamext.GetBatchMaxBytes(readBytes))
	if err != nil {
		return false, fault.New(fault.Transient, "stream-unreadable", "read %s", stream).Because(err)
	}
	for msg, err := range batch {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return true, nil
		}
		if err != nil {
			return false, fault.New(fault.Transient, "stream-unreadable", "read %s", stream).Because(err)
		}
		*next = msg.Sequence + 1
		if !yield(msg, nil) {
			return true, nil
		}
	}
	return false, nil
}

// Get returns the message of a subject that is a key, nil when there is none.
func Get(ctx context.Context, js jetstream.JetStream, stream, subject string) (*jetstream.RawStreamMsg, error) {
	return GetFrom(ctx, At(js), stream, subject)
}

// GetFrom is Get from a store.
func GetFrom(ctx context.Context, s Store, stream, subject string) (*jetstream.RawStreamMsg, error) {
	for msg, err := range s.Read(ctx, stream, subject, 1) {
		return msg, err
	}
	return nil, nil
}

// Count returns how many messages of a stream match filter, as the stream's leader sees it.
func Count(ctx context.Context, js jetstream.JetStream, stream, filter string) (int, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", stream, err)
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return 0, fmt.Errorf("count %s: %w", stream, err)
	}
	total := 0
	for _, n := range info.State.Subjects {
		total += int(n)
	}
	return total, nil
}

// Last returns the newest message whose subject matches filter, nil when there is none.
func Last(ctx context.Context, js jetstream.JetStream, stream, filter string) (*jetstream.RawStreamMsg, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("last of %s: %w", stream, err)
	}
	msg, err := s.GetLastMsgForSubject(ctx, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("last of %s: %w", stream, err)
	}
	return msg, nil
}
