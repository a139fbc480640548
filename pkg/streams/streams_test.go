package streams_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; a passing test never waits that long.
const patience = 20 * time.Second

func configuration(connections ...string) *config.Config {
	cfg := config.Default()
	for _, c := range connections {
		cfg.Connections = append(cfg.Connections, config.DefaultConnection(c))
	}
	return cfg
}

func ensure(t *testing.T, js jetstream.JetStream, topology streams.Topology) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := streams.Ensure(ctx, js, topology); err != nil {
		t.Fatal(err)
	}
}

// shape is what a broker holds: its streams' and consumers' configurations, by name.
func shape(t *testing.T, js jetstream.JetStream) map[string]any {
	t.Helper()
	found := map[string]any{}
	list := js.ListStreams(t.Context())
	for info := range list.Info() {
		found[info.Config.Name] = info.Config
		s, err := js.Stream(t.Context(), info.Config.Name)
		if err != nil {
			t.Fatal(err)
		}
		consumers := s.ListConsumers(t.Context())
		for c := range consumers.Info() {
			found[info.Config.Name+"."+c.Name] = c.Config
		}
		if err := consumers.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEnsure_isIdempotentAndAddsConnections(t *testing.T) {
	t.Parallel()
	js := withStore(t, roomy)()
	topology := streams.For(configuration("acme"))
	ensure(t, js, topology)
	first := shape(t, js)
	if want := len(topology.Streams) + len(topology.Buckets) + len(topology.Consumers); len(first) != want {
		t.Fatalf("%d things declared, %d there", want, len(first))
	}
	if _, err := js.Publish(t.Context(), events.Subject(events.SyncRequestedSubject, "acme"), []byte("kept")); err != nil {
		t.Fatal(err)
	}
	ensure(t, js, topology)
	if diff := cmp.Diff(first, shape(t, js)); diff != "" {
		t.Errorf("the second time changed something:\n%s", diff)
	}
	if n, err := streams.Count(t.Context(), js, streams.Sync, ">"); n != 1 || err != nil {
		t.Errorf("%d messages, %v: the second time lost what was there", n, err)
	}
	ensure(t, js, streams.For(configuration("acme", "beta")))
	grown := shape(t, js)
	for name := range first {
		if _, still := grown[name]; !still {
			t.Errorf("%s is gone", name)
		}
	}
	if len(grown) <= len(first) {
		t.Error("the new connection has no lanes")
	}
}

// roomy is more than the topology reserves, whatever the disk of this machine has.
const roomy = 1 << 40

// withStore starts a broker that may reserve so many bytes, and returns how to connect to it.
func withStore(t *testing.T, limit int64) (connect func() jetstream.JetStream) {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), MaxStore: limit}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return func() jetstream.JetStream {
		nc, err := nats.Connect("", nats.InProcessServer(server.InProcess()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
}

// Every start declares what is there already. It may not need twice the room, nor wait for it for ever.
func TestEnsure_againWithTheRoomOfOnce(t *testing.T) {
	t.Parallel()
	topology := streams.For(configuration("acme"))
	room := int64(0)
	for _, s := range topology.Streams {
		room += s.MaxBytes
	}
	for _, b := range topology.Buckets {
		room += b.MaxBytes
	}
	js := withStore(t, room)()
	ensure(t, js, topology)
	ensure(t, js, topology)
}

func ensureFromFour(t *testing.T, js func() jetstream.JetStream, cfg *config.Config) {
	t.Helper()
	topology := streams.For(cfg)
	var wg sync.WaitGroup
	for range 4 {
		own := js()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if err := streams.Ensure(ctx, own, topology); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	// On a cluster the node that lists names may be a moment behind the one that declared.
	look := js()
	natstest.Eventually(t, patience, "everything is listed", func(ctx context.Context) bool {
		return streams.Verify(ctx, look, topology) == nil
	})
}

func TestEnsure_fromFourProgramsAtOnce(t *testing.T) {
	t.Parallel()
	ensureFromFour(t, withStore(t, roomy), configuration("acme", "beta"))
}

func TestEnsure_fromFourProgramsOnACluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("three servers take a few seconds")
	}
	cluster := natstest.RunCluster(t)
	cfg := configuration("acme")
	cfg.NATS.Replicas = 3
	ensureFromFour(t, func() jetstream.JetStream { return cluster.JetStream(t) }, cfg)
}

// A declaration that can never succeed must end with the broker's reason instead of going on until somebody looks.
func TestEnsure_endsWhenRefused(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "SQUATTER", Subjects: []string{events.SyncRequestedSubject + ".*"}})
	if err != nil {
		t.Fatal(err)
	}
	err = streams.Ensure(t.Context(), js, streams.For(configuration("acme")))
	if err == nil || !strings.Contains(err.Error(), streams.Sync) {
		t.Errorf("%v: want the stream's name", err)
	}
}

func TestEnsure_waitsForABrokerUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js := server.JetStream(t)
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := streams.Ensure(ctx, js, streams.For(configuration())); err == nil {
		t.Error("declared at a broker that is away")
	}
}

func TestVerify_namesWhatIsMissing(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	topology := streams.For(configuration("acme"))
	ensure(t, js, topology)
	if err := streams.Verify(t.Context(), js, topology); err != nil {
		t.Fatal(err)
	}
	missing := func(name string) {
		t.Helper()
		if err := streams.Verify(t.Context(), js, topology); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: want %s", err, name)
		}
	}
	if err := js.DeleteConsumer(t.Context(), streams.Sweeps, streams.FetcherLane("acme")); err != nil {
		t.Fatal(err)
	}
	missing(streams.FetcherLane("acme"))
	if err := streams.Verify(t.Context(), js, topology.Of(streams.Normalizer)); err != nil {
		t.Errorf("a service that does not need the lane: %v", err)
	}
	if err := js.DeleteKeyValue(t.Context(), streams.State); err != nil {
		t.Fatal(err)
	}
	missing("bucket " + streams.State)
	if err := js.DeleteStream(t.Context(), streams.Outcomes); err != nil {
		t.Fatal(err)
	}
	missing("stream " + streams.Outcomes)
}

// Whatever the contract names has a stream as soon as the services are ready, and only one.
func TestFor_bindsEveryContractSubject(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	ensure(t, js, streams.For(configuration("acme")))
	tests := map[string]string{
		events.Subject(events.SyncRequestedSubject, "acme"):                  streams.Sync,
		events.Subject(events.SyncRequestedSubject, "nobody-knows"):          streams.Sync,
		events.Subject(events.RosterPublishedSubject, "acme"):                streams.Outcomes,
		events.Subject(events.DeprovisionRequestedSubject, "acme", "hr"):     streams.Deprovision,
		events.Subject(events.DeprovisionCancelledSubject, "acme", "hr"):     streams.Deprovision,
		events.Subject(events.DeprovisionProgressedSubject, "acme", "hr"):    streams.Outcomes,
		events.Subject(events.DeprovisionSettledSubject, "acme", "hr"):       streams.Outcomes,
		events.Subject(events.DeadLetterSubject, "fetcher", "acme"):          streams.DeadLetters,
		events.Subject(events.DeadLetterSubject, "deprovisioner", "unknown"): streams.DeadLetters,
	}
	for subject, want := range tests {
		ack, err := js.Publish(t.Context(), subject, []byte("x"))
		if err != nil {
			t.Errorf("%s: %v", subject, err)
			continue
		}
		if ack.Stream != want {
			t.Errorf("%s is in %s, want %s", subject, ack.Stream, want)
		}
	}
}

func TestFor_keepsWhatTheContractPromises(t *testing.T) {
	t.Parallel()
	topology := streams.For(configuration("acme"))
	for _, s := range topology.Streams {
		if slices.Contains([]string{streams.Outcomes, streams.DeadLetters}, s.Name) && s.MaxAge < 7*24*time.Hour {
			t.Errorf("%s keeps its messages for %s", s.Name, s.MaxAge)
		}
		if slices.Contains([]string{streams.Sync, streams.Deprovision}, s.Name) && s.Duplicates != 100*time.Millisecond {
			t.Errorf("%s: a publisher may suppress another's event for %s", s.Name, s.Duplicates)
		}
		if slices.Contains([]string{streams.Ledger, streams.Owned}, s.Name) && s.MaxAge != 0 {
			t.Errorf("%s forgets after %s what could then be obeyed twice", s.Name, s.MaxAge)
		}
		if s.Discard != jetstream.DiscardNew {
			t.Errorf("%s drops old messages when it is full", s.Name)
		}
		if s.MaxBytes <= 0 {
			t.Errorf("%s may fill the disk", s.Name)
		}
	}
	for _, c := range topology.Consumers {
		if c.Config.AckPolicy != jetstream.AckExplicitPolicy || c.Config.MaxDeliver != -1 || c.Config.AckWait > 20*time.Second {
			t.Errorf("%s: %+v", c.Config.Durable, c.Config)
		}
		if strings.Contains(c.Config.Durable, "lane") && c.Config.MaxAckPending != 1 {
			t.Errorf("%s hands out %d messages at once", c.Config.Durable, c.Config.MaxAckPending)
		}
	}
}

// A second message on a key is refused by the store, by the code that package bus takes for "already recorded".
func TestFor_refusesASecondMessageOnAKey(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	ensure(t, js, streams.For(configuration("acme")))
	for _, subject := range []string{
		events.Subject(streams.SweepAcceptedSubject, "acme", "request"),
		events.Subject(streams.UsersNormalizedSubject, "acme", "sweep", "0000001-1"),
		events.Subject(streams.UsersSweptSubject, "acme", "sweep"),
		events.Subject(streams.PublicationDecidedSubject, "acme", "sweep", "1"),
		events.Subject(streams.PublicationChunkSubject, "acme", "sweep", "1", "a000000"),
		events.Subject(streams.PublicationOwnedSubject, "acme", "1", "000000"),
	} {
		if _, err := js.Publish(t.Context(), subject, []byte("first")); err != nil {
			t.Fatal(err)
		}
		_, err := js.Publish(t.Context(), subject, []byte("second"))
		if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != 10077 {
			t.Errorf("%s: %v", subject, err)
		}
	}
}
