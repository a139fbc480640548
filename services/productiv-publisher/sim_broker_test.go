package publisher

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/streams"
)

// simStore is the streams as their readers see them.
type simStore struct{ w *simWorld }

func (s simStore) Read(_ context.Context, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for _, m := range s.replica(stream) {
			if m.Sequence >= sequence && matches(filter, m.Subject) && !yield(raw(m), nil) {
				return
			}
		}
	}
}

// replica is what the one who answers a read has of a stream: all of it, or less when it lags behind the leader.
func (s simStore) replica(stream string) []brokermodel.Message {
	all := slices.Clone(s.w.streams[stream].Messages())
	if len(all) > 0 && !s.w.calm && simulation.Chance(s.w, "a replica lags", 20) {
		return all[:s.w.Intn("has", len(all))]
	}
	return all
}

// Newest is the leader's answer.
func (s simStore) Newest(_ context.Context, stream, filter string) (*jetstream.RawStreamMsg, error) {
	if stream != streams.StateStream {
		return newest(s.w.streams[stream].Messages(), filter), nil
	}
	v, found := s.w.state.values[strings.TrimPrefix(filter, streams.StateSubject(""))]
	if !found {
		return nil, nil
	}
	return &jetstream.RawStreamMsg{Subject: filter, Sequence: v.revision, Data: v.body}, nil
}

func (s simStore) Count(_ context.Context, stream, filter string) (n int, err error) {
	for _, m := range s.w.streams[stream].Messages() {
		if matches(filter, m.Subject) {
			n++
		}
	}
	return n, nil
}

func (s simStore) Purge(_ context.Context, stream, filter string) error {
	s.w.streams[stream].Purge(func(m brokermodel.Message) bool { return matches(filter, m.Subject) })
	return nil
}

// newest is the last message whose subject matches filter.
func newest(messages []brokermodel.Message, filter string) *jetstream.RawStreamMsg {
	for _, m := range slices.Backward(messages) {
		if matches(filter, m.Subject) {
			return raw(m)
		}
	}
	return nil
}

func raw(m brokermodel.Message) *jetstream.RawStreamMsg {
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Header: m.Header, Data: m.Body}
}

// matches compares a subject with a filter that may have a * for a token.
func matches(filter, subject string) bool {
	for {
		f, restF, moreF := strings.Cut(filter, ".")
		s, restS, moreS := strings.Cut(subject, ".")
		if f != "*" && f != s || moreF != moreS {
			return false
		}
		if !moreF {
			return true
		}
		filter, subject = restF, restS
	}
}

// simState is a bucket: values under compare-and-set.
type simState struct {
	values map[string]simValue
	last   uint64
}

type simValue struct {
	body     []byte
	revision uint64
}

// simKV writes to the bucket, for a process or for nobody.
type simKV struct {
	jetstream.KeyValue
	state *simState
	p     *process
}

func (k simKV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.Update(ctx, key, value, k.state.values[key].revision)
}

func (k simKV) Update(_ context.Context, key string, value []byte, last uint64) (revision uint64, err error) {
	write := func() error {
		if k.state.values[key].revision != last {
			return &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}
		}
		k.state.last++
		revision = k.state.last
		k.state.values[key] = simValue{slices.Clone(value), revision}
		return nil
	}
	if k.p == nil {
		err = write()
		return revision, err
	}
	err = k.p.effect("state", func() error {
		err := write()
		k.p.w.note("state", string(value), fmt.Sprint(err))
		k.p.w.looked()
		return err
	})
	return revision, err
}
