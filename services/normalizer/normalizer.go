package normalizer

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// concurrency is pages in hand per replica: as many as may share one write to the broker's disk.
const concurrency = 32

// Publisher stores one message under an id that makes a repeat a no-op.
type Publisher interface {
	PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (*jetstream.PubAck, error)
}

// Deps is what the program hands over.
type Deps struct {
	Log *slog.Logger
	// JS looks for normalised pages.
	JS jetstream.JetStream
	// Router delivers pages and keeps the ones that cannot be read as dead letters.
	Router *bus.Router
	// Publisher stores normalised pages.
	Publisher Publisher
}

// Normalizer is the stage.
type Normalizer struct {
	rules map[string]Rules
	deps  Deps
}

// New wires the stage to the router and starts nothing.
func New(cfg *config.Config, deps Deps) *Normalizer {
	n := &Normalizer{rules: map[string]Rules{}, deps: deps}
	for _, c := range cfg.Connections {
		n.rules[c.Name] = RulesOf(c)
	}
	deps.Router.AddHandler("normalize", streams.Fetched, streams.NormalizerDurable, concurrency, n.page)
	deps.Router.Watch(streams.Fetched, streams.NormalizerDurable, n.settled)
	return n
}

// Run works until ctx ends, then finishes what is in hand.
func (n *Normalizer) Run(ctx context.Context) error { return n.deps.Router.Run(ctx) }

// page normalises one page. The output's subject is its key: when it is taken, an earlier delivery was here and the
// work is done.
func (n *Normalizer) page(ctx context.Context, d bus.Delivery, body []byte) error {
	failpoint.Hit(failpoint.N1)
	tokens := events.Tokens(streams.UsersFetchedSubject, d.Subject)
	if len(tokens) != 3 {
		return fault.New(fault.Permanent, "rejected", "the subject has no connection, sweep and page")
	}
	rules, known := n.rules[tokens[0]]
	if !known {
		return fault.New(fault.Permanent, "rejected", "connection %s is not configured here", tokens[0])
	}
	var fetched roster.FetchedPage
	if err := json.Unmarshal(body, &fetched); err != nil {
		return fault.New(fault.Permanent, "undecodable", "the page is not JSON of this version").Because(err)
	}
	out, err := json.Marshal(Normalize(fetched, roster.Hash(body), rules))
	if err != nil {
		return fault.New(fault.Permanent, "rejected", "the page cannot be encoded").Because(err)
	}
	subject := events.Subject(streams.UsersNormalizedSubject, tokens...)
	_, err = n.deps.Publisher.PublishMsg(ctx, subject, subject, nil, out)
	failpoint.Hit(failpoint.N2)
	if bus.IsKeyExists(err) {
		return nil
	}
	return err
}
