package seatwire

import (
	"context"
	"flag"
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
	limited, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, err := dial(limited, cfg, streams.Operator)
	if err != nil {
		return nil, err
	}
	store, err := state.Open(limited, conn.JS())
	if err != nil {
		conn.Close()
		return nil, plain("NATS answers, but Seatwire never ran on it; start the services, or seatwire up")
	}
	return &session{cfg: cfg, conn: conn, publisher: bus.NewPublisher(conn), state: store}, nil
}

func (s *session) close() { s.conn.Close() }

// action is what a command does once its usage is right and the system is reached.
type action func(s *session) error

// withSession parses, lets plan turn the arguments into an action, loads, connects and acts: wrong usage is found
// before anything is tried.
func withSession(ctx context.Context, c *invocation, declare func(*flag.FlagSet), plan func(args []string) (action, error)) error {
	args, err := c.parse(declare)
	if err != nil {
		return err
	}
	act, err := plan(args)
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
	return act(s)
}

// onConnection is a plan whose only argument names a connection of the file.
func onConnection(act func(s *session, name string) error) func(args []string) (action, error) {
	return func(args []string) (action, error) {
		if len(args) != 1 {
			return nil, usage("takes one CONNECTION")
		}
		return func(s *session) error {
			if _, err := connection(s.cfg, args[0]); err != nil {
				return err
			}
			return act(s, args[0])
		}, nil
	}
}
