package deprovisioner

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Deps is what a program hands over.
type Deps struct {
	// Conn carries everything; the streams of the topology must exist when Run is called.
	Conn *bus.Conn
	// Router delivers the events, and keeps what cannot be read as dead letters.
	Router *bus.Router
	// Plans has the client of each configured connection's plan.
	Plans map[string]Pluralsight
	Log   *slog.Logger
	// Registry receives the metrics; nil exposes none.
	Registry prometheus.Registerer
	// Now is the time of day that all replicas share; nil is this host's.
	Now func() time.Time
}

// Deprovisioner is one replica.
type Deprovisioner struct {
	deps   Deps
	intake *intake
	beats  *beats
	lanes  []*lane
}

// New wires a replica and starts nothing.
func New(cfg *config.Config, deps Deps) *Deprovisioner {
	if deps.Now == nil {
		deps.Now = func() time.Time { return time.Now().UTC() }
	}
	d := &Deprovisioner{deps: deps, beats: newBeats(deps.Conn.JS().Conn(), nuid.Next())}
	m := newMetrics(deps.Registry)
	connections := map[string]rules{}
	for _, c := range cfg.Connections {
		r := rulesFor(c, cfg.Retry)
		connections[c.Name] = r
		d.lanes = append(d.lanes, &lane{
			js: deps.Conn.JS(), feedJS: deps.Conn.ConsumeJS(), rules: r, beats: d.beats, log: deps.Log, metrics: m,
			vendor: vendor{plan: deps.Plans[c.Name], rules: r, paused: d.pausedOn(c.Name), now: deps.Now, ids: &identifiers{}},
		})
	}
	d.intake = newIntake(deps.Conn.JS(), connections, m, deps.Now)
	deps.Router.AddHandler("intake", streams.Deprovision, streams.DeprovisionerIntake, intakeConcurrency, d.intake.handle)
	deps.Router.Watch(streams.Deprovision, streams.DeprovisionerIntake, d.intake.settled)
	return d
}

// Run works until ctx ends, then drains: events in hand are committed, the answer to a call that is out is written
// down, and the lanes are handed back. It returns an error when it cannot go on.
func (d *Deprovisioner) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	workers.Go(func() {
		if err := d.beats.run(ctx); err != nil {
			stop(err)
		}
	})
	for _, l := range d.lanes {
		workers.Go(func() { l.run(ctx) })
	}
	workers.Go(func() {
		if err := d.deps.Router.Run(ctx); err != nil {
			stop(err)
		}
	})
	<-ctx.Done()
	workers.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// pausedOn reads the operator's switch for one connection. What cannot be read is paused.
func (d *Deprovisioner) pausedOn(connection string) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, commitTimeout)
		defer cancel()
		return state.Paused(ctx, streams.At(d.deps.Conn.JS()), connection)
	}
}
