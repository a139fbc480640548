package bus

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
)

// patience is how long a test waits for what must happen; a passing test never waits that long.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	natstest.ServeIfChild()
	mortalIfChild()
	goleak.VerifyTestMain(m)
}

var discard = slog.New(slog.DiscardHandler)

// broker is any of natstest's servers.
type broker interface {
	URL() string
	JetStream(t testing.TB) jetstream.JetStream
}

func dialTest(t testing.TB, b broker) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := Connect(ctx, Options{URL: b.URL(), Name: t.Name()}, discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const testAckWait = 600 * time.Millisecond

// declare makes stream W on w.> with durable d, as package streams would, and the dead-letter stream.
func declare(t testing.TB, js jetstream.JetStream, change ...func(*jetstream.ConsumerConfig)) {
	t.Helper()
	declareStream(t, js, jetstream.StreamConfig{Name: "W", Subjects: []string{"w.>"}, AllowAtomicPublish: true})
	declareStream(t, js, jetstream.StreamConfig{Name: "DEAD", Subjects: []string{events.DeadLetterSubject + ".>"}})
	declareConsumer(t, js, change...)
}

func declareStream(t testing.TB, js jetstream.JetStream, cfg jetstream.StreamConfig) {
	t.Helper()
	cfg.Discard = jetstream.DiscardNew
	if _, err := js.CreateOrUpdateStream(context.Background(), cfg); err != nil {
		t.Fatal(err)
	}
}

func declareConsumer(t testing.TB, js jetstream.JetStream, change ...func(*jetstream.ConsumerConfig)) {
	t.Helper()
	cfg := jetstream.ConsumerConfig{
		Durable: "d", AckPolicy: jetstream.AckExplicitPolicy, AckWait: testAckWait, MaxDeliver: -1, MaxAckPending: 100,
	}
	for _, c := range change {
		c(&cfg)
	}
	if _, err := js.CreateOrUpdateConsumer(context.Background(), "W", cfg); err != nil {
		t.Fatal(err)
	}
}

func publish(t testing.TB, js jetstream.JetStream, subject, body string, header ...nats.Header) uint64 {
	t.Helper()
	msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for _, h := range header {
		msg.Header = h
	}
	ack, err := js.PublishMsg(context.Background(), msg)
	if err != nil {
		t.Fatal(err)
	}
	return ack.Sequence
}

func awaitSettled(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	natstest.Eventually(t, patience, "everything is acknowledged", func(ctx context.Context) bool {
		c, err := js.Consumer(ctx, "W", "d")
		return err == nil && c.CachedInfo().NumPending == 0 && c.CachedInfo().NumAckPending == 0
	})
}

// receiveOne is the next value of a channel, or the end of the test.
func receiveOne[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatalf("channel closed instead of %s", what)
		}
		return v
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
		panic("unreachable")
	}
}

// awaitClosed waits for the end of a channel and fails on a value.
func awaitClosed[T any](t testing.TB, c <-chan T, what string) {
	t.Helper()
	select {
	case v, ok := <-c:
		if ok {
			t.Fatalf("got %v instead of the end: %s", v, what)
		}
	case <-time.After(patience):
		t.Fatalf("not within %s: %s", patience, what)
	}
}
