package bus

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// limited makes the durable give up after n deliveries.
func limited(n int) func(*jetstream.ConsumerConfig) {
	return func(cfg *jetstream.ConsumerConfig) { cfg.MaxDeliver = n }
}

// newSwept is a rig whose stream W may be read, as all of ours may.
func newSwept(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, RouterConfig{})
	declareStream(t, r.js, readable)
	return r
}

var readable = jetstream.StreamConfig{Name: "W", Subjects: []string{"w.>"}, AllowAtomicPublish: true, AllowDirect: true}

// exhaust takes every message that the durable has, as a process would that dies each time, until the broker gave up
// on n of them.
func exhaust(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	c, err := js.Consumer(context.Background(), "W", "d")
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, "the broker gave up", func(ctx context.Context) bool {
		batch, err := c.FetchNoWait(100)
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			_ = m.Nak()
		}
		info := consumerInfo(t, js)
		return info.NumAckPending == 0 && info.NumPending == 0 && info.NumRedelivered >= n
	})
}

// settledWhen is what a service knows of its work: the bodies whose work is done.
func settledWhen(done ...string) Settled {
	return func(_ context.Context, _ Delivery, body []byte) (bool, error) {
		for _, b := range done {
			if b == string(body) {
				return true, nil
			}
		}
		return false, nil
	}
}

// declareAdvisories makes the stream that keeps what the broker says of W's durables, read through durable d.
func declareAdvisories(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	declareStream(t, js, jetstream.StreamConfig{Name: "ADVICE", Subjects: []string{"$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.W.*", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.W.*"}})
	_, err := js.CreateOrUpdateConsumer(context.Background(), "ADVICE", jetstream.ConsumerConfig{
		Durable: "advice", AckPolicy: jetstream.AckExplicitPolicy, AckWait: testAckWait, MaxDeliver: -1, MaxAckPending: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// awaitForgotten waits until the durable counts nothing as redelivered: what it gave up on is acknowledged.
func awaitForgotten(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	natstest.Eventually(t, patience, "the durable gave up on nothing", func(context.Context) bool { return consumerInfo(t, js).NumRedelivered == 0 })
}

// wantExhausted checks the only dead letter.
func (r *rig) wantExhausted(t *testing.T, body string, sequence uint64) {
	t.Helper()
	letter := r.deadLetter(t)
	header := deadHeader(t, letter)
	if header[HeaderDeadReason] != ReasonExhausted || header[HeaderDeadSequence] != strconv.FormatUint(sequence, 10) || string(letter.Data) != body {
		t.Errorf("dead letter %v with body %q", header, letter.Data)
	}
	if n := r.deadLetters(t); n != 1 {
		t.Errorf("%d dead letters", n)
	}
}

// TestExhausted_byAdvisory: what the broker gave up on while every program was down is kept when one is back; what
// was handled all the same is not.
func TestExhausted_byAdvisory(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	declareAdvisories(t, r.js)
	declareConsumer(t, r.js, limited(2))
	publish(t, r.js, "w.acme", "handled")
	sequence := publish(t, r.js, "w.acme", "given up", nats.Header{"Ce-Id": {"a"}})
	exhaust(t, r.js, 2)
	r.newRouter(t, RouterConfig{Advisories: "ADVICE.advice"})
	r.router.Watch("W", "d", settledWhen("handled"))
	r.start(t, 1, func(context.Context, Delivery, []byte) error { t.Error("delivered again"); return nil })
	r.deadLetter(t)
	awaitForgotten(t, r.js)
	r.end(t)
	r.wantExhausted(t, "given up", sequence)
}

// TestExhausted_terminated: a message that somebody ended by hand is kept too.
func TestExhausted_terminated(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	declareAdvisories(t, r.js)
	sequence := publish(t, r.js, "w.acme", "ended")
	c, err := r.js.Consumer(context.Background(), "W", "d")
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil || m.Term() != nil {
		t.Fatal(err)
	}
	r.newRouter(t, RouterConfig{Advisories: "ADVICE.advice"})
	r.router.Watch("W", "d", settledWhen())
	r.start(t, 1, func(context.Context, Delivery, []byte) error { return nil })
	r.wantExhausted(t, "ended", sequence)
	r.end(t)
}

// TestExhausted_bySweep: no advisory, nobody there when it happened, the broker killed, and the limit mended before we
// are back: it is found all the same, and nothing else is.
func TestExhausted_bySweep(t *testing.T) {
	t.Parallel()
	server := natstest.RunProcess(t)
	r := &rig{js: server.JetStream(t), conn: dialTest(t, server), registry: prometheus.NewRegistry(), log: &safeBuffer{}, ended: make(chan error, 1)}
	declare(t, r.js, limited(2))
	declareStream(t, r.js, readable)
	publish(t, r.js, "w.acme", "handled before")
	ackNext(t, r.js)
	publish(t, r.js, "w.acme", "handled all the same")
	sequence := publish(t, r.js, "w.acme", "given up")
	exhaust(t, r.js, 2)
	publish(t, r.js, "w.acme", "handled after")
	ackNext(t, r.js)
	server.Kill()
	server.Start(t)
	natstest.Eventually(t, patience, "connected again", func(ctx context.Context) bool {
		_, err := r.js.Consumer(ctx, "W", "d")
		return err == nil && r.conn.Healthy() == nil
	})
	exhaust(t, r.js, 2) // what was acknowledged a moment before the kill may have come back, and be given up too
	declareConsumer(t, r.js)
	r.newRouter(t, RouterConfig{SweepEvery: 10 * time.Millisecond})
	r.router.Watch("W", "d", settledWhen("handled all the same", "handled before", "handled after"))
	r.start(t, 1, func(context.Context, Delivery, []byte) error { t.Error("delivered again"); return nil })
	r.deadLetter(t)
	awaitForgotten(t, r.js)
	r.end(t)
	r.wantExhausted(t, "given up", sequence)
}

// TestExhausted_behindAStranger: a message whose producer wrote the headers by which the broker tells that there is
// nothing more hides none of those behind it.
func TestExhausted_behindAStranger(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	declareConsumer(t, r.js, limited(2))
	publish(t, r.js, "w.acme", "", nats.Header{"Status": {"404"}})
	publish(t, r.js, "w.acme", "", nats.Header{"Status": {"204"}, "Description": {"EOB"}, "Nats-Sequence": {"1"}})
	publish(t, r.js, "w.acme", "given up")
	exhaust(t, r.js, 3)
	r.newRouter(t, RouterConfig{SweepEvery: 10 * time.Millisecond})
	r.router.Watch("W", "d", settledWhen())
	r.start(t, 1, func(context.Context, Delivery, []byte) error { t.Error("delivered again"); return nil })
	awaitForgotten(t, r.js)
	r.end(t)
	if n := r.deadLetters(t); n != 3 {
		t.Errorf("%d dead letters of 3", n)
	}
}

func ackNext(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	c, err := js.Consumer(context.Background(), "W", "d")
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.DoubleAck(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// look sweeps the durable a few times, as time would.
func (r *rig) look(t *testing.T, w *watched) {
	t.Helper()
	for range 3 {
		if err := r.router.sweep(context.Background(), w); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSweep_leavesAloneWhatIsInFlight: neither a message in hand for the third time nor one that waits for its next
// delivery is exhausted, whatever is behind them.
func TestSweep_leavesAloneWhatIsInFlight(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	declareConsumer(t, r.js, func(cfg *jetstream.ConsumerConfig) { cfg.AckWait = time.Hour })
	c, err := r.js.Consumer(context.Background(), "W", "d")
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r.js, "w.acme", "in hand")
	for delivered := 1; delivered < 3; delivered++ {
		m, err := c.Next()
		if err != nil || m.Nak() != nil {
			t.Fatal(err)
		}
	}
	inHand, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	publish(t, r.js, "w.acme", "waiting")
	waiting, err := c.Next()
	if err != nil || waiting.NakWithDelay(time.Hour) != nil {
		t.Fatal(err)
	}
	publish(t, r.js, "w.acme", "acknowledged")
	ackNext(t, r.js)
	w := &watched{stream: "W", durable: "d", settled: func(context.Context, Delivery, []byte) (bool, error) {
		t.Error("somebody in flight was asked for")
		return false, nil
	}}
	r.look(t, w)
	if err := inHand.DoubleAck(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.look(t, w)
	if n := r.deadLetters(t); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestSweep_busyDurable: with others in flight, an exhausted message is found when the broker's figures prove it.
func TestSweep_busyDurable(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	declareConsumer(t, r.js, limited(2))
	for _, body := range []string{"given up", "given up too"} {
		publish(t, r.js, "w.acme", body)
	}
	exhaust(t, r.js, 2)
	w := &watched{stream: "W", durable: "d", settled: settledWhen()}
	if err := r.router.sweep(context.Background(), w); err != nil {
		t.Fatal(err)
	}
	declareConsumer(t, r.js, limited(2), func(cfg *jetstream.ConsumerConfig) { cfg.AckWait = time.Hour })
	publish(t, r.js, "w.acme", "in hand")
	c, err := r.js.Consumer(context.Background(), "W", "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Next(); err != nil {
		t.Fatal(err)
	}
	r.look(t, w)
	if n := r.deadLetters(t); n != 2 {
		t.Errorf("%d dead letters, want 2", n)
	}
	awaitForgotten(t, r.js)
}

// TestSweep_goesOnAtItsMark: what is accounted for is not looked at again, by nobody.
func TestSweep_goesOnAtItsMark(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	if _, err := r.js.CreateKeyValue(context.Background(), jetstream.KeyValueConfig{Bucket: streams.State}); err != nil {
		t.Fatal(err)
	}
	store, err := state.Open(context.Background(), r.js)
	if err != nil {
		t.Fatal(err)
	}
	r.router.deps.State = store
	publish(t, r.js, "w.acme", "refused before, with a dead letter")
	ackNext(t, r.js)
	r.look(t, &watched{stream: "W", durable: "d"})
	declareConsumer(t, r.js, limited(2))
	publish(t, r.js, "w.acme", "given up")
	exhaust(t, r.js, 1)
	r.look(t, &watched{stream: "W", durable: "d", settled: settledWhen()}) // another replica
	r.wantExhausted(t, "given up", 2)
}

// TestSweep_workQueue: a queue lets go of the message only now, and the dead letter was stored before.
func TestSweep_workQueue(t *testing.T) {
	t.Parallel()
	r := newSwept(t)
	if err := r.js.DeleteStream(context.Background(), "W"); err != nil {
		t.Fatal(err)
	}
	declareStream(t, r.js, jetstream.StreamConfig{Name: "W", Subjects: []string{"w.>"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true})
	declareConsumer(t, r.js, limited(2))
	publish(t, r.js, "w.acme", "given up")
	exhaust(t, r.js, 1)
	r.look(t, &watched{stream: "W", durable: "d", settled: settledWhen()})
	r.wantExhausted(t, "given up", 1)
	natstest.Eventually(t, patience, "the queue is empty", func(ctx context.Context) bool {
		s, err := r.js.Stream(ctx, "W")
		return err == nil && s.CachedInfo().State.Msgs == 0
	})
}
