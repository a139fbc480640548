package faultbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// A stream at its limit takes nothing more; who wants to write waits, and says so. With room again all goes on.
func TestLimits_fullStreams(t *testing.T) {
	t.Parallel()
	w := startWorld(t, draw(t, 500), Options{People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond})
	for range passes(2) {
		for _, stream := range []string{streams.Fetched, streams.Ledger, streams.Normalized, streams.Outcomes}[:2*often(2)] {
			w.round(func() {
				w.Stop(streams.Normalizer, 0) // or it would empty the fetched pages as they come
				defer w.Cont(streams.Normalizer, 0)
				defer w.limit(stream, max(1, w.stored(stream)))()
				w.Request("acme", "directory") // the first sweep may have been over already
				w.Await(startLimit, stream+" is full", func() bool { return w.refuses(stream) })
				w.pass()
			})
			found.fault(rowFull, 1)
			found.tests(backPressure, 1)
		}
	}
	w.judge()
}

// A dead letter that cannot be stored keeps its message where it was: nothing is acknowledged until there is room.
func TestLimits_fullDeadLetters(t *testing.T) {
	t.Parallel()
	const bad = 8
	w := startWorld(t, draw(t, 501), Options{People: 100})
	for range passes(2) {
		lift := w.limit(streams.DeadLetters, int64(w.letters+1))
		for range bad {
			w.put(subject(events.DeprovisionRequestedSubject, "globex", "hr"), &nats.Msg{Data: []byte("no event")})
		}
		w.round(func() {
			w.Await(startLimit, "the stage says that it waits", func() bool {
				return strings.Contains(w.replicas[streams.Deprovisioner][0].text(), "cannot store dead letters")
			})
			w.pass()
			found.tests(backPressure, bad)
			if waiting := w.unsettled(streams.Deprovision, streams.DeprovisionerIntake); waiting < bad-1 {
				found.violation(w.t, backPressure, "%d of %d messages wait whose dead letters could not be stored", waiting, bad-1)
			}
			lift()
		})
		w.letters += bad
		w.Await(syncLimit, "every dead letter is stored", func() bool { return len(w.deadLetters()) >= w.letters })
		found.fault(rowLettersFull, 1)
	}
	w.judge()
}

// limit sets how many messages a stream holds at most, until it is lifted.
func (b *Bench) limit(stream string, messages int64) (lift func()) {
	b.t.Helper()
	set := func(messages int64) {
		b.t.Helper()
		b.Await(startLimit, "the limit of "+stream+" is set", func() bool {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			defer cancel()
			s, err := b.js.Stream(ctx, stream)
			if err != nil {
				return false
			}
			config := s.CachedInfo().Config
			config.MaxMsgs = messages
			_, err = b.js.UpdateStream(ctx, config)
			return err == nil
		})
	}
	set(messages)
	return func() { set(-1) }
}

func (b *Bench) state(stream string) (state jetstream.StreamInfo, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	s, err := b.js.Stream(ctx, stream)
	if err != nil {
		return state, false
	}
	return *s.CachedInfo(), true
}

func (b *Bench) stored(stream string) int64 {
	info, _ := b.state(stream)
	return int64(info.State.Msgs)
}

// refuses reports whether a stream holds all that it may.
func (b *Bench) refuses(stream string) bool {
	info, ok := b.state(stream)
	return ok && info.Config.MaxMsgs > 0 && int64(info.State.Msgs) >= info.Config.MaxMsgs
}

// unsettled is how many messages a durable has before it or in hand.
func (b *Bench) unsettled(stream, durable string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := b.js.Consumer(ctx, stream, durable)
	if err != nil {
		return 0
	}
	return int(c.CachedInfo().NumPending) + c.CachedInfo().NumAckPending
}

// The disk of the server is full while everything is at work. The server gives JetStream up then, and has to be started
// again with room; nothing that it had confirmed is gone.
func TestLimits_fullDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 96<<20)
	w := startWorld(t, draw(t, 502), Options{People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond, StoreDir: func() string { return disk }})
	for i := range passes(1) {
		person, err := w.pluralsight.AddPerson(w.connection, newcomer(w.newAddress(w.rng, w.connection), 0))
		if err != nil {
			t.Fatal(err)
		}
		last := leaver{"hr", fmt.Sprintf("full-disk-%d", i), person} // the same event until it is refused
		w.want(last)
		w.round(func() {
			filler := filepath.Join(disk, "filler")
			fill(t, filler)
			found.tests(backPressure, 1)
			w.Await(startLimit, "a publisher is refused", func() bool { return !w.takes(last) })
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			w.KillNATS()
			w.RestartNATS()
		})
		found.fault(rowDiskFull, 1)
	}
	w.judge()
}

// takes publishes a request and reports whether the broker confirmed it.
func (w *world) takes(r leaver) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := w.js.PublishMsg(ctx, r.message(w.connection, w.began))
	return err == nil
}

// smallDisk is a file system of its own.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	unmount, err := mount(dir, size)
	if err != nil {
		t.Skipf("a full disk needs a file system of its own: %v", err)
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes until nothing more goes in.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		switch _, err := f.Write(make([]byte, size)); {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			t.Fatalf("fill the disk: %v", err)
		}
	}
}
