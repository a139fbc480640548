// Package natstest gives a test a real NATS server: embedded, on a directory and a port of its own, gone afterwards.
//
// Run is the ordinary one and can be stopped and started again on the same data. RunProcess is a child process that
// may be killed the hard way. RunCluster is three nodes in this process, for replicated streams.
package natstest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/embedded"
)

const requestTimeout = 10 * time.Second

// Server is an embedded server that lives as long as its test.
type Server struct {
	dir    string
	listen string

	mu  sync.Mutex
	now *embedded.Server // nil while stopped
}

// Run starts a server with JetStream on a temporary directory and a free loopback port.
func Run(t testing.TB) *Server {
	t.Helper()
	s := &Server{dir: t.TempDir(), listen: FreeAddress(t).String()}
	s.Start(t)
	t.Cleanup(s.Stop)
	return s
}

// Start starts the server again on the same data and the same port.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	started, err := embedded.Start(embedded.Config{StoreDir: s.dir, Listen: s.listen}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.now = started
}

// Stop stops the server and keeps its data. It may be called twice.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.now.Shutdown()
		s.now = nil
	}
}

// Restart is Stop and Start.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop()
	s.Start(t)
}

// URL is where clients connect, also while the server is stopped.
func (s *Server) URL() string { return "nats://" + s.listen }

// Connect opens a connection that is closed with the test.
func (s *Server) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	return connect(t, s.URL())
}

// JetStream opens a connection for provisioning and looking; it is closed with the test.
func (s *Server) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	return jetStream(t, s.Connect(t))
}

func connect(t testing.TB, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func jetStream(t testing.TB, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Eventually waits until condition holds, looking every few milliseconds; it fails the test after limit. It is for
// what only the broker knows; anything that this process knows has a channel to wait on.
func Eventually(t testing.TB, limit time.Duration, what string, condition func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !condition(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", limit, what)
		case <-look.C:
		}
	}
}
