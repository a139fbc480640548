package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// sweepEvery is how often a watched durable is looked at, and how long a suspicion must last.
const sweepEvery = 30 * time.Second

// Settled reports whether the work for a message is done, by what such work leaves behind. The delivery has no lease.
type Settled func(ctx context.Context, d Delivery, body []byte) (bool, error)

// watched is a durable whose messages the broker may give up on, because somebody declared it with a limit.
//
// Such a message stays in its stream and in no figure of lag. Two things tell of it. The broker's advisory comes once
// and names it; a stream keeps it while we are away. And the durable counts it among its redelivered messages until
// somebody acknowledges it, however long ago it was and whatever was declared since.
type watched struct {
	stream, durable string
	settled         Settled
	// still is the sequence up to which nothing was in flight at the last look, and so never will be again.
	still uint64
	// marked is the mark as we know it to be stored.
	marked uint64
}

// mark is the sequence up to which every message of a durable is accounted for.
type mark struct {
	Sequence uint64 `json:"sequence"`
}

// Watch makes the router keep messages of a durable that the broker gave up on: each gets a dead letter, reason
// "exhausted", unless its work is done. Call it before Run.
func (r *Router) Watch(stream, durable string, settled Settled) {
	r.watches = append(r.watches, &watched{stream: stream, durable: durable, settled: settled})
}

// advised handles one advisory of the broker. It is a lane's handler: an advisory is never given up.
func (r *Router) advised(ctx context.Context, _ Delivery, body []byte) error {
	var a struct {
		Stream     string `json:"stream"`
		Consumer   string `json:"consumer"`
		Sequence   uint64 `json:"stream_seq"`
		Deliveries uint64 `json:"deliveries"`
	}
	if err := json.Unmarshal(body, &a); err != nil {
		r.deps.Log.ErrorContext(ctx, "an advisory that cannot be read; the sweep will find what it was about")
		return nil
	}
	for _, w := range r.watches {
		if w.stream != a.Stream || w.durable != a.Consumer {
			continue
		}
		msg, err := streams.Next(ctx, r.deps.Conn.JS(), a.Stream, ">", a.Sequence)
		if err != nil {
			return err
		}
		if msg != nil && msg.Sequence == a.Sequence {
			return r.abandoned(ctx, w, msg, a.Deliveries)
		}
		r.deps.Log.WarnContext(ctx, "the broker gave up on a message that is gone", "stream", a.Stream, "consumer", a.Consumer, "sequence", a.Sequence)
	}
	return nil
}

// sweepExhausted looks at every watched durable until ctx ends. What fails is tried again at the next look.
func (r *Router) sweepExhausted(ctx context.Context) {
	for !within(ctx.Done(), r.cfg.SweepEvery) {
		for _, w := range r.watches {
			if err := r.sweep(ctx, w); err != nil && ctx.Err() == nil {
				r.deps.Log.WarnContext(ctx, "cannot look for exhausted messages", "stream", w.stream, "consumer", w.durable, "error", fault.Text(err))
			}
		}
	}
}

// sweep sets aside what a durable gave up on. It acts when the broker's own figures leave no other explanation: more
// messages are redelivered than are in flight. Which ones is told by the work that is missing, among the messages
// that were out of flight already at the look before; in the meantime a lagging replica has caught up.
//
// A message that was acknowledged with a dead letter leaves no work behind either. It is taken for an exhausted one
// only if it is younger than the last look at which nothing was exhausted; then the dead letter's id is known to the
// broker, which drops the second one.
func (r *Router) sweep(ctx context.Context, w *watched) error {
	consumer, err := r.deps.Conn.JS().Consumer(ctx, w.stream, w.durable)
	if err != nil {
		return err
	}
	info, still := consumer.CachedInfo(), w.still
	w.still = outOfFlight(info, still)
	switch {
	case info.NumRedelivered == 0:
		return r.account(ctx, w, w.still)
	case info.NumRedelivered <= info.NumAckPending:
		return nil
	}
	var from mark
	if r.deps.State != nil {
		if _, err := r.deps.State.Get(ctx, w.key(), &from); err != nil {
			return err
		}
	}
	for _, filter := range filtersOf(info.Config) {
		if err := r.sweepSubject(ctx, w, filter, max(from.Sequence, w.marked), still, uint64(max(info.Config.MaxDeliver, 1))); err != nil {
			return err
		}
	}
	return r.account(ctx, w, still)
}

// outOfFlight is the sequence up to which every message was acknowledged or given up on, before being what it was at
// an earlier look. The floor of acknowledgements is below everything in flight, and stands still at an exhausted
// message until the durable is idle.
func outOfFlight(info *jetstream.ConsumerInfo, before uint64) uint64 {
	switch {
	case info.NumAckPending == 0:
		return info.Delivered.Stream
	case before > info.Delivered.Stream: // the durable was made anew
		return info.AckFloor.Stream
	default:
		return max(before, info.AckFloor.Stream)
	}
}

func (r *Router) sweepSubject(ctx context.Context, w *watched, filter string, after, through, deliveries uint64) error {
	for after < through {
		msg, err := streams.Next(ctx, r.deps.Conn.JS(), w.stream, filter, after+1)
		if err != nil {
			return err
		}
		if msg == nil || msg.Sequence > through {
			return nil
		}
		if err := r.abandoned(ctx, w, msg, deliveries); err != nil {
			return err
		}
		after = msg.Sequence
	}
	return nil
}

// abandoned keeps a message that the broker will never deliver again, and then acknowledges it: the durable stops
// counting it, and a work queue lets go of it.
func (r *Router) abandoned(ctx context.Context, w *watched, msg *jetstream.RawStreamMsg, deliveries uint64) error {
	d := Delivery{
		Stream: w.stream, Consumer: w.durable, Subject: msg.Subject, Sequence: msg.Sequence, Delivered: deliveries,
		Time: msg.Time, Header: msg.Header,
	}
	done, err := w.settled(ctx, d, msg.Data)
	if err != nil {
		return err
	}
	if !done {
		reason := fault.New(fault.Transient, "exhausted", "the broker gave up after %d deliveries", deliveries)
		err := r.deps.DeadLetters.Put(ctx, d, msg.Data, ReasonExhausted, reason)
		if r.tellBlocked(ctx, err); err != nil {
			return err
		}
		r.metrics.handled.WithLabelValues(r.cfg.Service, w.durable, ReasonExhausted).Inc()
		r.deps.Log.WarnContext(ctx, "the broker gave up on a message", "stream", w.stream, "consumer", w.durable, "sequence", msg.Sequence)
	}
	// Unconfirmed: if it gets lost, the next sweep comes by and the dead letter's id is known.
	return r.deps.Conn.consume.Publish(fmt.Sprintf("$JS.ACK.%s.%s.1.%d.1.%d.0", w.stream, w.durable, msg.Sequence, msg.Time.UnixNano()), acknowledge)
}

// account moves the mark. Two replicas may write in turn; either is right.
func (r *Router) account(ctx context.Context, w *watched, sequence uint64) error {
	if sequence <= w.marked {
		return nil
	}
	if r.deps.State != nil {
		_, err := state.Modify(ctx, r.deps.State, w.key(), func(m *mark) error {
			m.Sequence = max(m.Sequence, sequence)
			return nil
		})
		if err != nil {
			return err
		}
	}
	w.marked = sequence
	return nil
}

func (w *watched) key() string { return streams.AccountedKey(w.stream, w.durable) }

func filtersOf(cfg jetstream.ConsumerConfig) []string {
	switch {
	case len(cfg.FilterSubjects) > 0:
		return cfg.FilterSubjects
	case cfg.FilterSubject != "":
		return []string{cfg.FilterSubject}
	default:
		return []string{">"}
	}
}
