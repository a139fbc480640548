package deprovisioner

import (
	"context"
	"iter"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
)

// simOutcomes is a tenure's way to tell the world.
type simOutcomes struct{ w *world }

func (o simOutcomes) since(_ context.Context, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for _, m := range o.w.outcomes.Messages() {
			match := len(m.Subject) > len(filter)-1 && m.Subject[:len(filter)-1] == filter[:len(filter)-1]
			raw := &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Header: m.Header, Data: m.Body}
			if match && m.Sequence >= sequence && !yield(raw, nil) {
				return
			}
		}
	}
}

func (o simOutcomes) publish(_ context.Context, msgs []*nats.Msg) (last uint64, err error) {
	for _, m := range msgs {
		if o.w.dies("before telling") {
			return 0, errCrash
		}
		id := m.Header.Get(nats.MsgIdHdr)
		sequence, again, err := o.w.outcomes.Publish(o.w.now, brokermodel.Message{Subject: m.Subject, ID: id, Header: m.Header, Body: m.Data}, nil)
		if err != nil {
			return 0, err
		}
		if !again {
			o.w.note("told", m.Subject, string(m.Data))
			e, err := events.Read(m.Header, m.Data)
			if err != nil {
				simulation.Violated("I-01", "an outcome that cannot be read: %v", err)
			}
			o.w.judgeTold(e, m.Subject)
		}
		last = sequence
		if o.w.dies("after telling") {
			return 0, errCrash
		}
	}
	return last, nil
}
