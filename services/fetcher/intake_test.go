package fetcher

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

func syncEvent(change func(*events.Event)) events.Event {
	e := events.Event{
		ID: "id-1", Source: "/test", Type: events.SyncRequestedType,
		Time: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC), Data: []byte(`{"reason":"test"}`),
	}
	if change != nil {
		change(&e)
	}
	return e
}

func (g *ground) fetcher() *Fetcher {
	return &Fetcher{cfg: g.cfg, deps: g.process(&vendor{}, nil).deps}
}

func (g *ground) take(f *Fetcher, connection string, e events.Event) error {
	header, body := e.Encode()
	return f.intake(g.t.Context(), bus.Delivery{Subject: events.Subject(events.SyncRequestedSubject, connection), Header: header}, body)
}

func (g *ground) accepted() int {
	g.t.Helper()
	n, err := streams.Count(g.t.Context(), g.conn.JS(), streams.Sweeps, events.Subject(streams.SweepAcceptedSubject, acme, "*"))
	if err != nil {
		g.t.Fatal(err)
	}
	return n
}

func TestIntake(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	f := g.fetcher()
	reject := func(t *testing.T, err error) {
		t.Helper()
		if fault.ReasonOf(err) != "rejected" || fault.ClassOf(err) != fault.Permanent {
			t.Errorf("%v, want a permanent rejection", err)
		}
	}
	accepts := func(t *testing.T, e events.Event, more int) {
		t.Helper()
		before := g.accepted()
		if err := g.take(f, acme, e); err != nil {
			t.Fatal(err)
		}
		if got := g.accepted() - before; got != more {
			t.Errorf("%d accepted, want %d", got, more)
		}
	}

	t.Run("accepted once, however often it comes", func(t *testing.T) {
		accepts(t, syncEvent(nil), 1)
		accepts(t, syncEvent(nil), 0)
		accepts(t, syncEvent(func(e *events.Event) { e.Data = []byte("{ \"reason\" :\n\"test\"}") }), 0)
	})
	t.Run("the same identity with other content is refused", func(t *testing.T) {
		for _, change := range []func(*events.Event){
			func(e *events.Event) { e.Data = []byte(`{"reason":"another"}`) },
			func(e *events.Event) { e.Time = e.Time.Add(time.Second) },
		} {
			reject(t, g.take(f, acme, syncEvent(change)))
		}
		accepts(t, syncEvent(nil), 0)
	})
	t.Run("another id or another source is another request", func(t *testing.T) {
		accepts(t, syncEvent(func(e *events.Event) { e.ID = "id-2" }), 1)
		accepts(t, syncEvent(func(e *events.Event) { e.Source = "/other" }), 1)
	})
	t.Run("nothing in the data is needed, and more is ignored", func(t *testing.T) {
		for id, data := range map[string]string{"none": ``, "null": `null`, "empty": `{}`, "more": `{"reason":"","x":[1]}`, "own": `{"connection":"acme"}`} {
			accepts(t, syncEvent(func(e *events.Event) { e.ID, e.Data = id, []byte(data) }), 1)
		}
	})
	t.Run("an unknown connection is refused", func(t *testing.T) {
		reject(t, g.take(f, "nobody", syncEvent(nil)))
		reject(t, g.take(f, "NOBODY", syncEvent(nil)))
	})
	t.Run("another type is refused", func(t *testing.T) {
		reject(t, g.take(f, acme, syncEvent(func(e *events.Event) { e.ID, e.Type = "type", events.RosterPublishedType })))
	})
	t.Run("data of the wrong shape is refused", func(t *testing.T) {
		for _, data := range []string{`[]`, `"x"`, `7`, `{"reason":7}`, `{"reason":{}}`, `{"connection":7}`} {
			reject(t, g.take(f, acme, syncEvent(func(e *events.Event) { e.ID, e.Data = "shape", []byte(data) })))
		}
	})
	t.Run("data that names another connection is refused", func(t *testing.T) {
		reject(t, g.take(f, acme, syncEvent(func(e *events.Event) { e.ID, e.Data = "elsewhere", []byte(`{"connection":"beta"}`) })))
	})
	t.Run("what is no event is undecodable", func(t *testing.T) {
		err := f.intake(t.Context(), bus.Delivery{Subject: events.Subject(events.SyncRequestedSubject, acme)}, []byte("sync please"))
		if fault.ReasonOf(err) != "undecodable" {
			t.Error(err)
		}
	})
	t.Run("an accepted request that is not readable yet is no impostor", func(t *testing.T) {
		lagging := *f
		lagging.deps.Publisher = taken{}
		err := g.take(&lagging, acme, syncEvent(func(e *events.Event) { e.ID = "lagging" }))
		if err == nil || fault.ClassOf(err) != fault.Transient {
			t.Errorf("%v, want to try again", err)
		}
	})
	t.Run("a broker that does not store is tried again", func(t *testing.T) {
		down := *f
		down.deps.Publisher = failing{f.deps.Publisher, func(string) bool { return true }}
		if err := g.take(&down, acme, syncEvent(func(e *events.Event) { e.ID = "down" })); err == nil || fault.ClassOf(err) == fault.Permanent {
			t.Error(err)
		}
	})
}

// taken says of every key that somebody else wrote it first.
type taken struct{}

func (taken) PublishMsg(context.Context, string, string, nats.Header, []byte) (*jetstream.PubAck, error) {
	return &jetstream.PubAck{Duplicate: true}, nil
}

// Through the router, a refused request becomes a dead letter and delays nobody; the schedule's request is swept.
func TestFetcher_runs(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.cfg.Connections[0].Sync.Every = time.Hour
	router, err := bus.NewRouter(bus.RouterConfig{Service: streams.Fetcher, MaxDeliveries: 2, ConnectionOf: events.ConnectionOf},
		bus.Deps{Conn: g.conn, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{admins: 1, users: 3, pageSize: 2}
	deps := g.process(v, nil).deps
	deps.Router = router
	f := New(g.cfg, deps)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	if _, err := g.conn.JS().Publish(t.Context(), events.Subject(events.SyncRequestedSubject, acme), []byte("?")); err != nil {
		t.Error(err)
	}
	natstest.Eventually(t, patience, "a sweep and a dead letter", func(ctx context.Context) bool {
		swept, err := streams.Count(ctx, g.conn.JS(), streams.Swept, ">")
		dead, errDead := streams.Count(ctx, g.conn.JS(), streams.DeadLetters, events.Subject(events.DeadLetterSubject, streams.Fetcher, acme))
		return err == nil && errDead == nil && swept == 1 && dead == 1
	})
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	g.whole(g.only(), v)
	msg, err := streams.At(g.conn.JS()).Newest(t.Context(), streams.DeadLetters, ">")
	if err != nil || msg.Header.Get(bus.HeaderDeadReason) != "undecodable" {
		t.Errorf("%v, %v", msg, err)
	}
}
