package fetcher

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Plans reads one Pluralsight plan.
type Plans interface {
	Plan(ctx context.Context) (pluralsight.Plan, error)
	Admins(ctx context.Context, after string) (pluralsight.AdminPage, error)
	Users(ctx context.Context, after string) (pluralsight.UserPage, error)
}

// Publisher stores one message under an id that makes a repeat a no-op.
type Publisher interface {
	PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (*jetstream.PubAck, error)
}

// Deps is what the program hands over.
type Deps struct {
	Log *slog.Logger
	// JS reads requests and streams; it creates nothing.
	JS jetstream.JetStream
	// Router delivers requests and sweeps, and keeps what cannot be read as dead letters.
	Router *bus.Router
	// Publisher stores requests and manifests.
	Publisher Publisher
	// Pages stores pages; they come many at a time.
	Pages Publisher
	// State is the bucket of sweep states.
	State *state.Store
	// Plans has one reader for each configured connection.
	Plans map[string]Plans
	// Now is the clock; time.Now outside tests.
	Now func() time.Time
}

// Fetcher is the service.
type Fetcher struct {
	cfg   *config.Config
	deps  Deps
	slots chan struct{}
}

// New wires intake and one lane for each connection to the router, and starts nothing.
func New(cfg *config.Config, deps Deps) *Fetcher {
	f := &Fetcher{cfg: cfg, deps: deps, slots: make(chan struct{}, cfg.Limits.FetchConcurrency)}
	deps.Router.AddHandler("intake", streams.Sync, streams.FetcherIntake, intakeConcurrency, f.intake)
	deps.Router.Watch(streams.Sync, streams.FetcherIntake, f.settled)
	for _, c := range cfg.Connections {
		lane := &lane{connection: c, deps: deps, slots: f.slots, maxStalls: cfg.DeadLetters.MaxDeliveries}
		deps.Router.AddLane("sweep-"+c.Name, streams.Sweeps, streams.FetcherLane(c.Name), lane.deliver)
		deps.Router.Watch(streams.Sweeps, streams.FetcherLane(c.Name), lane.settled)
	}
	return f
}

// Run works until ctx ends, then stops at the next checkpoint of whatever is in hand.
func (f *Fetcher) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return f.deps.Router.Run(ctx) })
	for _, c := range f.cfg.Connections {
		if c.Sync.Every > 0 {
			group.Go(func() error { return f.schedule(ctx, c) })
		}
	}
	return group.Wait()
}
