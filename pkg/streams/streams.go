// Package streams is the JetStream topology as data: every stream, consumer and bucket, declared once.
//
// Ensure makes the broker agree with the table and is idempotent; any number of programs may call it at once.
// Nobody creates anything anywhere else, and nothing is ever deleted. Verify answers whether everything that a
// service needs is there, for its readiness.
//
// Two retentions are used on purpose. Pages in flight between fetcher and normaliser are a work queue: the ack
// deletes the message, which makes acks durable on a single node and lets the publisher tell a page that is still
// coming from one that is gone. Everything of record is limits retention with one message per subject where the
// subject is the key, so that writing a thing twice is refused by construction; see deploy/decisions/0003.
package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// AckWait is how long a dead process keeps its messages: the contract gives 20 s for a take-over.
	AckWait = 15 * time.Second

	// requestTimeout is short: on a cluster, programs that create one stream at the same moment leave each other
	// without an answer, and the next try takes milliseconds.
	requestTimeout = 3 * time.Second

	// The broker's codes for a store that is too small.
	codeInsufficientStorage   = jetstream.ErrorCode(10047)
	codeInsufficientResources = jetstream.ErrorCode(10023)
	// codeNoPeers is the answer of a cluster without enough nodes.
	codeNoPeers = jetstream.ErrorCode(10005)

	// consumersAtOnce is how many consumers are looked at or declared at the same time.
	consumersAtOnce = 16

	day = 24 * time.Hour
	mib = int64(1) << 20
	gib = int64(1) << 30

	// maxMessage leaves room below the broker's 1 MiB for the headers that a dead letter adds.
	maxMessage = int32(960 << 10)
	// intakeDuplicates is the broker's smallest window: identity is ours to judge, not the broker's.
	intakeDuplicates = 100 * time.Millisecond
)

// Consumer is one durable of one stream.
type Consumer struct {
	Stream string
	Config jetstream.ConsumerConfig
}

// Topology is everything a deployment declares.
type Topology struct {
	Streams   []jetstream.StreamConfig
	Buckets   []jetstream.KeyValueConfig
	Consumers []Consumer
}

// For returns the topology for a configuration: the fixed streams, and the lanes of each connection.
func For(cfg *config.Config) Topology {
	t := Topology{}
	t.addSync(cfg)
	t.addDeprovision(cfg)
	t.addAdvisories()
	for i := range t.Streams {
		t.Streams[i].Replicas = cfg.NATS.Replicas
		t.Streams[i].Storage = jetstream.FileStorage
		t.Streams[i].Discard = jetstream.DiscardNew
		t.Streams[i].AllowDirect = true
	}
	for i := range t.Buckets {
		t.Buckets[i].Replicas = cfg.NATS.Replicas
		t.Buckets[i].Storage = jetstream.FileStorage
	}
	return t
}

// Of returns the part of the topology that one service needs: the durables in its name and every stream and bucket.
func (t Topology) Of(service string) Topology {
	mine := Topology{Streams: t.Streams, Buckets: t.Buckets}
	for _, c := range t.Consumers {
		if c.Config.Metadata["service"] == service {
			mine.Consumers = append(mine.Consumers, c)
		}
	}
	return mine
}

// durable declares a consumer that any number of replicas of a service share. MaxDeliver stays unlimited: giving up
// is the service's decision, by a dead letter, and a message that the broker gave up on would be invisible.
func durable(service, stream, name, filter string, maxAckPending int) Consumer {
	return Consumer{Stream: stream, Config: jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
		Metadata:      map[string]string{"service": service},
	}}
}

// Ensure creates or updates everything in the topology until it agrees or ctx ends. It returns the last error.
func Ensure(ctx context.Context, js jetstream.JetStream, t Topology) error {
	for _, s := range t.Streams {
		if err := settle(ctx, "stream "+s.Name, func(ctx context.Context) error { return ensureStream(ctx, js, s) }); err != nil {
			return err
		}
	}
	for _, b := range t.Buckets {
		err := settle(ctx, "bucket "+b.Bucket, func(ctx context.Context) error { return ensureBucket(ctx, js, b) })
		if err != nil {
			return err
		}
	}
	// A connection has two durables, and there may be a thousand connections.
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(consumersAtOnce)
	for _, c := range t.Consumers {
		group.Go(func() error {
			return settle(ctx, "consumer "+c.Config.Durable, func(ctx context.Context) error { return ensureConsumer(ctx, js, c) })
		})
	}
	return group.Wait()
}

// ensureStream looks first: a broker may refuse to create, for want of room, what is already there.
func ensureStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	have, err := js.Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		_, err = js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil // another program declared it a moment ago, from the same table
		}
		return err
	case err != nil || agrees(have.CachedInfo().Config, want):
		return err
	default:
		_, err = js.UpdateStream(ctx, want)
		return err
	}
}

// agrees reports whether a stream is as declared; what the table leaves to the broker is the broker's.
func agrees(have, want jetstream.StreamConfig) bool {
	return slices.Equal(have.Subjects, want.Subjects) && have.Retention == want.Retention && have.Storage == want.Storage &&
		have.Discard == want.Discard && have.DiscardNewPerSubject == want.DiscardNewPerSubject &&
		(want.MaxMsgsPerSubject == 0 || have.MaxMsgsPerSubject == want.MaxMsgsPerSubject) &&
		have.MaxBytes == want.MaxBytes && have.MaxAge == want.MaxAge && (want.MaxMsgSize == 0 || have.MaxMsgSize == want.MaxMsgSize) &&
		(want.Duplicates == 0 || have.Duplicates == want.Duplicates) && have.Replicas == max(want.Replicas, 1) &&
		have.AllowDirect == want.AllowDirect && have.AllowAtomicPublish == want.AllowAtomicPublish
}

func ensureBucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) error {
	_, err := js.KeyValue(ctx, want.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = js.CreateOrUpdateKeyValue(ctx, want)
	}
	return err
}

// ensureConsumer looks first: a user without the right to declare anything starts on what is there.
func ensureConsumer(ctx context.Context, js jetstream.JetStream, want Consumer) error {
	have, err := js.Consumer(ctx, want.Stream, want.Config.Durable)
	switch {
	case err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound):
		return err
	case err == nil && agreesConsumer(have.CachedInfo().Config, want.Config):
		return nil
	default:
		_, err = js.CreateOrUpdateConsumer(ctx, want.Stream, want.Config)
		return err
	}
}

// agreesConsumer is agrees for consumers.
func agreesConsumer(have, want jetstream.ConsumerConfig) bool {
	return have.FilterSubject == want.FilterSubject && slices.Equal(have.FilterSubjects, want.FilterSubjects) &&
		have.AckPolicy == want.AckPolicy && have.AckWait == want.AckWait && have.MaxDeliver == want.MaxDeliver &&
		have.MaxAckPending == want.MaxAckPending && have.Metadata["service"] == want.Metadata["service"] &&
		have.Metadata["connection"] == want.Metadata["connection"]
}

// settle repeats an idempotent declaration with short attempts until it is answered.
func settle(ctx context.Context, what string, declare func(context.Context) error) error {
	for began := time.Now(); ; {
		attempt, cancel := context.WithTimeout(ctx, requestTimeout)
		err := declare(attempt)
		cancel()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("declare %s: %w", what, context.Cause(ctx))
		case !errors.Is(err, context.DeadlineExceeded):
			if err := refusal(what, err, time.Since(began)); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// gathering is how long a cluster that starts may take to find its nodes. Until then it has too few for a stream.
const gathering = time.Minute

// refusal returns the error of a broker that will not change its mind, nil when asking again may help; asked is for how
// long it was asked.
func refusal(what string, err error, asked time.Duration) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case !ok:
		return nil
	case api.ErrorCode == codeInsufficientStorage || api.ErrorCode == codeInsufficientResources:
		return fault.New(fault.Permanent, "broker-too-small",
			"NATS has no room for %s; the streams together want 10 GiB: give JetStream a larger max_file_store", what).Because(err)
	case api.ErrorCode == codeNoPeers && asked < gathering:
		return nil
	case api.Code < 500:
		return fault.New(fault.Permanent, "broker-refuses", "NATS refuses %s: code %d", what, api.ErrorCode).Because(err)
	default:
		return nil
	}
}

// Verify returns an error naming the first stream, bucket or consumer that is not there.
func Verify(ctx context.Context, js jetstream.JetStream, t Topology) error {
	there := map[string]jetstream.Stream{}
	for _, s := range t.Streams {
		stream, err := js.Stream(ctx, s.Name)
		if err != nil {
			return fmt.Errorf("stream %s: %w", s.Name, err)
		}
		there[s.Name] = stream
	}
	for _, b := range t.Buckets {
		if _, err := js.KeyValue(ctx, b.Bucket); err != nil {
			return fmt.Errorf("bucket %s: %w", b.Bucket, err)
		}
	}
	for name, stream := range there {
		if err := t.verifyConsumers(ctx, stream, name); err != nil {
			return err
		}
	}
	return nil
}

// verifyConsumers asks for a stream's consumers by name, a thousand in one answer: readiness is asked often.
func (t Topology) verifyConsumers(ctx context.Context, stream jetstream.Stream, name string) error {
	wanted := map[string]bool{}
	for _, c := range t.Consumers {
		if c.Stream == name {
			wanted[c.Config.Durable] = true
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	there := stream.ConsumerNames(ctx)
	for durable := range there.Name() {
		delete(wanted, durable)
	}
	if err := there.Err(); err != nil {
		return fmt.Errorf("consumers of %s: %w", name, err)
	}
	for durable := range wanted {
		return fmt.Errorf("consumer %s: %w", durable, jetstream.ErrConsumerNotFound)
	}
	return nil
}
