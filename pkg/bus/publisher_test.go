package bus

import (
	"context"
	"errors"
	"fmt"
	"testing"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
)

func stored(t *testing.T, js jetstream.JetStream, stream string) uint64 {
	t.Helper()
	s, err := js.Stream(context.Background(), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func newPublisherRig(t *testing.T, cfg jetstream.StreamConfig) (*Publisher, jetstream.JetStream) {
	t.Helper()
	server := natstest.Run(t)
	js := server.JetStream(t)
	cfg.Name, cfg.Subjects = "W", []string{"w.>"}
	declareStream(t, js, cfg)
	return NewPublisher(dialTest(t, server)), js
}

func messages(n int, id string) []*nats.Msg {
	var batch []*nats.Msg
	for i := range n {
		batch = append(batch, &nats.Msg{Subject: fmt.Sprintf("w.%d", i), Header: nats.Header{nats.MsgIdHdr: {fmt.Sprintf("%s%d", id, i)}}})
	}
	return batch
}

func TestPublishMsg(t *testing.T) {
	t.Parallel()
	p, js := newPublisherRig(t, jetstream.StreamConfig{})
	header := nats.Header{"A": {"1", "2"}, "Nats-Rollup": {"all"}, "Nats-TTL": {"1s"}, "Nats-Expected-Stream": {"W"}}
	ack, err := p.PublishMsg(t.Context(), "w.1", "id", header, []byte("body"))
	if err != nil || ack.Duplicate || ack.Stream != "W" {
		t.Fatalf("%+v, %v", ack, err)
	}
	ack, err = p.PublishMsg(t.Context(), "w.1", "id", header, []byte("body"))
	if err != nil || !ack.Duplicate {
		t.Fatalf("repeat: %+v, %v", ack, err)
	}
	stream, _ := js.Stream(t.Context(), "W")
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Header["A"]) != 2 || m.Header.Get("Nats-Rollup") != "" || m.Header.Get("Nats-TTL") != "" || header.Get(nats.MsgIdHdr) != "" {
		t.Fatalf("stored %v, caller's %v", m.Header, header)
	}
	if _, err := p.PublishMsg(t.Context(), "w.1", "", nil, nil); fault.ReasonOf(err) != "no-message-id" {
		t.Fatalf("without an id: %v", err)
	}
	header["Nats-Expected-Stream"] = []string{"OTHER"}
	if _, err := p.PublishMsg(t.Context(), "w.1", "other", header, nil); err == nil {
		t.Fatal("a condition was not sent")
	}
}

// TestPublishMsg_unanswered: the first request reaches a leader in its last moment, the next one its successor.
func TestPublishMsg_unanswered(t *testing.T) {
	t.Parallel()
	p, js := newPublisherRig(t, jetstream.StreamConfig{})
	if err := js.DeleteStream(t.Context(), "W"); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 9)
	if _, err := js.Conn().Subscribe("w.1", func(m *nats.Msg) { asked <- m.Header.Get(nats.MsgIdHdr) }); err != nil {
		t.Fatal(err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	published := make(chan error, 1)
	go func() {
		_, err := p.PublishMsg(context.Background(), "w.1", "id", nil, nil)
		published <- err
	}()
	if id := receiveOne(t, asked, "the vain attempt"); id != "id" {
		t.Fatalf("id %q", id)
	}
	declareStream(t, js, jetstream.StreamConfig{Name: "W", Subjects: []string{"w.>"}})
	if err := receiveOne(t, published, "the result"); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, js, "W"); n != 1 {
		t.Fatalf("%d stored", n)
	}
}

func TestPublishMsg_cancelled(t *testing.T) {
	t.Parallel()
	p, _ := newPublisherRig(t, jetstream.StreamConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.PublishMsg(ctx, "w.1", "id", nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestRefusals: the broker has one code for a key that exists and a stream that is full.
func TestRefusals(t *testing.T) {
	t.Parallel()
	p, js := newPublisherRig(t, jetstream.StreamConfig{MaxMsgsPerSubject: 1, DiscardNewPerSubject: true})
	if _, err := p.PublishMsg(t.Context(), "w.1", "a", nil, nil); err != nil {
		t.Fatal(err)
	}
	_, err := p.PublishMsg(t.Context(), "w.1", "b", nil, nil)
	if !IsKeyExists(err) || IsStreamFull(err) || fault.ReasonOf(err) != "key-exists" || fault.ClassOf(err) != fault.Permanent {
		t.Fatalf("second message of a key: %v", err)
	}
	declareStream(t, js, jetstream.StreamConfig{Name: "FULL", Subjects: []string{"full"}, MaxBytes: 1})
	_, err = p.PublishMsg(t.Context(), "full", "a", nil, nil)
	if IsKeyExists(err) || !IsStreamFull(err) || fault.ReasonOf(err) != "stream-full" || fault.ClassOf(err) != fault.Transient {
		t.Fatalf("full by bytes: %v", err)
	}
	declareStream(t, js, jetstream.StreamConfig{Name: "COUNT", Subjects: []string{"count"}, MaxMsgs: 1})
	for range 2 {
		_, err = p.PublishMsg(t.Context(), "count", fmt.Sprint(err), nil, nil)
	}
	if IsKeyExists(err) || !IsStreamFull(err) {
		t.Fatalf("full by count: %v", err)
	}
	if _, err = p.PublishMsg(t.Context(), "nobody.listens", "a", nil, nil); fault.ReasonOf(err) != reasonBroker || !isHiccup(err) {
		t.Fatalf("no stream: %v", err)
	}
	if _, err = p.PublishMsg(t.Context(), "w.2", "a", nil, make([]byte, 2<<20)); fault.ReasonOf(err) != "message-too-large" {
		t.Fatalf("too large: %v", err)
	}
	if IsKeyExists(nil) || IsStreamFull(nil) || classify("x", nil) != nil {
		t.Fatal("nil is an error")
	}
}

func TestPublishBatch(t *testing.T) {
	t.Parallel()
	p, js := newPublisherRig(t, jetstream.StreamConfig{AllowAtomicPublish: true})
	batch := messages(maxBatch+2, "a") // two batches
	if err := p.PublishBatch(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := p.PublishBatch(t.Context(), batch); err != nil {
		t.Fatalf("repeat: %v", err)
	}
	if n := stored(t, js, "W"); n != maxBatch+2 {
		t.Fatalf("%d stored, want %d", n, maxBatch+2)
	}
	if len(batch[0].Header) != 1 || batch[0].Reply != "" {
		t.Fatalf("the caller's message was changed: %+v", batch[0])
	}
	other := append(messages(1, "a"), messages(3, "b")...) // a known id among new ones: nothing may get lost
	if err := p.PublishBatch(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if n := stored(t, js, "W"); n != maxBatch+5 {
		t.Fatalf("%d stored, want %d", n, maxBatch+5)
	}
	if err := p.PublishBatch(t.Context(), nil); err != nil {
		t.Fatalf("nothing: %v", err)
	}
}

func TestPublishBatch_allOrNothing(t *testing.T) {
	t.Parallel()
	p, js := newPublisherRig(t, jetstream.StreamConfig{AllowAtomicPublish: true, MaxMsgsPerSubject: 1, DiscardNewPerSubject: true})
	if _, err := p.PublishMsg(t.Context(), "w.2", "there", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.PublishBatch(t.Context(), messages(4, "a")); !IsKeyExists(err) {
		t.Fatalf("batch over an existing key: %v", err)
	}
	if n := stored(t, js, "W"); n != 1 {
		t.Fatalf("%d stored of a refused batch", n-1)
	}
}

// TestPublish_wireFormat: what watermill-nats reads and writes.
func TestPublish_wireFormat(t *testing.T) {
	t.Parallel()
	for _, atomic := range []bool{true, false} {
		t.Run(fmt.Sprintf("atomic %v", atomic), func(t *testing.T) {
			t.Parallel()
			p, js := newPublisherRig(t, jetstream.StreamConfig{AllowAtomicPublish: atomic})
			var batch []*message.Message
			for i := range 3 {
				m := message.NewMessage(fmt.Sprintf("uuid%d", i), []byte("body"))
				m.Metadata.Set("key", "value")
				m.Metadata.Set("Nats-Rollup", "all")
				batch = append(batch, m)
			}
			for range 2 { // a repeat stores nothing
				if err := p.Publish("w.1", batch...); err != nil {
					t.Fatal(err)
				}
			}
			if n := stored(t, js, "W"); n != 3 {
				t.Fatalf("%d stored", n)
			}
			stream, _ := js.Stream(t.Context(), "W")
			raw, err := stream.GetMsg(t.Context(), 2)
			if err != nil {
				t.Fatal(err)
			}
			for name := range raw.Header {
				if len(name) > 10 && name[:10] == "Nats-Batch" {
					raw.Header.Del(name)
				}
			}
			m, err := (&wmnats.NATSMarshaler{}).Unmarshal(&nats.Msg{Header: raw.Header, Data: raw.Data})
			if err != nil || m.UUID != "uuid1" || string(m.Payload) != "body" || len(m.Metadata) != 1 || m.Metadata.Get("key") != "value" {
				t.Fatalf("%+v, %v", m, err)
			}
			if err := p.Publish("w.1", message.NewMessage("", nil)); fault.ReasonOf(err) != "no-message-id" {
				t.Fatalf("without an id: %v", err)
			}
		})
	}
}
