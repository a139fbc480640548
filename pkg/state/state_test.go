package state_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const bucket = streams.State

type counter struct {
	N int `json:"n"`
}

func open(t *testing.T, js jetstream.JetStream) *state.Store {
	t.Helper()
	if _, err := js.CreateOrUpdateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	s, err := state.Open(t.Context(), js)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	s := open(t, js)
	ctx := t.Context()

	t.Run("a key that was never written leaves the value as it is", func(t *testing.T) {
		c := counter{N: 7}
		if revision, err := s.Get(ctx, "never", &c); revision != 0 || err != nil || c.N != 7 {
			t.Errorf("%d, %v, %+v", revision, err, c)
		}
	})

	t.Run("written over what was read", func(t *testing.T) {
		first, err := s.Put(ctx, "k", counter{N: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		second, err := s.Put(ctx, "k", counter{N: 2}, first)
		if err != nil || second <= first {
			t.Fatalf("%d after %d, %v", second, first, err)
		}
		var c counter
		if revision, err := s.Get(ctx, "k", &c); revision != second || err != nil || c.N != 2 {
			t.Errorf("%d, %v, %+v", revision, err, c)
		}
	})

	t.Run("written by somebody else in between", func(t *testing.T) {
		old, err := s.Put(ctx, "contested", counter{N: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(ctx, "contested", counter{N: 2}, old); err != nil {
			t.Fatal(err)
		}
		for name, revision := range map[string]uint64{"an older revision": old, "as if it were new": 0, "a revision to come": old + 1000} {
			if _, err := s.Put(ctx, "contested", counter{N: 3}, revision); !errors.Is(err, state.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
		}
		var c counter
		if _, err := s.Get(ctx, "contested", &c); err != nil || c.N != 2 {
			t.Errorf("%+v, %v", c, err)
		}
	})

	t.Run("a value that an operator deleted is as if it were new", func(t *testing.T) {
		written, err := s.Put(ctx, "deleted", counter{N: 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		kv, err := js.KeyValue(ctx, bucket)
		if err != nil {
			t.Fatal(err)
		}
		if err := kv.Delete(ctx, "deleted"); err != nil {
			t.Fatal(err)
		}
		c := counter{N: 7}
		revision, err := s.Get(ctx, "deleted", &c)
		if revision <= written || err != nil || c.N != 7 {
			t.Errorf("%d after %d, %v, %+v", revision, written, err, c)
		}
		if _, err := s.Put(ctx, "deleted", c, revision); err != nil {
			t.Error(err)
		}
	})

	t.Run("a value that this version does not write", func(t *testing.T) {
		kv, err := js.KeyValue(ctx, bucket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(ctx, "foreign", []byte(`["ada@example.com"`)); err != nil {
			t.Fatal(err)
		}
		var c counter
		_, err = s.Get(ctx, "foreign", &c)
		if fault.ReasonOf(err) != "state-corrupt" || fault.ClassOf(err) != fault.Permanent {
			t.Error(err)
		}
	})

	t.Run("a bucket that is not there is an error, not an empty one", func(t *testing.T) {
		if _, err := state.Open(ctx, natstest.Run(t).JetStream(t)); err == nil {
			t.Error("opened")
		}
	})
}

func TestModify_losesNoUpdate(t *testing.T) {
	t.Parallel()
	s := open(t, natstest.Run(t).JetStream(t))
	const writers, each = 8, 10
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := state.Modify(t.Context(), s, "n", func(c *counter) error { c.N++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var c counter
	if _, err := s.Get(t.Context(), "n", &c); err != nil || c.N != writers*each {
		t.Errorf("%d of %d updates are there, %v", c.N, writers*each, err)
	}
}

func TestModify_writesNothingWhenTheChangeRefuses(t *testing.T) {
	t.Parallel()
	s := open(t, natstest.Run(t).JetStream(t))
	refusal := errors.New("no")
	if _, err := state.Modify(t.Context(), s, "n", func(c *counter) error { c.N = 9; return refusal }); !errors.Is(err, refusal) {
		t.Error(err)
	}
	var c counter
	if revision, err := s.Get(t.Context(), "n", &c); revision != 0 || err != nil || c.N != 0 {
		t.Errorf("%d, %v, %+v", revision, err, c)
	}
}

func TestPaused(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	s := open(t, js)
	is := func(connection string, want bool) {
		t.Helper()
		if paused, err := state.Paused(t.Context(), streams.At(js), connection); err != nil || paused != want {
			t.Errorf("%s: %v, %v", connection, paused, err)
		}
	}
	is("acme", false)
	for _, want := range []bool{true, true, false, true} {
		if err := state.SetPaused(t.Context(), s, "acme", want, time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		is("acme", want)
	}
	is("other", false)
}

// A switch that cannot be read must not let a removal through.
func TestPaused_failsClosed(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js := server.JetStream(t)
	s := open(t, js)

	kv, err := js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "pause.corrupt", []byte("?")); err != nil {
		t.Fatal(err)
	}
	if paused, err := state.Paused(t.Context(), streams.At(js), "corrupt"); !paused || err == nil {
		t.Errorf("unreadable value: %v, %v", paused, err)
	}

	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if paused, err := state.Paused(ctx, streams.At(js), "acme"); !paused || err == nil || fault.ClassOf(err) != fault.Transient {
		t.Errorf("broker away: %v, %v", paused, err)
	}
	if _, err := s.Put(ctx, "k", counter{}, 0); err == nil || errors.Is(err, state.ErrConflict) || fault.ClassOf(err) != fault.Transient {
		t.Errorf("a write while the broker is away: %v", err)
	}
}
