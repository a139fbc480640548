package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// settleWithin is for what was just restored to work: a cluster elects leaders first, and assigns consumers afterwards.
// A request to a group that has no leader yet is not answered, hence short attempts.
const (
	settleWithin  = time.Minute
	attemptWithin = 3 * time.Second
)

// Restore makes every stream of a backup, none of which may exist, with replicas copies of each on a cluster, and leaves
// every connection paused: those of the backup and those given.
//
// The state bucket comes first, and the pause is in it before there is anything else that a service could act on; the
// intakes and lanes come last. When it fails in between, nothing is taken back: services wait for what is missing.
func Restore(ctx context.Context, js jetstream.JetStream, dir string, replicas int, connections []string) (Manifest, error) {
	m, err := Open(dir)
	if err != nil {
		return m, err
	}
	bucket, ok := m.stream(streams.StateStream)
	if !ok {
		return m, fmt.Errorf("the backup has no %s", streams.StateStream)
	}
	if err := wantNone(ctx, js, m); err != nil {
		return m, err
	}
	if err := bring(ctx, js, bucket, dir, replicas); err != nil {
		return m, fmt.Errorf("%s: %w", bucket.Name, err)
	}
	m.Connections = slices.Compact(slices.Sorted(slices.Values(slices.Concat(m.Connections, connections))))
	for _, name := range m.Connections {
		if err := pause(ctx, js, name); err != nil {
			return m, fmt.Errorf("pause %s: %w", name, err)
		}
	}
	for _, s := range slices.Backward(m.Streams) {
		if s.Name == streams.StateStream {
			continue
		}
		if err := bring(ctx, js, s, dir, replicas); err != nil {
			return m, fmt.Errorf("%s: %w; what was restored before it stays: remove it before you try again", s.Name, err)
		}
	}
	return m, nil
}

// wantNone returns an error that names the streams of the backup which are there already.
func wantNone(ctx context.Context, js jetstream.JetStream, m Manifest) error {
	var there []string
	for _, s := range m.Streams {
		_, err := js.Stream(ctx, s.Name)
		switch {
		case err == nil:
			there = append(there, s.Name)
		case !errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("look for %s: %w", s.Name, err)
		}
	}
	if len(there) == 0 {
		return nil
	}
	return fmt.Errorf("a restore never overwrites, and NATS has these streams: %v; restore to an empty server, "+
		"or stop every service and remove them first", there)
}

// bring restores one stream and checks that it ends where its copy ends. replicas are this deployment's: a backup of a
// cluster fits a single server, and the other way round.
func bring(ctx context.Context, js jetstream.JetStream, s Stream, dir string, replicas int) error {
	var config map[string]json.RawMessage
	if err := json.Unmarshal(s.Description.Config, &config); err != nil {
		return err
	}
	config["num_replicas"], _ = json.Marshal(replicas) // a number always encodes
	changed, err := json.Marshal(config)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, filepath.Base(s.File)))
	if err != nil {
		return err
	}
	defer f.Close()
	now, err := restore(ctx, js.Conn(), s.Name, description{changed, s.Description.State}, f)
	if err != nil {
		return err
	}
	if now.LastSeq != s.LastSeq {
		return fmt.Errorf("it ends at sequence %d, where the backup ends at %d", now.LastSeq, s.LastSeq)
	}
	for name, floor := range s.Consumers {
		if err := settle(ctx, func(ctx context.Context) error { return goesOn(ctx, js, s.Name, name, floor) }); err != nil {
			return fmt.Errorf("consumer %s: %w", name, err)
		}
	}
	return nil
}

// goesOn checks that a consumer is there and goes on behind what was acknowledged. Whoever declared it before the cluster
// assigned it would make it begin anew.
func goesOn(ctx context.Context, js jetstream.JetStream, stream, name string, floor uint64) error {
	c, err := js.Consumer(ctx, stream, name)
	if err != nil {
		return err
	}
	info := c.CachedInfo()
	if info.Cluster != nil && info.Cluster.Leader == "" {
		return errors.New("it has no leader yet")
	}
	if have := info.AckFloor.Stream; have < floor {
		return fmt.Errorf("it goes on behind sequence %d, where the backup says %d", have, floor)
	}
	return nil
}

// pause stops removals on a connection.
func pause(ctx context.Context, js jetstream.JetStream, connection string) error {
	return settle(ctx, func(ctx context.Context) error {
		s, err := state.Open(ctx, js)
		if err != nil {
			return err
		}
		return state.SetPaused(ctx, s, connection, true, time.Now().UTC())
	})
}

// settle tries until it succeeds; its error is the last one.
func settle(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		attempt, cancelAttempt := context.WithTimeout(ctx, attemptWithin)
		err := try(attempt)
		cancelAttempt()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lookAgain):
		}
	}
}
