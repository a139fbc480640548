package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/fault"
)

// Causes of a message context that ended while the handler ran.
var (
	errHeldTooLong = errors.New("the message was held longer than MaxHold")
	errLost        = errors.New("the broker did not confirm our hold within the ack wait")
)

// ackRetry is the pause between attempts to settle while the broker is away.
const ackRetry = 200 * time.Millisecond

var (
	acknowledge = []byte("+ACK")
	inProgress  = []byte("+WPI")
)

// held is one delivery in our hands, from its arrival until it is settled.
//
// The broker matches acknowledgements and heartbeats by sequence only: a process that was frozen for longer than the
// ack wait would, on waking, prolong or even settle the delivery of whoever has the message now. So held keeps the
// time of the last confirmation by its own monotonic clock, and a hold that was not confirmed within the ack wait is
// lost: it sends nothing more, and its context ends.
type held struct {
	sub     *subscription
	msg     *nats.Msg
	message *message.Message
	ctx     context.Context
	end     context.CancelCauseFunc
	// ackWait is the consumer's when the message came; a consumer declared again may have another.
	ackWait             time.Duration
	sequence, delivered uint64

	mu        sync.Mutex
	confirmed time.Time
	over      bool
	// nakAfter is the wait that the router chose for giving back; negative: the subscriber's growing one.
	nakAfter time.Duration
}

func hold(s *subscription, m *nats.Msg) *held {
	h := &held{sub: s, msg: m, message: unmarshal(m), ackWait: time.Duration(s.ackWait.Load()), confirmed: time.Now(), nakAfter: -1}
	h.ctx, h.end = context.WithCancelCause(s.messages)
	d := Delivery{Stream: s.stream, Consumer: s.durable, Subject: m.Subject, Header: m.Header, Lease: h}
	if meta, err := m.Metadata(); err == nil { // cannot fail for a message of a consumer
		d.Sequence, d.Delivered, d.Time = meta.Sequence.Stream, meta.NumDelivered, meta.Timestamp
	}
	h.sequence, h.delivered = d.Sequence, d.Delivered
	h.message.SetContext(WithDelivery(h.ctx, d))
	return h
}

// keep hands the message over and renews the hold until it is settled. A message that nobody took before the stop is
// given back.
func (h *held) keep() {
	defer h.end(context.Canceled)
	beat := time.NewTicker(max(h.ackWait/3, time.Millisecond))
	defer beat.Stop()
	limit := time.NewTimer(h.sub.cfg.MaxHold)
	defer limit.Stop()
	out, stopping := h.sub.out, h.sub.stopping
	for {
		select {
		case out <- h.message:
			out, stopping = nil, nil
		case <-stopping:
			giveBack(h.sub.conn, h.msg)
			return
		case <-h.message.Acked():
			h.settle(h.ack)
			return
		case <-h.message.Nacked():
			h.settle(h.nak)
			return
		case <-beat.C:
			h.heartbeat()
		case <-limit.C:
			beat.Stop()
			h.end(errHeldTooLong)
		case <-h.sub.settling.Done():
			return // the handler outlasted the stop: an ack wait later the message is somebody else's
		}
	}
}

func (h *held) heartbeat() {
	if h.lost() {
		h.end(errLost)
		return
	}
	ctx, cancel := context.WithTimeout(h.sub.settling, h.ackWait/3)
	defer cancel()
	_ = h.confirm(ctx) // the next beat tries again, and finds out if it is too late
}

// Renew implements Lease. An answer that does not come is asked for again: it may be the only thing that was lost.
func (h *held) Renew(ctx context.Context) error {
	for {
		if h.lost() {
			h.end(errLost)
			return fault.New(fault.Unknown, "delivery-lost", "the hold on message %d of %s is over", h.sequence, h.sub.stream).Because(errLost)
		}
		attempt, cancel := context.WithTimeout(ctx, h.ackWait/5)
		err := h.confirm(attempt)
		unanswered := attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil {
			return nil
		}
		if !unanswered {
			return fault.New(fault.Transient, "renewal-unconfirmed", "the broker did not confirm the hold on message %d of %s", h.sequence, h.sub.stream).Because(err)
		}
	}
}

// confirm counts from before the request: the broker's clock restarted later than that, never earlier.
func (h *held) confirm(ctx context.Context) error {
	asked := time.Now()
	if _, err := h.sub.conn.consume.RequestWithContext(ctx, h.msg.Reply, inProgress); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked.After(h.confirmed) {
		h.confirmed = asked
	}
	return nil
}

// lost reports whether the message may be somebody else's by now.
func (h *held) lost() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.over || time.Since(h.confirmed) >= h.ackWait
}

// settle repeats act while the broker is away, as long as the message is ours for certain. After that it comes back
// and is handled again, which idempotent handlers bear; a late acknowledgement could release somebody else's.
func (h *held) settle(act func() error) {
	for !h.lost() {
		err := act()
		if err == nil || errors.Is(err, nats.ErrConnectionClosed) || h.consumerGone(err) {
			break
		}
		if within(h.sub.settling.Done(), ackRetry) {
			break
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
}

// consumerGone tells a deleted consumer, which will never answer, from a broker that is starting or electing.
func (h *held) consumerGone(err error) bool {
	if !errors.Is(err, nats.ErrNoResponders) {
		return false
	}
	return isGone(h.sub.bind(h.sub.settling))
}

// ack waits for the broker's confirmation.
func (h *held) ack() error {
	ctx, cancel := context.WithTimeout(h.sub.settling, h.ackWait/3)
	defer cancel()
	_, err := h.sub.conn.consume.RequestWithContext(ctx, h.msg.Reply, acknowledge)
	return err
}

// nak returns the message for later; at once when this replica stops and nobody said otherwise.
func (h *held) nak() error {
	h.mu.Lock()
	delay := h.nakAfter
	h.mu.Unlock()
	switch {
	case delay >= 0:
	case h.sub.stopped():
		delay = 0
	default:
		delay = h.sub.cfg.NakDelay(h.delivered)
	}
	return h.sub.conn.consume.Publish(h.msg.Reply, nak(delay))
}

// giveBackAfter chooses the wait for the case that the message is given back.
func (h *held) giveBackAfter(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.nakAfter = d
}
