package bus

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/natstest"
)

var fullSuite = flag.Bool("suite.full", false, "run watermill's suite with its large counts (about a minute)")

// provisioned declares what the suite's topics need, which in a deployment package streams does beforehand.
type provisioned struct {
	js      jetstream.JetStream
	durable string
	done    *sync.Map // "topic.durable" → struct{}
}

func (p provisioned) declare(topic string) error {
	if _, done := p.done.Load(topic + "." + p.durable); done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := p.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: topic, Subjects: []string{"suite." + topic}, AllowAtomicPublish: true, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		return err
	}
	_, err = p.js.CreateOrUpdateConsumer(ctx, topic, jetstream.ConsumerConfig{
		Durable: p.durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 2 * time.Second, MaxDeliver: -1,
	})
	if err == nil {
		p.done.Store(topic+"."+p.durable, struct{}{})
	}
	return err
}

type suitePublisher struct {
	*Publisher
	provisioned
}

func (p suitePublisher) Publish(topic string, messages ...*message.Message) error {
	if err := p.declare(topic); err != nil {
		return err
	}
	return p.Publisher.Publish("suite."+topic, messages...)
}

type suiteSubscriber struct {
	*Subscriber
	provisioned
}

func (s suiteSubscriber) SubscribeInitialize(topic string) error { return s.declare(topic) }

func (s suiteSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if err := s.declare(topic); err != nil {
		return nil, err
	}
	return s.Subscriber.Subscribe(ctx, topic+"."+s.durable)
}

// TestConformance is watermill's own suite for Pub/Subs.
func TestConformance(t *testing.T) {
	t.Parallel()
	for _, concurrency := range []int{1, 8} {
		t.Run(fmt.Sprintf("concurrency %d", concurrency), func(t *testing.T) {
			t.Parallel()
			server := natstest.Run(t)
			conn, js := dialTest(t, server), server.JetStream(t)
			var done sync.Map
			construct := func(t *testing.T, durable string) (message.Publisher, message.Subscriber) {
				p := provisioned{js, durable, &done}
				sub := NewSubscriber(conn, SubscriberConfig{
					Concurrency: concurrency, CloseTimeout: time.Second,
					NakDelay: func(uint64) time.Duration { return 10 * time.Millisecond },
				}, discard)
				t.Cleanup(func() { sub.Close() }) // the suite leaves some open
				return suitePublisher{NewPublisher(conn), p}, suiteSubscriber{sub, p}
			}
			tests.TestPubSub(t, tests.Features{
				ConsumerGroups:                      true,
				GuaranteedOrder:                     concurrency == 1,
				GuaranteedOrderWithSingleSubscriber: concurrency == 1,
				Persistent:                          true,
				ForceShort:                          !*fullSuite,
			}, func(t *testing.T) (message.Publisher, message.Subscriber) { return construct(t, "all") }, construct)
		})
	}
}
