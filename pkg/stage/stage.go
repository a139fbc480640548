// Package stage is the footing that every service stands on: the broker, the declared topology, the state bucket, a
// router for its messages and the readiness that follows from them.
//
// A service's main opens a stage and runs its service on it; `seatwire up` does the same four times in one process.
package stage

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// verifyEvery is how old the answer about the topology may be: probes come every second, the broker need not.
const verifyEvery = 2 * time.Second

// lookAgain is the pause between two looks for a topology that somebody else declares.
const lookAgain = time.Second

// Deps is what a program hands over.
type Deps struct {
	Config *config.Config
	Log    *slog.Logger
	// Registry receives the metrics of the stage and its service.
	Registry prometheus.Registerer
	// InProcess is the embedded server, nil to connect to the configured address.
	InProcess nats.InProcessConnProvider
	// Isolated is bus.Deps.Isolated.
	Isolated func() *exec.Cmd
}

// Stage is one service's footing.
type Stage struct {
	Deps
	// Name is the service's: of its durables, dead letters and metrics.
	Name      string
	Conn      *bus.Conn
	Publisher *bus.Publisher
	Router    *bus.Router
	State     *state.Store
	// Now is the time of day by the broker's clock.
	Now func() time.Time

	stopClock func()
}

// Open connects, declares the topology and binds the state. It waits for a broker that is not there yet until ctx ends.
func Open(ctx context.Context, name string, deps Deps) (*Stage, error) {
	conn, err := bus.Connect(ctx, options(name, deps), deps.Log)
	if err != nil {
		return nil, err
	}
	s := &Stage{Deps: deps, Name: name, Conn: conn, Publisher: bus.NewPublisher(conn)}
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func options(name string, deps Deps) bus.Options {
	n := deps.Config.NATS
	return bus.Options{
		URL: deps.Config.BrokerURL(), Credentials: n.Credentials, CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key,
		Name: name, InProcess: deps.InProcess, Registry: deps.Registry,
	}
}

func (s *Stage) prepare(ctx context.Context) (err error) {
	if err := s.declare(ctx); err != nil {
		return err
	}
	if s.State, err = state.Open(ctx, s.JS()); err != nil {
		return err
	}
	s.startClock(ctx)
	s.Router, err = bus.NewRouter(bus.RouterConfig{
		Service: s.Name, MaxDeliveries: s.Config.DeadLetters.MaxDeliveries, ConnectionOf: events.ConnectionOf,
		Advisories: streams.Advisories + "." + streams.AdvisoriesDurable(s.Name),
	}, bus.Deps{Conn: s.Conn, Log: s.Log, Registry: s.Registry, State: s.State, Isolated: s.Isolated})
	return err
}

// declare makes the topology stand. A user who may not declare it starts on what is there, and otherwise waits for
// whoever may.
func (s *Stage) declare(ctx context.Context) error {
	guarded, stop := s.Conn.UntilDenied(ctx)
	defer stop()
	topology := streams.For(s.Config)
	err := streams.Ensure(guarded, s.JS(), topology)
	if fault.ReasonOf(err) != bus.ReasonDenied {
		return err
	}
	s.Log.Warn("this program's NATS user may not declare streams; waiting until they are there: seatwire nats provision declares them")
	needs := topology.Of(s.Name)
	for streams.Verify(ctx, s.JS(), needs) != nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookAgain):
		}
	}
	s.Conn.ForgetDenials()
	return nil
}

// JS reads streams and publishes.
func (s *Stage) JS() jetstream.JetStream { return s.Conn.JS() }

// startClock asks the broker for its time, now and every so often until Close.
func (s *Stage) startClock(ctx context.Context) {
	c := newClock(brokerTime(s.JS()), time.Now, s.Log)
	c.set(ctx)
	s.Now = func() time.Time { return c.Now().UTC() }
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { c.run(ctx) })
	s.stopClock = func() { stop(); running.Wait() }
}

// Close lets go of the broker. Stop the service first.
func (s *Stage) Close() {
	if s.stopClock != nil {
		s.stopClock()
	}
	s.Conn.Close()
}

// Register adds the stage's readiness: connected, subscribed, and everything that the service needs declared.
func (s *Stage) Register(h *process.Health) {
	needs := streams.For(s.Config).Of(s.Name)
	h.Register(s.Name+"-nats", func(context.Context) error { return s.Conn.Healthy() })
	h.Register(s.Name+"-subscribed", func(context.Context) error { return s.Router.Bound() })
	h.Register(s.Name+"-topology", cached(verifyEvery, func(ctx context.Context) error {
		return streams.Verify(ctx, s.JS(), needs)
	}))
}

// Service is what runs on a stage until ctx ends.
type Service interface {
	Run(ctx context.Context) error
}

// Main returns what process.Main runs: a stage, and the service that open puts on it. secrets are those it reads.
func Main(name string, secrets config.Secrets, open func(*Stage) (Service, error)) process.Program {
	return process.Program{Name: name, Secrets: secrets, Run: func(ctx context.Context, p *process.Process) error {
		s, err := Open(ctx, name, Deps{Config: p.Config, Log: p.Log, Registry: p.Registry, Isolated: p.Isolated})
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		defer s.Close()
		service, err := open(s)
		if err != nil {
			return err
		}
		if p.Errands != nil {
			return s.Router.RunErrands(p.Errands.In, p.Errands.Out)
		}
		s.Register(p.Health)
		return service.Run(ctx)
	}}
}
