package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// readBatch and readBytes bound what one read request may leave in memory.
	readBatch = 64
	readBytes = 4 << 20
	// readTimeout is for one read request, askTimeout for one that has one message for an answer: as long as the client
	// gives any other question of one answer.
	readTimeout = 10 * time.Second
	askTimeout  = 5 * time.Second
)

// Store is what a stage asks of streams that others fill; At is the broker's.
type Store interface {
	Read(ctx context.Context, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error]
	Count(ctx context.Context, stream, filter string) (int, error)
	Purge(ctx context.Context, stream, filter string) error
	Newest(ctx context.Context, stream, filter string) (*jetstream.RawStreamMsg, error)
}

type broker struct{ js jetstream.JetStream }

// At returns the broker's streams: Read, Count, Newest, and Purge, which frees what matches filter.
func At(js jetstream.JetStream) Store { return broker{js} }

func (b broker) Read(ctx context.Context, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return Read(ctx, b.js, stream, filter, sequence)
}

func (b broker) Count(ctx context.Context, stream, filter string) (int, error) {
	return Count(ctx, b.js, stream, filter)
}

// Newest returns the newest message whose subject matches filter, nil when there is none: as the stream's leader has it.
func (b broker) Newest(ctx context.Context, stream, filter string) (*jetstream.RawStreamMsg, error) {
	return askLeader(ctx, b.js, stream, map[string]any{"last_by_subj": filter})
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
//
// It is for streams that only we write: the broker adds what it knows of a message to the headers of its producer, who
// may have written the same ones before. Where strangers write, Next reads.
func Read(ctx context.Context, js jetstream.JetStream, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for next := max(sequence, 1); ; {
			before := next
			end, err := readSome(ctx, js, stream, filter, &next, yield)
			if err == nil && !end && next == before {
				// The library takes a broker that does not answer for one that has nothing.
				err = unreadable(stream, errNoAnswer)
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
	ctx, cancel := context.WithTimeout(ctx, readTimeout) // or the library waits as long as for a connection
	defer cancel()
	batch, err := jetstreamext.GetBatch(ctx, js, stream, readBatch, jetstreamext.GetBatchSubject(filter),
		jetstreamext.GetBatchSeq(*next), jetstreamext.GetBatchMaxBytes(readBytes))
	if err != nil {
		return false, unreadable(stream, err)
	}
	for msg, err := range whole(batch) {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return true, nil
		}
		if err != nil {
			return false, unreadable(stream, err)
		}
		*next = msg.Sequence + 1
		if !yield(msg, nil) {
			return true, nil
		}
	}
	return false, nil
}

// whole yields an answer's parts until one is missing: a connection that breaks takes some along, and the rest may come
// by the next one. Of those at the end it knows nothing.
func whole(parts iter.Seq2[*jetstream.RawStreamMsg, error]) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		before := uint64(0)
		for msg, err := range parts {
			if err == nil && msg.Header.Get("Nats-Last-Sequence") != strconv.FormatUint(before, 10) {
				err = errPartLost
			}
			if !yield(msg, err) || err != nil {
				return
			}
			before = msg.Sequence
		}
	}
}

// Why an answer is not one.
var (
	errNoAnswer = errors.New("no answer")
	errPartLost = errors.New("a part of the answer got lost on its way")
)

func unreadable(stream string, cause error) error {
	return fault.New(fault.Transient, "stream-unreadable", "read %s", stream).Because(cause)
}

// Next returns the first message from sequence on whose subject matches filter, nil when there is none: as the stream's
// leader has it, and whatever its producer wrote into its headers. Headers that cannot be read are left out.
func Next(ctx context.Context, js jetstream.JetStream, stream, filter string, sequence uint64) (*jetstream.RawStreamMsg, error) {
	return askLeader(ctx, js, stream, map[string]any{"seq": max(sequence, 1), "next_by_subj": filter})
}

// askLeader returns the message that the request names, nil when there is none.
func askLeader(ctx context.Context, js jetstream.JetStream, stream string, request map[string]any) (*jetstream.RawStreamMsg, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", stream, err)
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	answer, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, body)
	if err != nil {
		return nil, unreadable(stream, err)
	}
	var found struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &found); err != nil {
		return nil, unreadable(stream, err)
	}
	if found.Error != nil && found.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return nil, nil
	}
	if found.Error != nil {
		return nil, unreadable(stream, found.Error)
	}
	m := found.Message
	header, _ := nats.DecodeHeadersMsg(m.Header)
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Header: header, Data: m.Data, Time: m.Time}, nil
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

// LastOf returns the newest messages of some subjects, by subject, as one replica has them at one moment; those without
// any are missing.
func LastOf(ctx context.Context, js jetstream.JetStream, stream string, subjects []string) (map[string]*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	parts, err := jetstreamext.GetLastMsgsFor(ctx, js, stream, subjects)
	if err != nil {
		return nil, unreadable(stream, err)
	}
	found := make(map[string]*jetstream.RawStreamMsg, len(subjects))
	missing := "some"
	for msg, err := range whole(parts) {
		if errors.Is(err, jetstreamext.ErrNoMessages) && len(found) == 0 {
			return found, nil
		}
		if err != nil {
			return nil, unreadable(stream, err)
		}
		found[msg.Subject], missing = msg, msg.Header.Get("Nats-Num-Pending")
	}
	if missing != "0" {
		return nil, unreadable(stream, errPartLost)
	}
	return found, nil
}
