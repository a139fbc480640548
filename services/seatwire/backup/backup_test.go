package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = time.Minute

func topology(replicas int) streams.Topology {
	return streams.For(&config.Config{NATS: config.NATS{Replicas: replicas}, Connections: []config.Connection{{Name: "acme"}}})
}

// declared gives a server the topology and something of everything: some requests, half of them acknowledged.
func declared(t *testing.T, js jetstream.JetStream, replicas int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := streams.Ensure(ctx, js, topology(replicas)); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		put(t, js, events.Subject(events.SyncRequestedSubject, "acme"), "ask")
		put(t, js, events.Subject(streams.LedgerRequestSubject, "acme", fmt.Sprint(n%5)), strings.Repeat("x", 200<<10)) // more than one chunk
	}
	consumer, err := js.Consumer(ctx, streams.Sync, streams.FetcherIntake)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := consumer.Fetch(5)
	if err != nil {
		t.Fatal(err)
	}
	for msg := range batch.Messages() {
		if err := msg.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func put(t *testing.T, js jetstream.JetStream, subject, body string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func taken(t *testing.T, js jetstream.JetStream, replicas int) (string, Manifest) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backup")
	m, err := Take(t.Context(), js, topology(replicas), []string{"acme"}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, m
}

func paused(t *testing.T, js jetstream.JetStream, connection string) bool {
	t.Helper()
	yes, err := state.Paused(t.Context(), streams.At(js), connection)
	if err != nil {
		t.Fatal(err)
	}
	return yes
}

// wantRestored checks that a server has everything: messages, sequences, and a durable that goes on where it was.
func wantRestored(t *testing.T, js jetstream.JetStream, m Manifest, replicas int) {
	t.Helper()
	if len(m.Streams) != len(names(topology(replicas))) {
		t.Errorf("%d streams in the backup", len(m.Streams))
	}
	for _, s := range m.Streams {
		if s.Name == streams.StateStream { // the pause is written on top
			continue
		}
		have, err := js.Stream(t.Context(), s.Name)
		if err != nil {
			t.Errorf("%s: %v", s.Name, err)
			continue
		}
		info := have.CachedInfo()
		if info.State.Msgs != s.Messages || info.State.LastSeq != s.LastSeq || info.Config.Replicas != replicas {
			t.Errorf("%s: %d messages to %d on %d replicas, the backup has %d to %d", s.Name, info.State.Msgs, info.State.LastSeq,
				info.Config.Replicas, s.Messages, s.LastSeq)
		}
	}
	if err := streams.Verify(t.Context(), js, topology(replicas)); err != nil {
		t.Error(err)
	}
	natstest.Eventually(t, patience, "the 5 messages that were not acknowledged wait for the intake", func(ctx context.Context) bool {
		ctx, cancel := context.WithTimeout(ctx, attemptWithin)
		defer cancel()
		consumer, err := js.Consumer(ctx, streams.Sync, streams.FetcherIntake)
		return err == nil && consumer.CachedInfo().NumPending == 5 && consumer.CachedInfo().AckFloor.Stream == 5
	})
}

func TestRestore_bringsEverythingAndPauses(t *testing.T) {
	t.Parallel()
	from, to := natstest.Run(t).JetStream(t), natstest.Run(t).JetStream(t)
	declared(t, from, 1)
	s, err := state.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	if err := state.SetPaused(t.Context(), s, "acme", false, time.Now()); err != nil {
		t.Fatal(err)
	}
	dir, m := taken(t, from, 1)
	if _, err := Restore(t.Context(), to, dir, 1, []string{"globex"}); err != nil {
		t.Fatal(err)
	}
	wantRestored(t, to, m, 1)
	if paused(t, from, "acme") || !paused(t, to, "acme") || !paused(t, to, "globex") {
		t.Error("paused where it was taken, or not paused where it was restored")
	}
	if _, err := Restore(t.Context(), to, dir, 1, nil); err == nil || !strings.Contains(err.Error(), "never overwrites") {
		t.Errorf("restored over what was there: %v", err)
	}
}

// A backup of a cluster fits a single server, and the other way round.
func TestRestore_betweenAClusterAndOneServer(t *testing.T) {
	t.Parallel()
	cluster, single := natstest.RunCluster(t).JetStream(t), natstest.Run(t).JetStream(t)
	declared(t, cluster, 3)
	dir, m := taken(t, cluster, 3)
	if _, err := Restore(t.Context(), single, dir, 1, nil); err != nil {
		t.Fatal(err)
	}
	wantRestored(t, single, m, 1)

	another := natstest.RunCluster(t).JetStream(t)
	dir, m = taken(t, single, 1)
	if _, err := Restore(t.Context(), another, dir, 3, nil); err != nil {
		t.Fatal(err)
	}
	wantRestored(t, another, m, 3)
	if !paused(t, another, "acme") {
		t.Error("not paused")
	}
}

// A document that is replaced while it is copied must not be missing in the copy.
func TestTake_missesNoDocumentThatIsReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	from, to := natstest.Run(t).JetStream(t), natstest.Run(t).JetStream(t)
	declared(t, from, 1)
	const documents = 300
	for n := range documents {
		put(t, from, events.Subject(streams.LedgerBatchSubject, "acme", fmt.Sprint(n)), "sealed")
	}
	// The writer pauses now and then, or no copy would be whole, which Take would say.
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		rest := time.NewTicker(300 * time.Millisecond)
		defer rest.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = from.Publish(ctx, events.Subject(streams.LedgerBatchSubject, "acme", fmt.Sprint(n%documents)), []byte("again"))
			if n%documents == documents-1 {
				select {
				case <-ctx.Done():
				case <-rest.C:
				}
			}
		}
	}()
	defer func() { stop(); <-done }()
	dir, _ := taken(t, from, 1)
	if _, err := Restore(t.Context(), to, dir, 1, nil); err != nil {
		t.Fatal(err)
	}
	n, err := streams.Count(t.Context(), to, streams.Ledger, events.Subject(streams.LedgerBatchSubject, "acme", "*"))
	if err != nil || n != documents {
		t.Errorf("%d of %d documents were restored: %v", n, documents, err)
	}
}

func TestTake_isWholeOrFails(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	dir := filepath.Join(t.TempDir(), "backup")
	if _, err := Take(t.Context(), js, topology(1), nil, dir); err == nil {
		t.Error("a backup of nothing")
	}
	declared(t, js, 1)
	if err := js.DeleteStream(t.Context(), streams.DeadLetters); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), js, topology(1), nil, dir); err == nil || !strings.Contains(err.Error(), streams.DeadLetters) {
		t.Errorf("a backup without a stream: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) > 0 {
		t.Errorf("%d entries left behind, %v", len(left), err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Take(t.Context(), js, topology(1), nil, dir); err == nil || !strings.Contains(err.Error(), "never overwrites") {
		t.Errorf("a backup over a directory: %v", err)
	}
}

func TestRestore_refusesWhatIsNotTheBackup(t *testing.T) {
	t.Parallel()
	from, to := natstest.Run(t).JetStream(t), natstest.Run(t).JetStream(t)
	declared(t, from, 1)
	damage := map[string]func(dir string) error{
		"a byte": func(dir string) error {
			return edit(filepath.Join(dir, streams.Ledger+".s2"), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"the end": func(dir string) error {
			return edit(filepath.Join(dir, streams.Ledger+".s2"), func(b []byte) []byte { return b[:len(b)-10] })
		},
		"a file":       func(dir string) error { return os.Remove(filepath.Join(dir, streams.Ledger+".s2")) },
		"the manifest": func(dir string) error { return os.Remove(filepath.Join(dir, manifestFile)) },
		"the format": func(dir string) error {
			return edit(filepath.Join(dir, manifestFile), func(b []byte) []byte {
				return []byte(strings.Replace(string(b), `"format": 1`, `"format": 2`, 1))
			})
		},
	}
	for name, harm := range damage {
		dir, _ := taken(t, from, 1)
		if err := harm(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Restore(t.Context(), to, dir, 1, nil); err == nil {
			t.Errorf("restored without %s", name)
		}
		if _, err := to.Stream(t.Context(), streams.StateStream); !errors.Is(err, jetstream.ErrStreamNotFound) {
			t.Errorf("%s: something was restored: %v", name, err)
		}
	}
}

func edit(file string, change func([]byte) []byte) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, change(b), 0o600)
}

func TestMoved(t *testing.T) {
	t.Parallel()
	before := jetstream.StreamState{LastSeq: 10, Msgs: 7}
	cases := []struct {
		last, messages uint64
		grow, want     bool
	}{
		{10, 7, false, false}, {11, 8, false, true}, {11, 8, true, false}, {10, 6, true, true}, {12, 8, true, true},
	}
	for _, c := range cases {
		if got := moved(before, Stream{LastSeq: c.last, Messages: c.messages}, c.grow); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// A new stream must be given its place, and none is in the order that does not exist.
func TestOrder_isTheTopologys(t *testing.T) {
	t.Parallel()
	declared := names(topology(1))
	if err := covers(order, declared); err != nil {
		t.Error(err)
	}
	if err := covers(declared, order); err != nil {
		t.Error(err)
	}
	if covers(slices.Clone(order[1:]), declared) == nil {
		t.Error("a stream without a place passes")
	}
}
