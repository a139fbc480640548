package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/state"
)

const (
	defaultMaxDeliveries = 5
	// routerMargin is what the router waits longer than its subscribers, so that theirs is the time-out that counts.
	routerMargin = 5 * time.Second
)

// RouterConfig is one service's policy for messages.
type RouterConfig struct {
	// Service is the program's name: in metrics, and in the subject of its dead letters.
	Service string
	// MaxDeliveries is how often a message is tried before it becomes a dead letter. 0 means 5.
	MaxDeliveries int
	// CloseTimeout is how long a stop waits for handlers before their contexts end. 0 means 10 s. The stop as a whole
	// may take six seconds more.
	CloseTimeout time.Duration
	// HandlerTimeout bounds one call of a handler. 0: none, as for work that lasts and renews its delivery.
	HandlerTimeout time.Duration
	// MaxHold is SubscriberConfig.MaxHold.
	MaxHold time.Duration
	// NakDelay is SubscriberConfig.NakDelay.
	NakDelay func(delivered uint64) time.Duration
	// ConnectionOf names the connection that a subject belongs to; anything but a legal name is "unknown".
	ConnectionOf func(subject string) string
	// Advisories is "STREAM.durable" of what the broker says about watched durables. Empty: they are only swept.
	Advisories string
	// SweepEvery is how often watched durables are swept. 0 means 30 s.
	SweepEvery time.Duration
}

// deadLetters is where the router puts what it gives up on.
type deadLetters interface {
	Put(ctx context.Context, d Delivery, body []byte, reason string, err error) error
}

// Deps are what a program hands to its router.
type Deps struct {
	// Conn carries the messages.
	Conn *Conn
	// Log receives one line for each failure; never a message's content.
	Log *slog.Logger
	// Registry receives the metrics. Nil: they are not exposed.
	Registry prometheus.Registerer
	// DeadLetters is usually left nil: the service's own on Conn.
	DeadLetters deadLetters
	// Isolated returns a command that starts this program once more, to call RunErrands on its standard streams. Nil:
	// every message is handled in this process.
	Isolated func() *exec.Cmd
	// State keeps how far watched durables are accounted for. Nil: it is kept in memory.
	State *state.Store
}

// Handler does a stage's work for one message. Its outputs are stored when it returns nil, for then the message is
// acknowledged. Its error decides what happens next, by class:
//
//	permanent  a dead letter at once, reason "rejected", or "undecodable" when the error's reason is that
//	throttled  tried again after RetryAfter
//	others     tried again after a growing delay
//
// Whatever the class, the failure at MaxDeliveries makes a dead letter, reason "exhausted", or "panic" when that
// failure was one. A context error is no failure: work that a stop interrupted is tried again and never given up.
type Handler func(ctx context.Context, d Delivery, body []byte) error

// Router runs a service's handlers.
type Router struct {
	cfg     RouterConfig
	deps    Deps
	router  *message.Router
	metrics *routerMetrics
	subs    []*Subscriber
	topics  []string // of subs, in the same order
	// lanes are the names of handlers that decide themselves when to give up.
	lanes map[string]struct{}
	// handlers by name, and the process for messages that may kill one; nil: none.
	handlers map[string]Handler
	isolated *isolation
	// blocked says that the last dead letter could not be stored.
	blocked atomic.Bool
	// watches are the durables whose exhausted messages are looked for.
	watches []*watched
}

// NewRouter wires a router and starts nothing.
func NewRouter(cfg RouterConfig, deps Deps) (*Router, error) {
	switch {
	case !events.LegalName(cfg.Service):
		return nil, fmt.Errorf("router: service %q is no legal name", cfg.Service)
	case cfg.ConnectionOf == nil:
		return nil, errors.New("router: ConnectionOf is missing")
	case deps.Conn == nil || deps.Log == nil:
		return nil, errors.New("router: connection or logger is missing")
	}
	cfg.MaxDeliveries = cmp.Or(cfg.MaxDeliveries, defaultMaxDeliveries)
	cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, defaultCloseTimeout)
	cfg.SweepEvery = cmp.Or(cfg.SweepEvery, sweepEvery)
	if cfg.NakDelay == nil {
		cfg.NakDelay = nakDelay
	}
	if deps.DeadLetters == nil {
		deps.DeadLetters = NewDeadLetters(NewPublisher(deps.Conn), cfg.Service, cfg.ConnectionOf)
	}
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: cfg.CloseTimeout + routerMargin}, quietLog{deps.Log})
	if err != nil {
		return nil, fmt.Errorf("router: %w", err)
	}
	r := &Router{cfg: cfg, deps: deps, router: router, metrics: newRouterMetrics(cfg.Service, deps.Registry), lanes: map[string]struct{}{}, handlers: map[string]Handler{}}
	if deps.Isolated != nil {
		r.isolated = newIsolation(deps.Isolated, deps.Log)
	}
	r.router.AddMiddleware(r.middleware()...)
	if stream, durable, ok := strings.Cut(cfg.Advisories, "."); ok {
		r.AddLane("advisories", stream, durable, r.advised)
	}
	return r, nil
}

// middleware is the order of everything around a handler, from the outside in.
func (r *Router) middleware() []message.HandlerMiddleware {
	return []message.HandlerMiddleware{
		r.metrics.observe,
		r.giveUpOrRetry(),
		newCrashSuspect(r.limit, r.isolated).check,
		retryHiccups,
		limitTime(r.cfg.HandlerTimeout),
		recoverPanic(r.deps.Log),
	}
}

// AddHandler reads the durable of the stream with h, at most concurrency messages at once. Call it before Run; a name
// used twice panics.
func (r *Router) AddHandler(name, stream, durable string, concurrency int, h Handler) {
	sub := NewSubscriber(r.deps.Conn, SubscriberConfig{
		Concurrency: concurrency, MaxHold: r.cfg.MaxHold, CloseTimeout: r.cfg.CloseTimeout, NakDelay: r.cfg.NakDelay,
	}, r.deps.Log.With("handler", name))
	topic := stream + "." + durable
	r.handlers[name] = h
	r.subs, r.topics = append(r.subs, sub), append(r.topics, topic)
	r.router.AddConsumerHandler(name, topic, sub, func(m *message.Message) error {
		d, _ := DeliveryOf(m.Context())
		return h(m.Context(), d, m.Payload)
	})
}

// Run handles messages until ctx ends, then drains and returns nil. It returns an error when it could not start, when
// the connection was closed for good, or when handlers outlasted the stop. ctx never reaches watermill or a handler:
// messages that are being handled keep their contexts until CloseTimeout.
func (r *Router) Run(ctx context.Context) error {
	for i, sub := range r.subs { // watermill leaves a goroutine behind when a subscription fails
		if err := sub.check(ctx, r.topics[i]); err != nil {
			return err
		}
	}
	sweeping, stop := context.WithCancel(ctx)
	var sweeper sync.WaitGroup
	sweeper.Go(func() { r.sweepExhausted(sweeping) })
	defer func() { stop(); sweeper.Wait() }()
	if r.isolated != nil {
		defer r.isolated.close()
	}
	ran := make(chan error, 1)
	go func() { ran <- r.router.Run(context.WithoutCancel(ctx)) }()
	select {
	case err := <-ran:
		return r.ended(err)
	case <-ctx.Done():
	}
	select {
	case err := <-ran:
		return r.ended(err)
	case <-r.router.Running(): // closing a router that is still subscribing would miss its subscriptions
	}
	err := r.router.Close()
	return errors.Join(err, <-ran)
}

func (r *Router) ended(err error) error {
	for _, sub := range r.subs {
		_ = sub.Close() // it ended already; this only frees it
	}
	if err != nil {
		return err
	}
	return fault.New(fault.Transient, "subscriptions-ended", "every subscription of %s ended; the connection was closed", r.cfg.Service)
}

// Running is closed when all handlers are subscribed.
func (r *Router) Running() chan struct{} { return r.router.Running() }

// Bound returns nil when every handler is reading its durable: the router's part of readiness.
func (r *Router) Bound() error {
	if !r.router.IsRunning() || r.router.IsClosed() {
		return fault.New(fault.Transient, "router-not-running", "the message router of %s is not running", r.cfg.Service)
	}
	for _, sub := range r.subs {
		if err := sub.Bound(); err != nil {
			return err
		}
	}
	return nil
}
