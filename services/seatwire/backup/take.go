package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// tries is how often a copy is made again because somebody wrote in between, and tryEvery the wait before.
	tries    = 40
	tryEvery = 250 * time.Millisecond
)

// order is the order of the copies. An intake comes before what it feeds: what was acknowledged before its copy has left
// its effect in a later one. The state comes before all that it names by number or sequence.
var order = []string{
	streams.Sync, streams.Deprovision, streams.Advisories,
	streams.StateStream, streams.Plans, streams.Owned,
	streams.Sweeps, streams.Fetched, streams.Normalized, streams.Swept,
	streams.Ledger, streams.Outcomes, streams.DeadLetters,
}

// rewritten are the streams in which a document replaces its last version. The server copies what it finds on its way,
// up to the last sequence at the beginning: a document that is replaced meanwhile is in no copy, and the copy is no good.
var rewritten = []string{streams.StateStream, streams.Ledger}

// still are the streams that must not lose a message between the beginning and their own copies, and those of them that
// must not get one either: the state names plans and generations of owners, which are purged once it names others; and a
// dead letter that is replayed goes back to the front, which is copied already.
var still = map[string]struct{ grow bool }{streams.Plans: {}, streams.Owned: {}, streams.DeadLetters: {grow: true}}

// errMoved says that a copy does not fit the others. Another attempt may.
var errMoved = errors.New("it was written to in between")

// Take copies everything in the topology to dir, which must not exist. Nothing is there until all of it is. The services
// may run; when they write without a break where the copies need one, Take fails in the end and says where.
func Take(ctx context.Context, js jetstream.JetStream, t streams.Topology, connections []string, dir string) (Manifest, error) {
	if err := covers(order, names(t)); err != nil {
		return Manifest{}, err
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return Manifest{}, fmt.Errorf("%s is there already, and a backup never overwrites", dir)
	}
	build := process.ReadBuild()
	m := Manifest{
		Format: format, Version: build.Version, Revision: build.Revision, Server: js.Conn().ConnectedServerVersion(), Connections: connections,
	}
	parent, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+"-")
	if err != nil {
		return Manifest{}, err
	}
	defer os.RemoveAll(parent)
	err = again(ctx, func() error {
		whole := filepath.Join(parent, "whole")
		if err := errors.Join(os.RemoveAll(whole), os.Mkdir(whole, 0o700)); err != nil {
			return err
		}
		return take(ctx, js, &m, whole)
	})
	if err != nil {
		return Manifest{}, err
	}
	return m, os.Rename(filepath.Join(parent, "whole"), dir)
}

// names are the streams of a topology, those of its buckets included.
func names(t streams.Topology) (all []string) {
	for _, s := range t.Streams {
		all = append(all, s.Name)
	}
	for _, b := range t.Buckets {
		all = append(all, "KV_"+b.Bucket)
	}
	return all
}

// covers returns an error for a stream that has no place in the order: it must get one when it is declared.
func covers(order, declared []string) error {
	for _, name := range declared {
		if !slices.Contains(order, name) {
			return fmt.Errorf("stream %s has no place in the order of a backup", name)
		}
	}
	return nil
}

// again tries until it succeeds, fails for good, or was tried often enough.
func again(ctx context.Context, try func() error) error {
	for n := 1; ; n++ {
		err := try()
		if err == nil || !errors.Is(err, errMoved) {
			return err
		}
		if n == tries {
			//nolint:errorlint // not wrapped: whoever calls this within another attempt must not try again
			return fmt.Errorf("%s, %d times in a row: take the backup at a quieter moment, or stop the services for it", err, n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tryEvery):
		}
	}
}

// take copies all streams and writes the manifest last.
func take(ctx context.Context, js jetstream.JetStream, m *Manifest, dir string) error {
	m.Started, m.Streams = time.Now().UTC(), nil
	before := map[string]jetstream.StreamState{}
	for name := range still {
		s, err := js.Stream(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		before[name] = s.CachedInfo().State
	}
	for _, name := range order {
		s, err := copyOf(ctx, js, name, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if rule, watched := still[name]; watched && moved(before[name], s, rule.grow) {
			return fmt.Errorf("%s: %w", name, errMoved)
		}
		m.Streams = append(m.Streams, s)
	}
	m.Finished = time.Now().UTC()
	body, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, manifestFile), func(w io.Writer) error {
		_, err := w.Write(append(body, '\n'))
		return err
	})
}

// moved reports whether messages left a stream since before, or came when it may not grow.
func moved(before jetstream.StreamState, s Stream, grow bool) bool {
	gone := func(last, messages uint64) uint64 { return last - messages }
	return gone(before.LastSeq, before.Msgs) != gone(s.LastSeq, s.Messages) || !grow && before.LastSeq != s.LastSeq
}

// copyOf copies one stream, a rewritten one until nothing was replaced meanwhile.
func copyOf(ctx context.Context, js jetstream.JetStream, name, dir string) (s Stream, err error) {
	err = again(ctx, func() error {
		if s, err = copyOnce(ctx, js, name, dir); err != nil {
			return err
		}
		state, err := s.state()
		if err == nil && slices.Contains(rewritten, name) && s.Messages != state.Msgs {
			return errMoved
		}
		return err
	})
	return s, err
}

func copyOnce(ctx context.Context, js jetstream.JetStream, name, dir string) (Stream, error) {
	s := Stream{Name: name, File: name + ".s2"}
	file, hash := filepath.Join(dir, s.File), sha256.New()
	err := write(file, func(w io.Writer) (err error) {
		s.Description, err = snapshot(ctx, js.Conn(), name, io.MultiWriter(w, hash))
		return err
	})
	if err != nil {
		return s, err
	}
	f, err := os.Open(file)
	if err != nil {
		return s, err
	}
	defer f.Close()
	held, err := read(f)
	if err != nil {
		return s, err
	}
	info, err := f.Stat()
	if err != nil {
		return s, err
	}
	state, err := s.state()
	s.SHA256, s.Bytes, s.Messages, s.Consumers = hex.EncodeToString(hash.Sum(nil)), info.Size(), held.messages, held.consumers
	s.FirstSeq, s.LastSeq = state.FirstSeq, state.LastSeq
	return s, err
}

// write makes a file durable, or none.
func write(file string, fill func(io.Writer) error) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Sync()); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
