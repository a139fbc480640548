package deprovisioner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
)

// lane is one connection's work. Of all replicas one at a time holds it.
type lane struct {
	js      jetstream.JetStream
	feedJS  jetstream.JetStream
	rules   rules
	vendor  vendor
	beats   *beats
	log     *slog.Logger
	metrics *metrics
}

// run holds the lane whenever it is free, until ctx ends. A tenure that fails is logged and tried again: its state is
// in the ledger.
func (l *lane) run(ctx context.Context) {
	for {
		asked := time.Now()
		holder, err := l.try(ctx)
		if err != nil && ctx.Err() == nil {
			l.log.Warn("lane ended", "connection", l.rules.connection, "reason", fault.ReasonOf(err), "error", fault.Text(err))
		}
		if !l.rest(ctx, holder, asked) {
			return
		}
	}
}

// rest waits until it is worth asking for the lane again; false when ctx ended.
func (l *lane) rest(ctx context.Context, holder string, asked time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(laneEvery):
		}
		if l.beats.worthALook(l.rules.connection, holder, asked) {
			return true
		}
	}
}

// try claims the lane and works until it is lost or ctx ends. It returns who else had it, "" when nobody is known to.
func (l *lane) try(ctx context.Context) (holder string, err error) {
	asked, cancel := context.WithTimeout(ctx, 2*askTimeout) // it reads and writes
	defer cancel()
	fence, holder, err := claim(asked, l.js, l.rules.connection, l.beats, l.vendor.now())
	if err != nil || fence == 0 {
		return holder, err
	}
	return "", l.hold(ctx, fence)
}

// hold works on the lane until it is lost or ctx ends, and hands it back.
func (l *lane) hold(ctx context.Context, fence uint64) error {
	l.metrics.lanes.Inc()
	defer l.metrics.lanes.Dec()
	defer l.metrics.forget(l.rules.connection)
	t := newTenure(l, fence)
	err := t.work(ctx)
	// The run's context may be over, and the others should not have to wait for our silence.
	bye, cancelBye := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancelBye()
	if !errors.Is(err, errLaneLost) {
		_ = t.note(bye) // what could not be written is found again at the next load
		if handErr := handBack(bye, l.js, l.rules.connection, fence, l.vendor.now()); handErr != nil && !isConflict(handErr) {
			l.log.Info("lane not handed back", "connection", l.rules.connection, "error", fault.Text(handErr))
		}
		l.beats.tellFree(l.rules.connection)
	}
	return err
}
