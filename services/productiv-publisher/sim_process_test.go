package publisher

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

var errCrash = errors.New("the process died")

// deliver hands one message to a newly started process, and settles it as the router does.
func (w *simWorld) deliver() {
	d, any := w.lane.Pull(time.Now())
	if !any {
		return
	}
	w.processes++
	mine := &process{w: w, number: w.processes, delivery: d}
	w.note("delivered", d.Subject, strconv.Itoa(d.Delivered))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	mine.stop = stop
	err := mine.lane().deliver(ctx, bus.Delivery{Subject: d.Subject, Sequence: d.Sequence, Delivered: uint64(d.Delivered), Lease: mine}, d.Body)
	switch {
	case mine.dead:
		w.note("died")
		pass(streams.AckWait)
	case err == nil && mine.owns():
		w.lane.Ack(d.Sequence)
		w.note("acknowledged", d.Subject)
	case mine.owns():
		w.note("given back", err.Error())
		w.lane.Nak(d.Sequence, time.Second, time.Now())
		pass(time.Second)
	}
}

// process is one replica at work on one delivery.
type process struct {
	w        *simWorld
	number   int
	delivery brokermodel.Delivery
	stop     context.CancelFunc
	dead     bool
	hold     *laneHold
}

func (p *process) lane() *lane {
	w := p.w
	store := state.New(simKV{state: &w.state, p: p}, simStore{w})
	l := &lane{connection: w.c, maxStalls: 3, deps: Deps{
		Log: slog.New(slog.DiscardHandler), Streams: simStore{w}, Publisher: p, State: store, Now: time.Now,
	}}
	p.hold = &l.hold
	l.app = simClient{w.app, p}
	return l
}

// owns is true for the newest delivery of a message: nobody pulled it since.
func (p *process) owns() bool { return p.w.lane.Delivered(p.delivery.Sequence) == p.delivery.Delivered }

// Renew implements bus.Lease.
func (p *process) Renew(context.Context) error {
	if !p.owns() {
		return errors.New("somebody else has the message")
	}
	p.w.lane.InProgress(p.delivery.Sequence, time.Now())
	return nil
}

// effect carries out one effect of a process, which may die before it or after it, or be frozen before it while another
// replica goes on.
func (p *process) effect(what string, do func() error) error {
	if p.dead {
		return errCrash
	}
	w := p.w
	if !w.calm && simulation.Chance(w, "frozen", 60) {
		w.note("frozen before", what)
		pass(streams.AckWait + time.Second)
		w.deliver()
	}
	if w.calm || !simulation.Chance(w, "dies", 50) {
		return do()
	}
	if simulation.Chance(w, "after", 2) {
		_ = do() // nobody hears of it
	}
	w.note("dies at", what)
	p.dead = true
	p.stop()
	return errCrash
}

// PublishMsg implements Publisher.
func (p *process) PublishMsg(_ context.Context, subject, id string, header nats.Header, body []byte) (ack *jetstream.PubAck, err error) {
	stream := streams.Outcomes
	switch {
	case strings.HasPrefix(subject, streams.PublicationChunkSubject):
		stream = streams.Plans
	case strings.HasPrefix(subject, streams.PublicationOwnedSubject):
		stream = streams.Owned
	}
	err = p.effect("message", func() error {
		sequence, again, err := p.w.streams[stream].Publish(time.Now(), brokermodel.Message{Subject: subject, ID: id, Header: header, Body: body}, nil)
		if errors.Is(err, brokermodel.ErrKeyExists) {
			return &jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages per subject exceeded"}
		}
		if stream == streams.Outcomes && !again {
			p.w.note("told", string(body))
			p.w.judgeTold(header, body)
		}
		ack = &jetstream.PubAck{Sequence: sequence, Duplicate: again}
		return nil
	})
	return ack, err
}
