package seatwire

import (
	"context"
	"flag"
	"log/slog"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// connectWithin is how long a command looks for the broker.
const connectWithin = 5 * time.Second

// session is a command's link to the running system.
type session struct {
	cfg       *config.Config
	conn      *bus.Conn
	publisher *bus.Publisher
	state     *state.Store
}

// open connects with the file's settings. A system that never ran has nothing to talk to: that is said, not created.
func open(ctx context.Context, cfg *config.Config) (*session, error) {
	dial, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	n := cfg.NATS
	conn, err := bus.Connect(dial, bus.Options{
		URL: cfg.BrokerURL(), Credentials: n.Credentials, CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key, Name: "seatwire",
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	store, err := state.Open(dial, conn.JS(), streams.State)
	if err != nil {
		conn.Close()
		return nil, plain("NATS answers, but Seatwire never ran on it; start the services, or seatwire up")
	}
	return &session{cfg: cfg, conn: conn, publisher: bus.NewPublisher(conn), state: store}, nil
}

func (s *session) close() { s.conn.Close() }

// withSession parses, loads, connects and runs body.
func withSession(ctx context.Context, c *invocation, declare func(*flag.FlagSet), body func(s *session, args []string) error) error {
	args, err := c.parse(declare)
	if err != nil {
		return err
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	s, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer s.close()
	return body(s, args)
}

// one returns the only argument.
func one(args []string, what string) (string, error) {
	if len(args) != 1 {
		return "", usage("takes one %s", what)
	}
	return args[0], nil
}
