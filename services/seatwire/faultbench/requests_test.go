package faultbench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// request is one sync request of another system.
type request struct{ connection, source, id string }

// event is the request's CloudEvent. Its time is a whole second, so that every content mode says the same.
func (r request) event(reason string) events.Event {
	data, _ := json.Marshal(events.SyncRequested{Reason: reason}) // a string always encodes
	return events.Event{ID: r.id, Source: r.source, Type: events.SyncRequestedType, Time: time.Unix(1_800_000_000, 0), Data: data}
}

// structured is an event with its attributes in the body.
func structured(e events.Event) *nats.Msg {
	header, body := e.Encode()
	return &nats.Msg{Header: header, Data: body}
}

// binaryMode is the same event with its attributes in the header.
func binaryMode(e events.Event) *nats.Msg {
	return &nats.Msg{
		Header: nats.Header{
			"ce-specversion": {"1.0"}, "ce-id": {e.ID}, "ce-source": {e.Source}, "ce-type": {e.Type},
			"ce-time": {e.Time.UTC().Format(time.RFC3339Nano)}, "Content-Type": {"application/json"},
		},
		Data: e.Data,
	}
}

// put stores a message, and tries until the broker confirms it, as any publisher does. The id is of this one call, so
// that an answer that comes too late does not store the message twice.
func (b *Bench) put(subject string, m *nats.Msg) {
	b.t.Helper()
	m.Subject = subject
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	m.Header.Set(nats.MsgIdHdr, nuid.Next())
	b.Await(startLimit, "the broker stores a message", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := b.js.PublishMsg(ctx, m)
		return err == nil
	})
}

// Request publishes a sync request and remembers it for the judges.
func (b *Bench) Request(connection, source string) request {
	b.t.Helper()
	b.mu.Lock()
	r := request{connection, source, fmt.Sprintf("%s-%d", connection, len(b.requests)+1)}
	b.requests = append(b.requests, r)
	b.mu.Unlock()
	b.put(subject(events.SyncRequestedSubject, connection), structured(r.event("the bench asks")))
	return r
}

// Sync requests a sweep and returns what became of it.
func (b *Bench) Sync(connection string) events.RosterPublished {
	b.t.Helper()
	return b.Outcome(b.Request(connection, "bench")).RosterPublished
}

// Outcome waits for the answer to a request.
func (b *Bench) Outcome(r request) (o outcome) {
	b.t.Helper()
	b.Await(syncLimit, "the outcome of "+r.id, func() bool {
		all := b.outcomes.of(r.id)
		if len(all) > 0 {
			o = all[0]
		}
		return len(all) > 0
	})
	return o
}

// wantDone checks that outcomes are of a sound sweep that reached Productiv.
func (b *Bench) wantDone(o events.RosterPublished) {
	b.t.Helper()
	if o.Outcome != events.OutcomePublished && o.Outcome != events.OutcomeUnchanged {
		b.t.Errorf("outcome of %s is %s (%s)", o.RequestID, o.Outcome, o.Reason)
	}
}

// outcome is one roster.published event.
type outcome struct {
	events.RosterPublished
	connection string
	sequence   uint64
	// at is when the bench saw it.
	at time.Time
}

// outcomes are all roster.published events so far, read from the stream itself: what is not stored does not count.
type outcomes struct {
	js   jetstream.JetStream
	ring func()

	mu   sync.Mutex
	byID map[string][]outcome
	next uint64
}

// collect reads on when something was published, and now and then because the broker may have been away.
func (b *Bench) collect() *outcomes {
	b.t.Helper()
	c := &outcomes{js: b.js, ring: b.ring, byID: map[string][]outcome{}}
	news := make(chan *nats.Msg, 1024)
	heard, err := b.nc.ChanSubscribe(events.RosterPublishedSubject+".*", news)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		look := time.NewTicker(200 * time.Millisecond)
		defer look.Stop()
		for ctx.Err() == nil {
			select {
			case <-news:
			case <-look.C:
			case <-ctx.Done():
			}
			c.read(ctx)
		}
	}()
	b.t.Cleanup(func() { cancel(); <-ended; _ = heard.Unsubscribe() })
	return c
}

// read takes what is new. An error is the broker being away: the next look reads on from the same place.
func (c *outcomes) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c.mu.Lock()
	next := c.next
	c.mu.Unlock()
	for msg, err := range streams.Read(ctx, c.js, streams.Outcomes, events.RosterPublishedSubject+".*", next) {
		if err != nil {
			return
		}
		c.take(msg)
	}
}

func (c *outcomes) take(msg *jetstream.RawStreamMsg) {
	defer c.ring()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = msg.Sequence + 1
	o := outcome{connection: events.ConnectionOf(msg.Subject), sequence: msg.Sequence, at: time.Now()}
	if event, err := events.Read(msg.Header, msg.Data); err == nil {
		_ = json.Unmarshal(event.Data, &o.RosterPublished) // what is not readable answers nobody, and the judges say so
	}
	c.byID[o.RequestID] = append(c.byID[o.RequestID], o)
}

func (c *outcomes) of(id string) []outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byID[id]
}
