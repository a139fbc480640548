package publisher

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// App is one Productiv app's list.
type App interface {
	Users(ctx context.Context, pageToken string) (productiv.Page, error)
	Add(ctx context.Context, body []byte) error
	Remove(ctx context.Context, body []byte) (productiv.Removed, error)
}

// Publisher stores one message under an id that makes a repeat a no-op.
type Publisher interface {
	PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (*jetstream.PubAck, error)
}

// Deps is what the program hands over.
type Deps struct {
	Log *slog.Logger
	// Streams hold pages, plans and requests.
	Streams streams.Store
	// Router delivers manifests and decisions.
	Router *bus.Router
	// Publisher stores chunks, ledgers and outcomes.
	Publisher Publisher
	// State is the bucket of publication states.
	State *state.Store
	// OpenApp makes the client of a connection's app; guard is asked before anything that writes is sent.
	OpenApp func(c config.Connection, guard func() error) App
	// Now is the clock; time.Now outside tests.
	Now func() time.Time
}

// Service publishes for every configured connection.
type Service struct{ deps Deps }

// New wires one lane for each connection to the router, and starts nothing.
func New(cfg *config.Config, deps Deps) *Service {
	for _, c := range cfg.Connections {
		l := &lane{connection: c, deps: deps, maxStalls: cfg.DeadLetters.MaxDeliveries}
		if c.Productiv != nil {
			l.app = deps.OpenApp(c, l.hold.check)
		}
		deps.Router.AddLane("publish-"+c.Name, streams.Swept, streams.PublisherLane(c.Name), l.deliver)
		deps.Router.Watch(streams.Swept, streams.PublisherLane(c.Name), l.settled)
	}
	return &Service{deps: deps}
}

// Run works until ctx ends, then stops before the next call to Productiv.
func (s *Service) Run(ctx context.Context) error { return s.deps.Router.Run(ctx) }
