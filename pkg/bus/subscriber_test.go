package bus

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
)

func subscribe(t *testing.T, c *Conn, cfg SubscriberConfig) (*Subscriber, <-chan *message.Message) {
	t.Helper()
	s := NewSubscriber(c, cfg, discard)
	out, err := s.Subscribe(context.Background(), "W.d")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, out
}

// TestRepeatedHeader: watermill-nats dies of a header with two values, again at each restart.
func TestRepeatedHeader(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	sequence := publish(t, js, "w.1", "body", nats.Header{"Ce-Id": {"a", "b"}, "Nats-Foo": {"x"}, "_watermill_message_uuid": {"u"}})

	_, out := subscribe(t, c, SubscriberConfig{})
	m := receiveOne(t, out, "the message")
	if m.UUID != "u" || string(m.Payload) != "body" || m.Metadata.Get("Ce-Id") != "a" || len(m.Metadata) != 1 {
		t.Fatalf("uuid %q, payload %q, metadata %v", m.UUID, m.Payload, m.Metadata)
	}
	d, ok := DeliveryOf(m.Context())
	if !ok || d.Stream != "W" || d.Consumer != "d" || d.Subject != "w.1" || d.Sequence != sequence || d.Delivered != 1 || d.Time.IsZero() {
		t.Fatalf("delivery %+v", d)
	}
	if len(d.Header["Ce-Id"]) != 2 || d.Header.Get("Nats-Foo") != "x" {
		t.Fatalf("original header %v", d.Header)
	}
	m.Ack()
	awaitSettled(t, js)
}

// TestStatusHeader: the client library takes an empty message with this header for a line of the protocol, so that it is
// delivered for ever and seen never. One such message would block a lane.
func TestStatusHeader(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js, func(cfg *jetstream.ConsumerConfig) { cfg.MaxAckPending = 1 })
	_, out := subscribe(t, c, SubscriberConfig{})
	for _, status := range []string{"100", "404", "408", "409", "503"} {
		publish(t, js, "w.1", "", nats.Header{"Status": {status}, "Description": {"Consumer Deleted"}})
		m := receiveOne(t, out, "the message with Status "+status)
		if d, _ := DeliveryOf(m.Context()); d.Delivered != 1 || m.Metadata.Get("Status") != status {
			t.Fatalf("delivery %+v, metadata %v", d, m.Metadata)
		}
		m.Ack()
	}
	awaitSettled(t, js)
}

// TestNoAckWithoutHandling: nothing but Ack acknowledges; not a Nak, not a stop, not a handler that was abandoned.
func TestNoAckWithoutHandling(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	publish(t, js, "w.1", "")

	first, out := subscribe(t, c, SubscriberConfig{CloseTimeout: time.Millisecond})
	receiveOne(t, out, "first delivery").Nack()
	abandoned := receiveOne(t, out, "second delivery")
	first.Close()
	if cause := context.Cause(abandoned.Context()); !errors.Is(cause, errStopped) {
		t.Fatalf("context of an abandoned message: %v", cause)
	}
	abandoned.Ack() // too late: nobody hears it

	_, out = subscribe(t, c, SubscriberConfig{})
	m := receiveOne(t, out, "third delivery")
	if d, _ := DeliveryOf(m.Context()); d.Delivered != 3 {
		t.Fatalf("delivered %d times, want 3", d.Delivered)
	}
	m.Ack()
	awaitSettled(t, js)
}

// TestSharedDurable: a clean stop of one replica leaves the durable and the other replica alone.
func TestSharedDurable(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	one, outOne := subscribe(t, c, SubscriberConfig{})
	_, outTwo := subscribe(t, c, SubscriberConfig{})
	publish(t, js, "w.1", "")
	select {
	case m := <-outOne:
		m.Ack()
	case m := <-outTwo:
		m.Ack()
	case <-time.After(patience):
		t.Fatal("no replica got the message")
	}
	awaitSettled(t, js)
	one.Close()
	awaitClosed(t, outOne, "the channel of the stopped replica")

	for range 10 {
		publish(t, js, "w.2", "")
	}
	for range 10 {
		m := receiveOne(t, outTwo, "the other replica goes on")
		if d, _ := DeliveryOf(m.Context()); d.Delivered != 1 || d.Subject != "w.2" {
			t.Fatalf("replayed: %+v", d)
		}
		m.Ack()
	}
	awaitSettled(t, js)
}

// TestSlowHandler: work of three ack waits runs once, and once at a time.
func TestSlowHandler(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	_, one := subscribe(t, c, SubscriberConfig{})
	_, two := subscribe(t, c, SubscriberConfig{})
	publish(t, js, "w.1", "")
	var m *message.Message
	var others = [2]<-chan *message.Message{one, two}
	select {
	case m = <-one:
	case m = <-two:
	case <-time.After(patience):
		t.Fatal("no delivery")
	}
	work := time.After(3 * testAckWait)
	select {
	case <-work:
	case <-others[0]:
		t.Fatal("delivered again while in work")
	case <-others[1]:
		t.Fatal("delivered again while in work")
	case <-m.Context().Done():
		t.Fatal("context ended while in work")
	}
	m.Ack()
	awaitSettled(t, js)
	if info := consumerInfo(t, js); info.Delivered.Consumer != 1 {
		t.Fatalf("%d deliveries, want 1", info.Delivered.Consumer)
	}
}

func consumerInfo(t *testing.T, js jetstream.JetStream) *jetstream.ConsumerInfo {
	t.Helper()
	consumer, err := js.Consumer(context.Background(), "W", "d")
	if err != nil {
		t.Fatal(err)
	}
	return consumer.CachedInfo()
}

// TestMaxHold: a handler that hangs keeps its message no longer than that.
func TestMaxHold(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	_, out := subscribe(t, c, SubscriberConfig{Concurrency: 2, MaxHold: testAckWait})
	publish(t, js, "w.1", "")
	hung := receiveOne(t, out, "first delivery")
	again := receiveOne(t, out, "second delivery")
	if cause := context.Cause(hung.Context()); !errors.Is(cause, errHeldTooLong) {
		t.Fatalf("context of the hung delivery: %v", cause)
	}
	d, _ := DeliveryOf(hung.Context())
	natstest.Eventually(t, patience, "the hung delivery is lost", func(ctx context.Context) bool { return d.Renew(ctx) != nil })
	hung.Ack() // must not settle the second delivery
	again.Nack()
	receiveOne(t, out, "third delivery").Ack()
	awaitSettled(t, js)
}

// TestConcurrency: as many at once as asked for, and not one more, nor anything waiting in a buffer.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	for range 10 {
		publish(t, js, "w.1", "")
	}
	_, out := subscribe(t, c, SubscriberConfig{Concurrency: 3})
	var held []*message.Message
	for range 3 {
		held = append(held, receiveOne(t, out, "a slot's message"))
	}
	if info := consumerInfo(t, js); info.NumAckPending != 3 || info.NumPending != 7 {
		t.Fatalf("%d out, %d waiting at the broker; want 3 and 7", info.NumAckPending, info.NumPending)
	}
	select {
	case <-out:
		t.Fatal("a fourth message with three slots")
	default:
	}
	for _, m := range held {
		m.Ack()
	}
	for range 7 {
		receiveOne(t, out, "the rest").Ack()
	}
	awaitSettled(t, js)
}

// TestCloseLeavesConnection: connections are shared.
func TestCloseLeavesConnection(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	s, out := subscribe(t, c, SubscriberConfig{})
	s.Close()
	s.Close()
	awaitClosed(t, out, "the channel")
	if _, err := s.Subscribe(context.Background(), "W.d"); err == nil {
		t.Fatal("subscribed on a closed subscriber")
	}
	if err := NewPublisher(c).Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Healthy(); err != nil {
		t.Fatal(err)
	}
	_, out = subscribe(t, c, SubscriberConfig{})
	publish(t, js, "w.1", "")
	receiveOne(t, out, "a message on the same connection").Ack()
	awaitSettled(t, js)
}

// TestConsumerDeletedAndDeclaredAgain: the subscription waits and goes on.
func TestConsumerDeletedAndDeclaredAgain(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	s, out := subscribe(t, c, SubscriberConfig{})
	publish(t, js, "w.1", "")
	receiveOne(t, out, "before").Ack()
	awaitSettled(t, js)
	bound := func(context.Context) bool { return s.Bound() == nil }
	natstest.Eventually(t, patience, "bound", bound)
	if err := js.DeleteConsumer(context.Background(), "W", "d"); err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, "unbound", func(ctx context.Context) bool { return !bound(ctx) })
	declareConsumer(t, js, func(cfg *jetstream.ConsumerConfig) { cfg.DeliverPolicy = jetstream.DeliverNewPolicy })
	publish(t, js, "w.2", "")
	m := receiveOne(t, out, "after")
	m.Ack()
	if d, _ := DeliveryOf(m.Context()); d.Subject != "w.2" {
		t.Fatalf("got %s", d.Subject)
	}
	natstest.Eventually(t, patience, "bound again", bound)
	awaitSettled(t, js)
}

// TestSubscribeBeforeDeclaration: programs and provisioning start in any order.
func TestSubscribeBeforeDeclaration(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	s, out := subscribe(t, c, SubscriberConfig{})
	if s.Bound() == nil {
		t.Fatal("bound to nothing")
	}
	declare(t, js)
	publish(t, js, "w.1", "")
	receiveOne(t, out, "the message").Ack()
	awaitSettled(t, js)
}

func TestSubscribeRefusesUnfitConsumers(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	unfit := map[string]func(*jetstream.ConsumerConfig){
		"no explicit acks": func(cfg *jetstream.ConsumerConfig) { cfg.AckPolicy = jetstream.AckNonePolicy; cfg.MaxAckPending = 0 },
		"back-off":         func(cfg *jetstream.ConsumerConfig) { cfg.BackOff = []time.Duration{time.Second} },
	}
	for name, change := range unfit {
		declare(t, js, change)
		if _, err := NewSubscriber(c, SubscriberConfig{}, discard).Subscribe(context.Background(), "W.d"); !errors.Is(err, errUnfit) {
			t.Errorf("%s: %v", name, err)
		}
		if err := js.DeleteConsumer(context.Background(), "W", "d"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := NewSubscriber(c, SubscriberConfig{}, discard).Subscribe(context.Background(), "nodurable"); err == nil {
		t.Error("a topic without a durable was accepted")
	}
}

// TestHandOver: what a stopping replica had not begun is another's at once, long before the ack wait.
func TestHandOver(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js, func(cfg *jetstream.ConsumerConfig) { cfg.AckWait = time.Hour })
	const n = 4
	for range n {
		publish(t, js, "w.1", "")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopping := NewSubscriber(c, SubscriberConfig{Concurrency: n, CloseTimeout: time.Hour}, discard)
	nobodyReads, err := stopping.Subscribe(ctx, "W.d")
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, "a message waits for the router", func(context.Context) bool { return consumerInfo(t, js).NumAckPending > 0 })
	cancel() // the subscription's context, the other way to stop one
	for m := range nobodyReads {
		m.Nack()
	}
	_, out := subscribe(t, c, SubscriberConfig{Concurrency: n})
	for range n {
		receiveOne(t, out, "the handed-over message").Ack()
	}
	awaitSettled(t, js)
}

// TestCloseLetsInFlightFinish: handlers that run keep their contexts, their acks count, and the channel closes last.
func TestCloseLetsInFlightFinish(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	const n = 8
	for range n {
		publish(t, js, "w.1", "")
	}
	s, out := subscribe(t, c, SubscriberConfig{Concurrency: n, CloseTimeout: time.Hour})
	var held []*message.Message
	for range n {
		held = append(held, receiveOne(t, out, "in flight"))
	}
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	receiveStop(t, s)
	select {
	case <-time.After(2 * testAckWait): // heartbeats go on while stopping
	case <-out:
		t.Fatal("channel closed, or a message, with handlers in flight")
	}
	for _, m := range held {
		if m.Context().Err() != nil {
			t.Fatal("message context ended before the close time-out")
		}
		m.Ack()
	}
	awaitClosed(t, out, "the channel, after the last ack")
	awaitClosed(t, closed, "Close")
	if info := consumerInfo(t, js); info.NumAckPending != 0 || info.Delivered.Consumer != n {
		t.Fatalf("%d unacknowledged, %d deliveries of %d", info.NumAckPending, info.Delivered.Consumer, n)
	}
}

// receiveStop waits until the only subscription knows that it stops.
func receiveStop(t *testing.T, s *Subscriber) {
	t.Helper()
	for _, sub := range s.current() {
		awaitClosed(t, sub.stopping, "the stop")
	}
}

// TestConnectionClosed: a subscription on a dead connection ends instead of stalling.
func TestConnectionClosed(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	declare(t, server.JetStream(t))
	c := dialTest(t, server)
	s, out := subscribe(t, c, SubscriberConfig{})
	natstest.Eventually(t, patience, "bound", func(context.Context) bool { return s.Bound() == nil })
	c.consume.Close()
	awaitClosed(t, out, "the channel")
}

// TestRenew: a lease is renewed while held, and neither after it is settled nor after a freeze.
func TestRenew(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	_, out := subscribe(t, c, SubscriberConfig{Concurrency: 2})
	publish(t, js, "w.1", "")
	m := receiveOne(t, out, "the message")
	d, _ := DeliveryOf(m.Context())
	if err := d.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	h := d.Lease.(*held)
	h.mu.Lock()
	h.confirmed = time.Now().Add(-testAckWait) // as after a SIGSTOP of that length
	h.mu.Unlock()
	if err := d.Renew(t.Context()); !errors.Is(err, errLost) {
		t.Fatalf("renewed a lost delivery: %v", err)
	}
	if cause := context.Cause(m.Context()); !errors.Is(cause, errLost) {
		t.Fatalf("context of a lost delivery: %v", cause)
	}
	m.Ack() // a zombie's: must not count
	again := receiveOne(t, out, "the next holder's delivery")
	next, _ := DeliveryOf(again.Context())
	if next.Delivered != 2 {
		t.Fatalf("delivered %d times", next.Delivered)
	}
	again.Ack()
	awaitSettled(t, js)
	natstest.Eventually(t, patience, "a settled delivery cannot be renewed", func(ctx context.Context) bool { return next.Renew(ctx) != nil })
	if err := (Delivery{}).Renew(t.Context()); err == nil {
		t.Fatal("renewed nothing")
	}
}

// TestServerRestart: reads and writes go on by themselves; nothing acknowledged is lost.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	testOutage(t, server, func(int) { server.Restart(t) })
}

// TestServerKill is the same with kill -9.
func TestServerKill(t *testing.T) {
	t.Parallel()
	server := natstest.RunProcess(t)
	testOutage(t, server, func(int) { server.Kill(); server.Start(t) })
}

// TestLeaderLoss is the same on three nodes that keep three copies, with the leader of the stream going and staying away.
func TestLeaderLoss(t *testing.T) {
	t.Parallel()
	cluster := natstest.RunCluster(t)
	js, c := cluster.JetStream(t), dialTest(t, cluster)
	for name, subject := range map[string]string{"W": "w.>", "DEAD": events.DeadLetterSubject + ".>"} {
		declareStream(t, js, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Replicas: 3})
	}
	declareConsumer(t, js, func(cfg *jetstream.ConsumerConfig) { cfg.AckWait = 5 * time.Second })
	lost := false
	outageOn(t, js, c, func(int) {
		if leader := cluster.StreamLeader(context.Background(), js, "W"); leader >= 0 && !lost {
			cluster.Stop(leader)
			lost = true
		}
	})
	if !lost {
		t.Fatal("the leader was never stopped")
	}
}

func testOutage(t *testing.T, server broker, outage func(int)) {
	t.Helper()
	js, c := server.JetStream(t), dialTest(t, server)
	declare(t, js)
	outageOn(t, js, c, outage)
}

func outageOn(t *testing.T, js jetstream.JetStream, c *Conn, outage func(int)) {
	t.Helper()
	_, out := subscribe(t, c, SubscriberConfig{Concurrency: 4})

	const n = 300
	var mu sync.Mutex
	handled := map[string]bool{}
	var count atomic.Int64
	all := make(chan struct{})
	go func() {
		for m := range out {
			mu.Lock()
			if !handled[string(m.Payload)] {
				handled[string(m.Payload)] = true
				if count.Add(1) == n {
					close(all)
				}
			}
			mu.Unlock()
			m.Ack()
		}
	}()
	p := NewPublisher(c)
	for i := range n {
		if i == n/3 || i == 2*n/3 {
			outage(i)
		}
		id := strconv.Itoa(i)
		natstest.Eventually(t, patience, "publish "+id, func(ctx context.Context) bool {
			_, err := p.PublishMsg(ctx, "w.1", id, nil, []byte(id))
			return err == nil
		})
	}
	awaitClosed(t, all, "every acknowledged message is handled")
	awaitSettled(t, js)
	natstest.Eventually(t, patience, "healthy again", func(context.Context) bool { return c.Healthy() == nil })
}
