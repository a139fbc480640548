package bus

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
)

func TestConnect_givesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := Connect(ctx, Options{URL: "nats://me:s3cret@127.0.0.1:1,nats://127.0.0.1:2"}, discard)
	if fault.ReasonOf(err) != "nats-unreachable" || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if text := err.Error(); strings.Contains(text, "s3cret") || !strings.Contains(text, "127.0.0.1:1, 127.0.0.1:2") {
		t.Fatalf("text %q", text)
	}
	if _, err := Connect(ctx, Options{URL: "nats://me:s3cret@[::1", Name: "x"}, discard); fault.ReasonOf(err) != "nats-bad-url" || strings.Contains(err.Error(), "s3cret") {
		t.Fatalf("bad URL: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")
	for name, opts := range map[string]Options{"CA": {CA: missing}, "certificate": {Cert: missing, Key: missing}} {
		opts.URL = "nats://127.0.0.1:1"
		_, err := Connect(t.Context(), opts, discard) // returns at once: waiting would not help
		if fault.ReasonOf(err) != "nats-file-unreadable" || !strings.Contains(err.Error(), missing) {
			t.Errorf("missing %s: %v", name, err)
		}
	}
}

func TestConnect_waitsForTheServer(t *testing.T) {
	t.Parallel()
	s := natstest.Run(t)
	s.Stop()
	connected := make(chan *Conn)
	go func() {
		c, err := Connect(context.Background(), Options{URL: s.URL()}, discard)
		if err != nil {
			t.Error(err)
		}
		connected <- c
	}()
	s.Start(t)
	c := receiveOne(t, connected, "the connection")
	defer c.Close()
	if err := c.Healthy(); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	natstest.Eventually(t, patience, "unhealthy without a server", func(context.Context) bool {
		return fault.ReasonOf(c.Healthy()) == "nats-disconnected"
	})
	if _, err := NewPublisher(c).PublishMsg(t.Context(), "x", "id", nil, nil); !isHiccup(err) {
		t.Fatalf("publish without a server: %v", err)
	}
	s.Start(t)
	natstest.Eventually(t, patience, "healthy again", func(context.Context) bool { return c.Healthy() == nil })
}

func TestConnect_inProcess(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	c, err := Connect(t.Context(), Options{InProcess: s.InProcess()}, discard)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.JS().AccountInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ConsumeJS().AccountInfo(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestPermissionDenied needs a server with users, which natstest's have not.
func TestPermissionDenied(t *testing.T) {
	t.Parallel()
	public, seedFile := seed(t)
	url := runWithUser(t, public, "seen.>", "_INBOX_mine.>")
	var log safeBuffer
	registry := prometheus.NewRegistry()
	c, err := Connect(t.Context(), Options{URL: url, Name: "mine", Credentials: seedFile, Registry: registry}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if inbox := c.consume.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_mine.") {
		t.Fatalf("inbox %s", inbox)
	}
	checkDenialIsNoticed(t, c, &log)
	checkDenialEndsWaiting(t, c)
	if c.ForgetDenials(); c.Healthy() != nil {
		t.Errorf("forgiven, and still %v", c.Healthy())
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
	checkStrangerIsRefused(t, url)
}

// runWithUser starts a server whose only user may publish and subscribe to the allowed subjects, and returns its URL.
func runWithUser(t *testing.T, public string, allowed ...string) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		Nkeys: []*server.NkeyUser{{Nkey: public, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: allowed},
			Subscribe: &server.SubjectPermission{Allow: allowed},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("server is not ready")
	}
	return s.ClientURL()
}

// checkDenialIsNoticed publishes where it may not: the connection is unhealthy, and the denial is counted and logged,
// without the seed.
func checkDenialIsNoticed(t *testing.T, c *Conn, log *safeBuffer) {
	t.Helper()
	if err := c.publish.Publish("secret.subject", nil); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, "the denial is noticed", func(context.Context) bool {
		return fault.ReasonOf(c.Healthy()) == "nats-permission-denied"
	})
	if n := testutil.ToFloat64(c.health.denied); n != 1 {
		t.Errorf("counted %v", n)
	}
	if text := log.String(); !strings.Contains(text, `secret.subject`) || strings.Contains(text, "SU") {
		t.Errorf("log:\n%s", text)
	}
}

// checkDenialEndsWaiting: a publish that waits for its acknowledgement, and whoever waits until something is denied.
func checkDenialEndsWaiting(t *testing.T, c *Conn) {
	t.Helper()
	guarded, stop := c.UntilDenied(t.Context())
	defer stop()
	if _, err := NewPublisher(c).PublishMsg(t.Context(), "secret.other", "id", nil, nil); fault.ReasonOf(err) != ReasonDenied {
		t.Errorf("a denied publish: %v", err)
	}
	<-guarded.Done()
	if fault.ReasonOf(context.Cause(guarded)) != ReasonDenied {
		t.Errorf("the guarded context ended with %v", context.Cause(guarded))
	}
}

// checkStrangerIsRefused connects without credentials.
func checkStrangerIsRefused(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, Options{URL: url}, discard); fault.ReasonOf(err) != "nats-unauthorized" {
		t.Errorf("without credentials: %v", err)
	}
}

// seed makes a user, and returns its public key and the file of its seed.
func seed(t *testing.T) (public, file string) {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	if public, err = user.PublicKey(); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	return public, file
}

func TestHealth_forgetsTrouble(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := newHealth(nil, discard)
	h.now = func() time.Time { return now }
	h.asynchronous(discard, nats.ErrSlowConsumer)
	if fault.ReasonOf(h.recent()) != "nats-slow-consumer" || testutil.ToFloat64(h.slow) != 1 {
		t.Fatal(h.recent())
	}
	now = now.Add(troubleWindow)
	h.asynchronous(discard, errors.New("something else"))
	if err := h.recent(); err != nil {
		t.Fatal(err)
	}
}

func TestConn_closeTwice(t *testing.T) {
	t.Parallel()
	c := dialTest(t, natstest.Run(t))
	c.Close()
	c.Close()
	if c.Healthy() == nil {
		t.Fatal("healthy after Close")
	}
}
