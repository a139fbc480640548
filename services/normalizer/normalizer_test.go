package normalizer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; a passing test never waits that long.
const patience = 20 * time.Second

func configuration() *config.Config {
	cfg := config.Default()
	cfg.Connections = []config.Connection{config.DefaultConnection("acme")}
	return cfg
}

func connect(t *testing.T, cfg *config.Config) *bus.Conn {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), MaxStore: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{InProcess: server.InProcess()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := streams.Ensure(ctx, conn.JS(), streams.For(cfg)); err != nil {
		t.Fatal(err)
	}
	return conn
}

const aPage = `{"kind":"users","users":[{"id":"u1","email":" A@x ","onAccount":true}]}`

func fetchedSubject(connection, page string) string {
	return events.Subject(streams.UsersFetchedSubject, connection, "sweep", page)
}

// Two replicas normalise every page once, and a page that cannot be read is set aside without delaying the others.
func TestNormalizer_runs(t *testing.T) {
	t.Parallel()
	cfg := configuration()
	conn := connect(t, cfg)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	for range 2 {
		router, err := bus.NewRouter(bus.RouterConfig{Service: streams.Normalizer, ConnectionOf: events.ConnectionOf},
			bus.Deps{Conn: conn, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		n := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), JS: conn.JS(), Router: router, Publisher: bus.NewPublisher(conn)})
		go func() { done <- n.Run(ctx) }()
	}
	const pages = 50
	for i := range pages {
		if _, err := conn.JS().Publish(t.Context(), fetchedSubject("acme", roster.PageToken(i+1, 1)), []byte(aPage)); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{fetchedSubject("acme", "corrupt"), fetchedSubject("nobody", "0000001-1")} {
		if _, err := conn.JS().Publish(t.Context(), bad, []byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	natstest.Eventually(t, patience, "every page is through and none is left", func(ctx context.Context) bool {
		through, err := streams.Count(ctx, conn.JS(), streams.Normalized, ">")
		left, errLeft := streams.Count(ctx, conn.JS(), streams.Fetched, ">")
		dead, errDead := streams.Count(ctx, conn.JS(), streams.DeadLetters, ">")
		return errors.Join(err, errLeft, errDead) == nil && through == pages && left == 0 && dead == 2
	})
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	msg, err := streams.At(conn.JS()).Newest(t.Context(), streams.Normalized, events.Subject(streams.UsersNormalizedSubject, "acme", "sweep", roster.PageToken(7, 1)))
	if err != nil || msg == nil {
		t.Fatalf("%v, %v", msg, err)
	}
	var out roster.Page
	if err := json.Unmarshal(msg.Data, &out); err != nil {
		t.Fatal(err)
	}
	if out.Source != roster.Hash([]byte(aPage)) || len(out.People) != 1 || out.People[0].Email != "a@x" {
		t.Errorf("%+v", out)
	}
}

// shelf stores by subject and refuses a second page on one, as the stream does; err stands for a broker that is away.
type shelf struct {
	pages map[string][]byte
	err   error
}

func (s *shelf) PublishMsg(_ context.Context, subject, _ string, _ nats.Header, body []byte) (*jetstream.PubAck, error) {
	if s.err != nil {
		return nil, s.err
	}
	if _, taken := s.pages[subject]; taken {
		return nil, &jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages per subject exceeded"}
	}
	s.pages[subject] = body
	return &jetstream.PubAck{}, nil
}

func TestPage(t *testing.T) {
	t.Parallel()
	s := &shelf{pages: map[string][]byte{}}
	n := &Normalizer{rules: map[string]Rules{"acme": {}}, deps: Deps{Publisher: s}}
	deliver := func(subject, body string) error {
		return n.page(t.Context(), bus.Delivery{Subject: subject}, []byte(body))
	}
	good := fetchedSubject("acme", "0000001-1")
	for range 2 { // the second time is a redelivery: the work is done
		if err := deliver(good, aPage); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.pages) != 1 || s.pages[events.Subject(streams.UsersNormalizedSubject, "acme", "sweep", "0000001-1")] == nil {
		t.Errorf("%d pages", len(s.pages))
	}
	for name, tt := range map[string]struct{ subject, body, reason string }{
		"unknown connection": {fetchedSubject("nobody", "0000001-1"), aPage, "rejected"},
		"too few tokens":     {events.Subject(streams.UsersFetchedSubject, "acme"), aPage, "rejected"},
		"no JSON":            {good, "?", "undecodable"},
		"another shape":      {good, `{"users":7}`, "undecodable"},
	} {
		if err := deliver(tt.subject, tt.body); fault.ReasonOf(err) != tt.reason || fault.ClassOf(err) != fault.Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.err = fault.New(fault.Transient, "broker-unavailable", "away")
	if err := deliver(fetchedSubject("acme", "0000002-1"), aPage); !errors.Is(err, s.err) {
		t.Errorf("%v: the page would be lost", err)
	}
}
