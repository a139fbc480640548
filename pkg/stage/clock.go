package stage

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// askEvery is how often the broker is asked for its time: often enough for a host that was suspended.
	askEvery = time.Minute
	// askTimeout bounds one question.
	askTimeout = 2 * time.Second
	// minDrift is what an answer's way explains: below it the broker is believed to agree.
	minDrift = 500 * time.Millisecond
	// tellDrift is how far the host may be off before it is worth a line in the log.
	tellDrift = 5 * time.Second
)

// clock tells the broker's time of day, which all replicas share: what one writes down as a time, another compares with
// its own. A host whose clock is wrong would make others wait, conclude too early, or forget what went in a day's limit.
// Between two answers only the machine's monotonic clock counts, so that a step does not matter either.
type clock struct {
	ask   func(context.Context) (time.Time, error)
	local func() time.Time
	log   *slog.Logger

	mu sync.RWMutex
	// broker is its time at asked, which is ours.
	broker, asked time.Time
	told          time.Duration
}

// newClock goes by the host's time until it has an answer.
func newClock(ask func(context.Context) (time.Time, error), local func() time.Time, log *slog.Logger) *clock {
	at := local()
	return &clock{ask: ask, local: local, log: log, broker: at, asked: at}
}

// brokerTime is what the leader of a stream says.
func brokerTime(js jetstream.JetStream) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		s, err := js.Stream(ctx, streams.DeadLetters)
		if err != nil {
			return time.Time{}, err
		}
		return s.CachedInfo().TimeStamp, nil
	}
}

// Now is the time of day.
func (c *clock) Now() time.Time {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.broker.Add(c.local().Sub(c.asked))
}

// run asks again and again until ctx ends.
func (c *clock) run(ctx context.Context) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.set(ctx)
		}
	}
}

// set asks the broker. Without an answer the clock goes on as it is.
func (c *clock) set(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	before := c.local()
	at, err := c.ask(ctx)
	after := c.local()
	if err != nil || at.IsZero() {
		c.log.Info("the broker's time is not known; going on with what it was", "error", fault.Text(err))
		return
	}
	at = at.Add(after.Sub(before) / 2)
	if drift := at.Sub(c.Now()); drift.Abs() >= minDrift {
		c.mu.Lock()
		c.broker, c.asked = at, after
		c.mu.Unlock()
	}
	c.tell(at.Round(0).Sub(after.Round(0)))
}

// tell logs how far the host is off, once for each change.
func (c *clock) tell(off time.Duration) {
	if (off - c.told).Abs() < tellDrift {
		return
	}
	c.told = off
	c.log.Warn("this host's clock is not the broker's; the broker's counts", "seconds", -off.Seconds())
}
