package brokermodel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a command waits for the server; a passing test never waits that long.
const patience = 20 * time.Second

// pair is the model and a real stream with a real durable, given the same commands.
type pair struct {
	t        failing
	nc       *nats.Conn
	js       jetstream.JetStream
	name     string
	stream   *Stream
	consumer *Consumer
	real     jetstream.Consumer
	// replies are where each delivery is acknowledged, those of earlier deliveries included.
	replies []reply
}

// failing is a test, rapid's or testing's.
type failing interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

type reply struct {
	subject  string
	sequence uint64
}

func newPair(t failing, js jetstream.JetStream, name string, s StreamConfig, c ConsumerConfig) *pair {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{name + ".*"}, Storage: jetstream.MemoryStorage, Discard: jetstream.DiscardNew, Duplicates: s.Duplicates,
		MaxMsgs: int64(max(s.MaxMsgs, -1)), MaxMsgsPerSubject: int64(s.PerSubject), DiscardNewPerSubject: s.Keyed, MaxBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	real, err := js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{
		Durable: "d", AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.AckWait, MaxDeliver: c.MaxDeliver, MaxAckPending: c.MaxAckPending,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{t: t, nc: js.Conn(), js: js, name: name, stream: NewStream(s), real: real}
	p.consumer = NewConsumer(p.stream, c)
	return p
}

func (p *pair) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.js.DeleteStream(ctx, p.name); err != nil {
		p.t.Fatal(err)
	}
}

// publish stores a message on one of three subjects, sometimes under an id of two, sometimes under a condition.
func (p *pair) publish(t *rapid.T) {
	m := Message{Subject: p.name + "." + rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "subject"),
		ID: rapid.SampledFrom([]string{"", "", "x", "y"}).Draw(t, "id")}
	var options []jetstream.PublishOpt
	var expect *uint64
	if rapid.IntRange(0, 3).Draw(t, "conditional") == 0 {
		expect = new(uint64(rapid.IntRange(0, int(p.stream.Last())).Draw(t, "expected")))
		options = append(options, jetstream.WithExpectLastSequencePerSubject(*expect))
	}
	msg := nats.NewMsg(m.Subject)
	if m.ID != "" {
		msg.Header.Set(nats.MsgIdHdr, m.ID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, realErr := p.js.PublishMsg(ctx, msg, options...)
	sequence, duplicate, err := p.stream.Publish(time.Now(), m, expect)
	if got := classOf(p.t, realErr); !errors.Is(got, err) || (err == nil) != (realErr == nil) {
		p.t.Fatalf("publish %+v, expecting %v: the server says %v, the model %v", m, expect, realErr, err)
	}
	if err == nil && (ack.Sequence != sequence || ack.Duplicate != duplicate) {
		p.t.Fatalf("publish %+v: the server stores %d (duplicate %v), the model %d (%v)", m, ack.Sequence, ack.Duplicate, sequence, duplicate)
	}
}

// classOf is the server's refusal as the model names it.
func classOf(t failing, err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		t.Fatal(err)
	case strings.Contains(api.Description, "per subject"):
		return ErrKeyExists
	case strings.Contains(api.Description, "maximum messages"):
		return ErrFull
	case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant:
		return ErrWrongLast
	}
	return err
}

// pull asks both for a message. What the model says must come is waited for; otherwise nothing may come.
func (p *pair) pull() {
	p.consumer.expire(time.Now())
	due := slices.Clone(p.consumer.again)
	want, any := p.consumer.Pull(time.Now())
	msg := p.next(any)
	switch {
	case msg == nil && !any:
		return
	case msg == nil:
		p.t.Fatalf("the model delivers %d for the %d. time, the server nothing", want.Sequence, want.Delivered)
	case !any:
		p.t.Fatalf("the server delivers %s, the model nothing", msg.Subject)
	}
	meta, err := msg.Metadata()
	if err != nil {
		p.t.Fatal(err)
	}
	p.replies = append(p.replies, reply{msg.Reply, meta.Sequence.Stream})
	if meta.Sequence.Stream != want.Sequence || int(meta.NumDelivered) != want.Delivered || msg.Subject != want.Subject {
		p.t.Fatalf("the server delivers %d for the %d. time, the model %d for the %d. time (due again: %v)",
			meta.Sequence.Stream, meta.NumDelivered, want.Sequence, want.Delivered, due)
	}
}

// next asks the server for a message, until it has given one or has ended the request. The client's own FetchNoWait does
// not do: a server that has MaxAckPending messages out keeps even such a request, the client stops listening after a
// second without a word to it, and an acknowledgement that comes first sends the next message to nobody.
func (p *pair) next(any bool) *nats.Msg {
	request := `{"batch": 1, "no_wait": true}`
	switch limit := p.consumer.cfg.MaxAckPending; {
	case any:
		request = fmt.Sprintf(`{"batch": 1, "expires": %d}`, patience)
	case limit > 0 && p.consumer.Pending() >= limit:
		request = fmt.Sprintf(`{"batch": 1, "expires": %d}`, 10*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	inbox, err := p.nc.SubscribeSync(p.nc.NewInbox())
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = inbox.Unsubscribe() }()
	if err := p.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+p.name+".d", inbox.Subject, []byte(request)); err != nil {
		p.t.Fatal(err)
	}
	msg, err := inbox.NextMsgWithContext(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	switch status := msg.Header.Get("Status"); status {
	case "":
		return msg
	case "404", "408": // no messages, expired
		return nil
	default:
		p.t.Fatalf("pull: %s %s", status, msg.Header.Get("Description"))
		return nil
	}
}

// answer sends one of the answers to some delivery, which may be long over.
func (p *pair) answer(t *rapid.T, kind string) {
	if len(p.replies) == 0 {
		return
	}
	r := rapid.SampledFrom(p.replies).Draw(t, "delivery")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := p.nc.RequestWithContext(ctx, r.subject, []byte(kind)); err != nil {
		p.t.Fatalf("%s: %v", kind, err)
	}
	switch kind {
	case "+ACK":
		p.consumer.Ack(r.sequence)
	case "-NAK":
		p.consumer.Nak(r.sequence, 0, time.Now())
	default:
		p.consumer.InProgress(r.sequence, time.Now())
	}
}

// check compares what both say of the whole. The server takes a moment to end what is out when its message goes.
func (p *pair) check() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	want, got := fmt.Sprintf("%d messages up to %d, %d out", len(p.stream.Messages()), p.stream.Last(), p.consumer.Pending()), ""
	for {
		stream, err := p.js.Stream(ctx, p.name)
		var info *jetstream.ConsumerInfo
		if err == nil {
			info, err = p.real.Info(ctx)
		}
		switch {
		case ctx.Err() != nil:
			p.t.Fatalf("the server has %s, the model %s", got, want)
		case err != nil:
			p.t.Fatal(err)
		}
		state := stream.CachedInfo().State
		if got = fmt.Sprintf("%d messages up to %d, %d out", state.Msgs, state.LastSeq, info.NumAckPending); got == want {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func drawConfigs(t *rapid.T) (StreamConfig, ConsumerConfig) {
	s := StreamConfig{Duplicates: time.Minute, MaxMsgs: rapid.SampledFrom([]int{0, 0, 3, 6}).Draw(t, "maxMsgs")}
	if s.PerSubject = rapid.IntRange(0, 2).Draw(t, "perSubject"); s.PerSubject > 0 {
		s.Keyed = rapid.Bool().Draw(t, "keyed")
	}
	return s, ConsumerConfig{AckWait: time.Minute,
		MaxDeliver: rapid.SampledFrom([]int{-1, 1, 2, 3}).Draw(t, "maxDeliver"), MaxAckPending: rapid.SampledFrom([]int{1, 2, 1000}).Draw(t, "maxAckPending")}
}

// Random commands, given to the model and to a server, have the same answers: storing, conditions, message ids, limits,
// delivery, late and repeated acknowledgements, giving back, and giving up.
func TestModel_answersLikeAServer(t *testing.T) {
	t.Parallel()
	js, n := natstest.Run(t).JetStream(t), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		s, c := drawConfigs(t)
		p := newPair(t, js, fmt.Sprint("S", n), s, c)
		defer p.close()
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) { p.publish(t) }, "publish again": func(t *rapid.T) { p.publish(t) },
			"pull": func(*rapid.T) { p.pull() }, "pull again": func(*rapid.T) { p.pull() },
			"ack": func(t *rapid.T) { p.answer(t, "+ACK") }, "nak": func(t *rapid.T) { p.answer(t, "-NAK") },
			"in progress": func(t *rapid.T) { p.answer(t, "+WPI") },
			"":            func(*rapid.T) { p.check() },
		})
	})
}

// What only time brings comes as the model says, and never before: a slow machine can only make it later.
func TestModel_timePassesLikeAtAServer(t *testing.T) {
	t.Parallel()
	const ackWait, delay, duplicates = 300 * time.Millisecond, 600 * time.Millisecond, 200 * time.Millisecond
	for name, hold := range map[string]struct {
		answer string
		wait   time.Duration
	}{
		"nothing is said":     {"", ackWait},
		"work is in progress": {"+WPI", ackWait},
		"given back, later":   {fmt.Sprintf(`-NAK {"delay": %d}`, delay), delay},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := natstest.Run(t).JetStream(t)
			p := newPair(t, js, "S", StreamConfig{Duplicates: duplicates}, ConsumerConfig{AckWait: ackWait, MaxDeliver: -1})
			stored := time.Now()
			publishID(t, p)
			natstest.Eventually(t, patience, "the id is forgotten", func(context.Context) bool { return publishID(t, p) })
			if early := time.Since(stored); early < duplicates {
				t.Errorf("forgotten after %s", early)
			}
			p.pull()
			first, since := p.replies[0], time.Now()
			if hold.answer != "" {
				if _, err := p.nc.RequestWithContext(t.Context(), first.subject, []byte(hold.answer)); err != nil {
					t.Fatal(err)
				}
			}
			p.consumer.pending[first.sequence].due = since.Add(hold.wait)
			p.pull() // the second message
			p.consumer.Ack(p.replies[1].sequence)
			p.ackAt(p.replies[1]) // only the first is out
			if d, any := p.consumer.Pull(since.Add(hold.wait - 1)); any {
				t.Fatalf("the model delivers %d again too early", d.Sequence)
			}
			batch, err := p.real.Fetch(1, jetstream.FetchMaxWait(patience))
			if err != nil {
				t.Fatal(err)
			}
			again := <-batch.Messages()
			const way = 50 * time.Millisecond // the server's time began when it sent, ours when the message was here
			if again == nil || time.Since(since) < hold.wait-way {
				t.Fatalf("%v came again after %s, the model says after %s", again, time.Since(since), hold.wait)
			}
			if d, any := p.consumer.Pull(since.Add(hold.wait)); !any || d.Sequence != first.sequence || d.Delivered != 2 {
				t.Fatalf("the model delivers %+v", d)
			}
			p.ackAt(first) // late, and it counts all the same: acknowledgements go by the sequence
			p.consumer.Ack(first.sequence)
			p.check()
		})
	}
}

func (p *pair) ackAt(r reply) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := p.nc.RequestWithContext(ctx, r.subject, []byte("+ACK")); err != nil {
		p.t.Fatal(err)
	}
}

// publishID stores a message under one id, in both, and reports whether the server took it for a new one.
func publishID(t failing, p *pair) bool {
	msg := nats.NewMsg(p.name + ".a")
	msg.Header.Set(nats.MsgIdHdr, "x")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ack, err := p.js.PublishMsg(ctx, msg)
	if err != nil {
		t.Fatal(err)
	}
	if ack.Duplicate {
		return false
	}
	if _, _, err := p.stream.Publish(time.Now(), Message{Subject: msg.Subject, ID: ""}, nil); err != nil {
		t.Fatal(err)
	}
	return true
}
