package deprovisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) {
	natstest.ServeIfChild()
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen; a passing test never waits that long.
const patience = 60 * time.Second

// town is a broker, a plan and any number of replicas.
type town struct {
	t      *testing.T
	server *natstest.Server
	js     jetstream.JetStream
	plan   *testPlan
	cfg    *config.Config
	ledger *deprovision.Ledger
	began  time.Time // of every event, so that a repeat is one

	mu       sync.Mutex
	settled  []events.DeprovisionSettled
	progress []events.DeprovisionProgressed
	ids      map[string]int // CloudEvents ids of settled events
	heard    chan struct{}
}

func newTown(t *testing.T, people int, change func(*config.Deprovision)) *town {
	t.Helper()
	w := &town{t: t, server: natstest.Run(t), plan: newTestPlan(t, people), ids: map[string]int{}, began: time.Now(), heard: make(chan struct{}, 1)}
	c := config.DefaultConnection("acme")
	c.Pluralsight.GraphQLURL, c.Pluralsight.DeprovisionURL = w.plan.URL+"/graphql", w.plan.URL+"/deprovision"
	c.Pluralsight.Token = config.SecretValue("token")
	c.Deprovision.BatchMaxAge, c.Deprovision.VerifyEvery, c.Deprovision.VerifyWithin = 100*time.Millisecond, 50*time.Millisecond, patience
	c.Deprovision.Apply, c.Deprovision.MaxUsersPerBatchAuto, c.Deprovision.MaxUsers24hAuto = "auto", 1000, 10_000
	change(&c.Deprovision)
	w.cfg = config.Default()
	w.cfg.NATS.URL = w.server.URL()
	w.cfg.Retry = config.Retry{MaxAttempts: 3, InitialDelay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond, CallTimeout: 500 * time.Millisecond}
	w.cfg.Connections = []config.Connection{c}
	w.js = w.server.JetStream(t)
	w.ledger = deprovision.Open(w.js)
	topology := streams.For(w.cfg)
	for i := range topology.Streams { // the broker reserves what a stream may grow to, and a test's disk is small
		topology.Streams[i].MaxBytes = 256 << 20
	}
	if err := streams.Ensure(t.Context(), w.js, topology); err != nil {
		t.Fatal(err)
	}
	w.listen()
	return w
}

// listen collects what the world is told.
func (w *town) listen() {
	w.t.Helper()
	consumer, err := w.js.OrderedConsumer(w.t.Context(), streams.Outcomes, jetstream.OrderedConsumerConfig{})
	if err != nil {
		w.t.Fatal(err)
	}
	running, err := consumer.Consume(func(msg jetstream.Msg) {
		e, err := events.Read(msg.Headers(), msg.Data())
		if err != nil {
			w.t.Errorf("an outcome that cannot be read: %v", err)
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		switch e.Type {
		case events.DeprovisionSettledType:
			w.settled = append(w.settled, decodeData[events.DeprovisionSettled](w.t, e))
			w.ids[e.ID]++
		case events.DeprovisionProgressedType:
			w.progress = append(w.progress, decodeData[events.DeprovisionProgressed](w.t, e))
		}
		select {
		case w.heard <- struct{}{}:
		default:
		}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(running.Stop)
}

func decodeData[T any](t *testing.T, e events.Event) (out T) {
	if err := json.Unmarshal(e.Data, &out); err != nil {
		t.Errorf("data of %s: %v", e.Type, err)
	}
	return out
}

// start runs a replica; stop drains it.
func (w *town) start() (stop func()) {
	w.t.Helper()
	stop, _ = w.replica()
	return stop
}

// replica runs a replica. stop drains it; kill cuts it off from the broker in the middle of whatever it does, so that
// it says nothing more and writes nothing more, and hands nothing back.
func (w *town) replica() (stop, kill func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(w.t.Output(), nil))
	conn, err := bus.Connect(ctx, bus.Options{URL: w.server.URL(), Name: w.t.Name()}, log)
	if err != nil {
		w.t.Fatal(err)
	}
	router, err := bus.NewRouter(bus.RouterConfig{Service: streams.Deprovisioner, ConnectionOf: events.ConnectionOf}, bus.Deps{Conn: conn, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.cfg.Connections[0]
	client := pluralsight.New(pluralsight.ConfigOf(c.Pluralsight, w.cfg.Retry, "test"), pluralsight.Deps{Log: log, Connection: c.Name})
	service := New(w.cfg, Deps{Conn: conn, Router: router, Plans: map[string]Pluralsight{c.Name: client}, Log: log})
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx) }()
	killed := false
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !killed {
			w.t.Errorf("the replica stopped with: %v", err)
		}
		client.Close()
		conn.Close()
	})
	w.t.Cleanup(stop)
	return stop, func() {
		killed = true
		conn.JS().Conn().Close()
		conn.ConsumeJS().Conn().Close()
	}
}

// publish sends a request as another system would, in binary mode.
func (w *town) publish(source, id string, data map[string]any) {
	w.t.Helper()
	w.publishEvent("requested", events.DeprovisionRequestedType, source, id, w.began, data)
}

func (w *town) publishEvent(kind, eventType, source, id string, at time.Time, data map[string]any) {
	w.t.Helper()
	body, err := json.Marshal(data)
	if err != nil {
		w.t.Fatal(err)
	}
	msg := &nats.Msg{Subject: "seatwire.v1.deprovision." + kind + ".acme." + source, Data: body, Header: nats.Header{
		"Content-Type": {"application/json"}, "ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/" + source},
		"ce-type": {eventType}, "ce-time": {at.UTC().Format(time.RFC3339Nano)},
	}}
	if _, err := w.js.PublishMsg(w.t.Context(), msg); err != nil {
		w.t.Fatal(err)
	}
}

func (w *town) cancel(source, id, target string) {
	w.t.Helper()
	w.publishEvent("cancelled", events.DeprovisionCancelledType, source, id, time.Now(), map[string]any{"source": "/" + source, "id": target})
}

// outcomes waits for n settled requests and returns them by "source id".
func (w *town) outcomes(n int) map[string]events.DeprovisionSettled {
	w.t.Helper()
	late := time.After(patience)
	for {
		w.mu.Lock()
		by := map[string]events.DeprovisionSettled{}
		for _, s := range w.settled {
			by[s.RequestSource+" "+s.RequestID] = s
		}
		repeated := len(w.settled) - len(by)
		w.mu.Unlock()
		if repeated > 0 {
			w.t.Fatalf("%d settled events too many", repeated)
		}
		if len(by) >= n {
			return by
		}
		select {
		case <-w.heard:
		case <-late:
			w.t.Fatalf("%d of %d requests settled in time; ledger: %s", len(by), n, w.describe())
		}
	}
}

func (w *town) describe() string {
	counts, err := w.ledger.ByState(context.Background(), "acme")
	text := fmt.Sprint(counts, err)
	for b, err := range w.ledger.Batches(context.Background(), "acme") {
		if err == nil && b.State.Open() {
			text += fmt.Sprintf(" batch %s %s %q", b.ID[:6], b.State, b.Reason)
		}
	}
	return text
}

// eventually waits until the ledger says so.
func (w *town) eventually(what string, condition func() bool) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, what, func(context.Context) bool { return condition() })
}

func (w *town) batchesIn(state deprovision.BatchState) (found []deprovision.Batch) {
	w.t.Helper()
	for b, err := range w.ledger.Batches(w.t.Context(), "acme") {
		if err != nil {
			w.t.Fatal(err)
		}
		if b.State == state {
			found = append(found, b)
		}
	}
	return found
}

func (w *town) deadLetters() (reasons []string) {
	w.t.Helper()
	for msg, err := range streams.Read(w.t.Context(), w.js, streams.DeadLetters, "seatwire.v1.deadletter.deprovisioner.>", 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		reasons = append(reasons, msg.Header.Get("Seatwire-Dead-Reason"))
	}
	return reasons
}

func email(n int) map[string]any {
	return map[string]any{"email": fmt.Sprintf("p%d@corp.example", n)}
}
