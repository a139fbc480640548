package bus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// A lost consumer is looked for at once, then with a growing pause.
	firstBindPause   = 50 * time.Millisecond
	longestBindPause = 2 * time.Second
	// lastWords is the time that handlers get to give up after their contexts ended at CloseTimeout.
	lastWords = time.Second
)

// subscription is one durable being read by as many workers as messages may be out. A worker asks for a message, holds
// it until it is settled, and asks for the next: nothing is fetched that cannot be handed over.
//
// The end has an order: ask for no more, give back what was not handed over, wait for what was, and close the channel
// last, because the router believes that a closed channel has nothing in flight.
type subscription struct {
	conn            *Conn
	cfg             SubscriberConfig
	log             *slog.Logger
	stream, durable string

	out      chan *message.Message
	stopping chan struct{}
	stopOnce sync.Once
	done     chan struct{}

	// bound says that the consumer was there when we last looked; binding lets one worker look for all.
	bound   atomic.Bool
	binding sync.Mutex
	ackWait atomic.Int64 // nanoseconds

	// messages is the parent of all message contexts; it ends when CloseTimeout is over.
	messages context.Context
	endAll   context.CancelCauseFunc
	// settling is the parent of acknowledgements; it ends when handlers had their last words.
	settling context.Context
	abandon  context.CancelFunc
}

// errStopped is the cause of a message context that ended because its handler outlasted CloseTimeout.
var errStopped = errors.New("the subscriber was stopped and its close time-out is over")

func newSubscription(ctx context.Context, s *Subscriber, stream, durable string) *subscription {
	values := context.WithoutCancel(ctx) // the caller's context stops the subscription, not its messages
	sub := &subscription{
		conn: s.conn, cfg: s.cfg, stream: stream, durable: durable,
		log:      s.log.With("stream", stream, "consumer", durable),
		out:      make(chan *message.Message),
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
	}
	sub.messages, sub.endAll = context.WithCancelCause(values)
	sub.settling, sub.abandon = context.WithCancel(values)
	return sub
}

func (s *subscription) stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

func (s *subscription) stopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// run reads until it is told to stop or the connection is closed for good.
func (s *subscription) run(ctx context.Context) {
	defer close(s.done)
	defer context.AfterFunc(ctx, s.stop)()
	var workers sync.WaitGroup
	for range s.cfg.Concurrency {
		workers.Go(s.work)
	}
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }()
	select {
	case <-s.stopping:
	case <-ended:
	}
	s.finish(ended)
}

// finish waits for what is in flight, ends what outlasts CloseTimeout, and closes the channel last. It waits for the
// workers whatever happens, since one of them may be about to send; abandoned, they end at once.
func (s *subscription) finish(ended <-chan struct{}) {
	if !within(ended, s.cfg.CloseTimeout) {
		s.log.Warn("handlers outlast the close time-out; their contexts end now and their messages come back")
		s.endAll(errStopped)
		within(ended, lastWords)
	}
	s.endAll(errStopped)
	s.abandon()
	<-ended
	if s.conn.consume.IsConnected() {
		_ = s.conn.consume.FlushTimeout(nats.DefaultTimeout) // what was given back is with the broker when Close returns
	}
	close(s.out)
}

// work is one slot.
func (s *subscription) work() {
	p := newPuller(s.conn, s.stream, s.durable)
	defer p.close()
	for s.awaitConsumer() {
		m, err := p.next(s.stopping)
		switch {
		case err == nil:
			hold(s, m).keep()
		case errors.Is(err, errPullFailed):
			s.investigate(err)
		}
	}
}

// investigate finds out whether the consumer is gone, and waits a moment before the next attempt in any case.
func (s *subscription) investigate(err error) {
	s.log.Debug("pull", "error", fault.Text(err))
	if err := s.bind(s.settling); isGone(err) && s.bound.CompareAndSwap(true, false) {
		s.log.Warn("the consumer is gone; waiting for it to be declared again")
	}
	s.pause(firstBindPause)
}

// awaitConsumer returns true when the consumer is there, and false when the subscription has ended.
func (s *subscription) awaitConsumer() bool {
	s.binding.Lock()
	defer s.binding.Unlock()
	for wait := firstBindPause; !s.stopped() && !s.conn.consume.IsClosed(); wait = min(2*wait, longestBindPause) {
		if s.bound.Load() {
			return true
		}
		err := s.bind(s.settling)
		if err == nil {
			continue
		}
		s.log.Warn("cannot bind to the consumer; trying again", "error", fault.Text(err), "wait", wait)
		s.pause(wait)
	}
	return false
}

// bind finds the durable and checks its declaration. It creates nothing.
func (s *subscription) bind(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	consumer, err := s.conn.consumeJS.Consumer(ctx, s.stream, s.durable)
	if err != nil {
		return err
	}
	cfg := consumer.CachedInfo().Config
	if err := fit(cfg); err != nil {
		return err
	}
	s.ackWait.Store(int64(cfg.AckWait))
	s.bound.Store(true)
	return nil
}

func isGone(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, errUnfit)
}

// pause waits, or for the end.
func (s *subscription) pause(d time.Duration) { within(s.stopping, d) }

func within(done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}
