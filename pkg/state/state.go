// Package state is small durable state under compare-and-set: one JSON document per key of the state bucket.
//
// A value is written only over the revision that was read. The loser of a race gets ErrConflict and must read
// again before it does anything else: this is what makes a lane safe when two processes believe they hold it.
// It is read from the leader: some decide by what a value does not say, and write nothing.
// Nothing is ever deleted: on a single node a deleted value can come back after a crash, so an end is a value too.
package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

// ErrConflict says that somebody else wrote the key since it was read.
var ErrConflict = errors.New("state: written by somebody else since it was read")

// Store is the state bucket.
type Store struct {
	kv   jetstream.KeyValue
	read Leader
}

// Leader reads the newest message of a subject as the stream's leader has it, nil when there is none; streams.At is one.
type Leader interface {
	Newest(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error)
}

// New returns a store that writes to kv and reads through read.
func New(kv jetstream.KeyValue, read Leader) *Store { return &Store{kv, read} }

// Open binds the bucket, which must exist.
func Open(ctx context.Context, js jetstream.JetStream) (*Store, error) {
	kv, err := js.KeyValue(ctx, streams.State)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", streams.State, err)
	}
	return New(kv, streams.At(js)), nil
}

// Get reads key into out and returns the revision to write over. A key that was never written, or was deleted, leaves
// out as it is; without any trace of it the revision is 0.
func (s *Store) Get(ctx context.Context, key string, out any) (revision uint64, err error) {
	msg, err := s.read.Newest(ctx, streams.StateStream, streams.StateSubject(key))
	switch {
	case err != nil:
		return 0, fault.New(fault.Transient, "state-unreadable", "read %s", key).Because(err)
	case msg == nil:
		return 0, nil
	case len(msg.Data) == 0: // somebody deleted it
		return msg.Sequence, nil
	}
	if err := json.Unmarshal(msg.Data, out); err != nil {
		return 0, fault.New(fault.Permanent, "state-corrupt", "key %s is not what this version writes", key).Because(err)
	}
	return msg.Sequence, nil
}

// Put writes value over the revision that was read, 0 for a new key, and returns the new revision. The error is
// ErrConflict when the key has moved on.
func (s *Store) Put(ctx context.Context, key string, value any, revision uint64) (uint64, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return 0, fmt.Errorf("encode %s: %w", key, err)
	}
	written, err := s.kv.Update(ctx, key, body, revision)
	switch {
	case err == nil:
		return written, nil
	case isConflict(err):
		return 0, ErrConflict
	default:
		return 0, fault.New(fault.Transient, "state-unwritable", "write %s", key).Because(err)
	}
}

// set writes value over anything, for the one who has the last word.
func (s *Store) set(ctx context.Context, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	if _, err := s.kv.Put(ctx, key, body); err != nil {
		return fault.New(fault.Transient, "state-unwritable", "write %s", key).Because(err)
	}
	return nil
}

func isConflict(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, jetstream.ErrKeyExists) || ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

// Modify reads key, lets change alter the value and writes it back, again and again until nobody was in between.
// An error of change ends it and writes nothing.
func Modify[T any](ctx context.Context, s *Store, key string, change func(*T) error) (T, error) {
	for {
		var value T
		revision, err := s.Get(ctx, key, &value)
		if err != nil {
			return value, err
		}
		if err := change(&value); err != nil {
			return value, err
		}
		if _, err = s.Put(ctx, key, value, revision); !errors.Is(err, ErrConflict) {
			return value, err
		}
	}
}
