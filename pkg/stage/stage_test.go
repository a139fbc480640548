package stage_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; a passing test never waits that long.
const patience = 20 * time.Second

// broker reserves as much as it is asked to, whatever the disk of this machine has.
func broker(t *testing.T) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), MaxStore: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server
}

func open(t *testing.T, name string, server *embedded.Server) *stage.Stage {
	t.Helper()
	cfg := config.Default()
	cfg.Connections = []config.Connection{config.DefaultConnection("acme")}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := stage.Open(ctx, name, stage.Deps{
		Config: cfg, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), InProcess: server.InProcess(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// address picks the bound address out of the log, as the contract lets anybody do.
type address struct {
	slog.Handler
	bound chan string
}

func (a address) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(attr slog.Attr) bool {
		if attr.Key == "listen" {
			a.bound <- attr.Value.String()
		}
		return true
	})
	return nil
}

func (a address) Enabled(context.Context, slog.Level) bool { return true }

// ready asks the readiness of a stage as a probe would.
func ready(t *testing.T, s *stage.Stage) (int, string) {
	t.Helper()
	h := process.NewHealth(prometheus.NewRegistry())
	s.Register(h)
	log := address{slog.DiscardHandler, make(chan string, 1)}
	stop, err := h.Serve(t.Context(), "127.0.0.1:0", slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + <-log.bound + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestOpen_declaresTheTopologyAndBindsTheState(t *testing.T) {
	t.Parallel()
	s := open(t, streams.Fetcher, broker(t))
	defer s.Close()
	if err := streams.Verify(t.Context(), s.JS(), streams.For(s.Config)); err != nil {
		t.Error(err)
	}
	if _, err := s.State.Put(t.Context(), "k", "v", 0); err != nil {
		t.Error(err)
	}
}

func TestOpen_endsWithItsContext(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.NATS.URL = "nats://127.0.0.1:1" // nobody listens there
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := stage.Open(ctx, streams.Fetcher, stage.Deps{Config: cfg, Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry()})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestRegister_isNotReadyUntilEverythingIsThere(t *testing.T) {
	t.Parallel()
	s := open(t, streams.Fetcher, broker(t))
	defer s.Close()
	if code, body := ready(t, s); code == http.StatusOK || !strings.Contains(body, "fetcher-subscribed") {
		t.Errorf("not subscribed yet: %d %s", code, body)
	}
	if err := s.JS().DeleteConsumer(t.Context(), streams.Sweeps, streams.FetcherLane("acme")); err != nil {
		t.Fatal(err)
	}
	if code, body := ready(t, s); code == http.StatusOK || !strings.Contains(body, "fetcher-topology") {
		t.Errorf("a lane is gone: %d %s", code, body)
	}
}

// A service does not need another's durables.
func TestRegister_looksAtItsOwnDurablesOnly(t *testing.T) {
	t.Parallel()
	s := open(t, streams.Normalizer, broker(t))
	defer s.Close()
	for stream, durable := range map[string]string{streams.Sweeps: streams.FetcherLane("acme"), streams.Sync: streams.FetcherIntake} {
		if err := s.JS().DeleteConsumer(t.Context(), stream, durable); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			t.Fatal(err)
		}
	}
	if _, body := ready(t, s); strings.Contains(body, "normalizer-topology") {
		t.Error(body)
	}
}
