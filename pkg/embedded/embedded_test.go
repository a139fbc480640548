package embedded

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func stream(t *testing.T, url string, opts ...nats.Option) (jetstream.JetStream, *nats.Conn) {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return js, nc
}

func TestStart_refusesADirectoryInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	first := start(t, Config{StoreDir: dir})
	_, err := Start(Config{StoreDir: dir}, slog.Default())
	inUse, ok := errors.AsType[*InUseError](err)
	if !ok || inUse.Dir != dir || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second server on one directory: %v, want InUseError naming %s", err, dir)
	}
	first.Shutdown()
	start(t, Config{StoreDir: dir})
}

func TestStart_inProcessOnlyHasNoURLAndKeepsData(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Config{StoreDir: dir, SyncAlways: true})
	if url := s.ClientURL(); url != "" {
		t.Fatalf("ClientURL = %q for a server without a socket", url)
	}
	js, nc := stream(t, "", nats.InProcessServer(s.InProcess()))
	if _, err := js.Publish(t.Context(), "s.1", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	s.Shutdown()
	s.Shutdown() // harmless

	js, _ = stream(t, "", nats.InProcessServer(start(t, Config{StoreDir: dir}).InProcess()))
	st, err := js.Stream(context.Background(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if n := st.CachedInfo().State.Msgs; n != 1 {
		t.Fatalf("%d messages after a restart, want 1", n)
	}
}

func TestStart_listens(t *testing.T) {
	s := start(t, Config{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	js, _ := stream(t, s.ClientURL())
	if _, err := js.Publish(t.Context(), "s.1", nil); err != nil {
		t.Fatal(err)
	}
}

func TestStart_refusesNonsense(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no directory":   {},
		"no port":        {StoreDir: t.TempDir(), Listen: "localhost"},
		"port in words":  {StoreDir: t.TempDir(), Listen: "localhost:nats"},
		"directory is a": {StoreDir: "/dev/null/x"},
	} {
		if s, err := Start(cfg, slog.Default()); err == nil {
			s.Shutdown()
			t.Errorf("%s: started", name)
		}
	}
}

func TestSlogLogger_passesOnWarningsOnly(t *testing.T) {
	var out bytes.Buffer
	l := slogLogger{slog.New(slog.NewTextHandler(&out, nil))}
	l.Noticef("chatter")
	l.Warnf("disk %d%%", 91)
	l.Fatalf("gone")
	if got := out.String(); strings.Contains(got, "chatter") || !strings.Contains(got, "disk 91%") || !strings.Contains(got, "level=ERROR") {
		t.Fatalf("log:\n%s", got)
	}
}
