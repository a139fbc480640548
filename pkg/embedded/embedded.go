// Package embedded runs a NATS server inside this process, on files.
//
// It is what `seatwire up` and the tests stand on: the same server as an external one, provisioned the same way, with
// two differences. Its store directory is locked, because the server takes no lock of its own and two servers on one
// directory lose half of what they acknowledged. And the process may connect to it without a socket.
//
// A single node acknowledges a write before it is on the disk unless SyncAlways is set; only without it may a power
// cut lose minutes. Acknowledgements of consumers are never synced: handlers are idempotent because of that.
package embedded

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	defaultMaxPayload = 1 << 20
	defaultReadyWait  = 30 * time.Second
)

// Config says where the server keeps its data and who may reach it.
type Config struct {
	// StoreDir holds the streams. It is created when missing; one server at a time may use it.
	StoreDir string
	// Listen is the client address, host:port; port 0 picks a free one. Empty: no socket at all, in-process only.
	Listen string
	// SyncAlways writes through to the disk before a publish is acknowledged. Without it a power cut may lose the
	// last two minutes of acknowledged messages; a killed process loses nothing either way.
	SyncAlways bool
	// MaxPayload is the largest message in bytes, headers included. 0 means 1 MiB.
	MaxPayload int32
	// MaxStore bounds the directory in bytes; publishes are refused beyond. 0 means 75 % of the free disk.
	MaxStore int64
	// ReadyWait bounds the start, recovery of the store included. 0 means 30 s; a million messages need about one.
	ReadyWait time.Duration
	// Name of the server in its own reports. Empty means "seatwire".
	Name string
}

// Server is a running server with its lock.
type Server struct {
	nats *server.Server
	lock *dirLock
	cfg  Config
}

// Start locks the directory and returns when the server answers. The caller shuts it down.
func Start(cfg Config, log *slog.Logger) (*Server, error) {
	opts, err := options(cfg)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	s, err := run(opts, cfg, log)
	if err != nil {
		lock.release()
		return nil, err
	}
	return &Server{nats: s, lock: lock, cfg: cfg}, nil
}

func run(opts *server.Options, cfg Config, log *slog.Logger) (*server.Server, error) {
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: %w", err)
	}
	s.SetLoggerV2(slogLogger{log}, false, false, false)
	s.Start()
	if !s.ReadyForConnections(cmp.Or(cfg.ReadyWait, defaultReadyWait)) {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("embedded NATS server on %s: not ready in time; its log says why", cfg.StoreDir)
	}
	return s, nil
}

func options(cfg Config) (*server.Options, error) {
	opts := &server.Options{
		ServerName:        cmp.Or(cfg.Name, "seatwire"),
		DontListen:        cfg.Listen == "",
		NoSigs:            true, // only main knows signals
		JetStream:         true,
		StoreDir:          cfg.StoreDir,
		SyncAlways:        cfg.SyncAlways,
		MaxPayload:        cmp.Or(cfg.MaxPayload, defaultMaxPayload),
		JetStreamMaxStore: cfg.MaxStore,
		JetStreamLimits:   server.JSLimitOpts{DefaultMaxConsumers: -1}, // a stream of lanes has one for each connection
	}
	if cfg.StoreDir == "" {
		return nil, fmt.Errorf("embedded NATS server: no store directory")
	}
	if cfg.Listen == "" {
		return opts, nil
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("embedded NATS server: listen address %q: want host:port", cfg.Listen)
	}
	opts.Host = cmp.Or(host, server.DEFAULT_HOST)
	if opts.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("embedded NATS server: listen address %q: want a numeric port", cfg.Listen)
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return opts, nil
}

// ClientURL is where other processes connect; empty when the server has no socket.
func (s *Server) ClientURL() string {
	if s.cfg.Listen == "" {
		return "" // the server would name port 4222 regardless
	}
	return s.nats.ClientURL()
}

// InProcess connects this process without a socket; see nats.InProcessServer.
func (s *Server) InProcess() nats.InProcessConnProvider { return s.nats }

// Shutdown stops the server, waits for its store to be closed and releases the directory. It may be called twice.
func (s *Server) Shutdown() {
	s.nats.Shutdown()
	s.nats.WaitForShutdown()
	s.lock.release()
}

// slogLogger passes on what an operator must see; the rest of the server's chatter is dropped.
type slogLogger struct{ log *slog.Logger }

func (l slogLogger) Noticef(string, ...any) {}
func (l slogLogger) Debugf(string, ...any)  {}
func (l slogLogger) Tracef(string, ...any)  {}

func (l slogLogger) Warnf(format string, args ...any)  { l.emit(slog.LevelWarn, format, args) }
func (l slogLogger) Errorf(format string, args ...any) { l.emit(slog.LevelError, format, args) }

// Fatalf reports and goes on: the server stops itself afterwards and Start says so. Only main exits.
func (l slogLogger) Fatalf(format string, args ...any) { l.emit(slog.LevelError, format, args) }

func (l slogLogger) emit(level slog.Level, format string, args []any) {
	l.log.Log(context.Background(), level, "nats server: "+fmt.Sprintf(format, args...))
}

func ensureDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("embedded NATS server: store directory %s: %w", dir, err)
	}
	return nil
}
