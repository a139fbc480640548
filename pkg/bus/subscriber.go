package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	defaultMaxHold      = 2 * time.Hour
	defaultCloseTimeout = 10 * time.Second
	firstNakDelay       = 500 * time.Millisecond
	longestNakDelay     = 30 * time.Second
	bindTimeout         = 5 * time.Second
)

// SubscriberConfig shapes every subscription of one subscriber.
type SubscriberConfig struct {
	// Concurrency is how many messages are out at once, per subscription. 0 means 1.
	Concurrency int
	// MaxHold is how long one delivery is kept from others at most. After it the message context ends, and an ack
	// wait later somebody else gets the message: the net below a handler that hangs. 0 means 2 h.
	MaxHold time.Duration
	// CloseTimeout is how long a stop waits for what is in flight before message contexts end. 0 means 10 s. Keep it
	// below the router's, and that below the orchestrator's grace period.
	CloseTimeout time.Duration
	// NakDelay is the wait before a message comes back that was given back, by the number of its deliveries so far.
	// Nil means half a second, doubling, 30 s at most.
	NakDelay func(delivered uint64) time.Duration
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.MaxHold = cmp.Or(c.MaxHold, defaultMaxHold)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, defaultCloseTimeout)
	if c.NakDelay == nil {
		c.NakDelay = nakDelay
	}
	return c
}

// nakDelay grows without jitter: messages that fail together were delivered one by one and stay spread.
func nakDelay(delivered uint64) time.Duration {
	doublings := min(max(delivered, 1)-1, 16)
	return min(firstNakDelay<<doublings, longestNakDelay)
}

// Subscriber hands out the messages of durables that exist already; a topic is "STREAM.durable".
//
// The next message is asked for when a slot is free, so nothing lies in a buffer here that another replica could be
// working on. From its arrival until it is settled the broker is told every third of the ack wait that it is in work.
type Subscriber struct {
	conn *Conn
	cfg  SubscriberConfig
	log  *slog.Logger

	mu     sync.Mutex
	closed bool
	subs   map[*subscription]struct{}
}

var _ message.Subscriber = (*Subscriber)(nil)

// NewSubscriber returns a subscriber on the connection, which stays the caller's.
func NewSubscriber(conn *Conn, cfg SubscriberConfig, log *slog.Logger) *Subscriber {
	return &Subscriber{conn: conn, cfg: cfg.withDefaults(), log: log, subs: map[*subscription]struct{}{}}
}

// Subscribe starts handing out. A durable that is not there yet, or goes away later, is looked for until it is back;
// one that is declared in a way that would lose messages is refused. The channel is closed after Close or the end of
// ctx, when everything in flight is settled, and when the connection is closed for good.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	sub, err := s.prepare(ctx, topic)
	if err != nil {
		return nil, err
	}
	if !s.add(sub) {
		return nil, fault.New(fault.Permanent, "closed", "the subscriber is closed")
	}
	go func() {
		defer s.remove(sub)
		sub.run(ctx)
	}()
	return sub.out, nil
}

// check returns the error that Subscribe would return, and starts nothing.
func (s *Subscriber) check(ctx context.Context, topic string) error {
	_, err := s.prepare(ctx, topic)
	return err
}

func (s *Subscriber) prepare(ctx context.Context, topic string) (*subscription, error) {
	stream, durable, ok := strings.Cut(topic, ".")
	if !ok || stream == "" || durable == "" {
		return nil, fault.New(fault.Permanent, "bad-topic", "%q is not STREAM.durable", topic)
	}
	sub := newSubscription(ctx, s, stream, durable)
	if err := sub.bind(ctx); errors.Is(err, errUnfit) {
		return nil, err
	}
	return sub, nil
}

func (s *Subscriber) add(sub *subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.subs[sub] = struct{}{}
	}
	return !s.closed
}

func (s *Subscriber) remove(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subs, sub)
}

// Bound returns nil when every subscription has found its durable.
func (s *Subscriber) Bound() error {
	for _, sub := range s.current() {
		if !sub.bound.Load() {
			return fault.New(fault.Transient, "consumer-missing", "consumer %s of stream %s is not there", sub.durable, sub.stream)
		}
	}
	return nil
}

// Close stops every subscription and returns when their channels are closed. It leaves the connection alone, and
// returns nil even if handlers outlast CloseTimeout: their messages come back an ack wait later, which the log says.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	subs := s.current()
	for _, sub := range subs {
		sub.stop()
	}
	for _, sub := range subs {
		<-sub.done
	}
	return nil
}

func (s *Subscriber) current() []*subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	var subs []*subscription
	for sub := range s.subs {
		subs = append(subs, sub)
	}
	return subs
}

// errUnfit marks a durable whose declaration breaks a promise of this package.
var errUnfit = errors.New("consumer is declared in a way that loses messages")

// fit refuses what research found to lose or double messages: acks that are not explicit, and BackOff, which
// overrides the ack wait and distorts the delay of a message that is given back.
func fit(cfg jetstream.ConsumerConfig) error {
	switch {
	case cfg.Durable == "":
		return errNotFit(cfg, "it is not durable")
	case cfg.AckPolicy != jetstream.AckExplicitPolicy:
		return errNotFit(cfg, "its acknowledgements are not explicit")
	case len(cfg.BackOff) > 0:
		return errNotFit(cfg, "it has a back-off list")
	}
	return nil
}

func errNotFit(cfg jetstream.ConsumerConfig, why string) error {
	return fault.New(fault.Permanent, "consumer-unfit", "consumer %s: %s", cmp.Or(cfg.Durable, cfg.Name), why).Because(errUnfit)
}
