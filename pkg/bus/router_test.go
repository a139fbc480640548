package bus

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
)

// rig is a broker with stream W, durable d, and a router reading it.
type rig struct {
	js       jetstream.JetStream
	conn     *Conn
	router   *Router
	registry *prometheus.Registry
	log      *safeBuffer
	stop     context.CancelFunc
	ended    chan error
}

type safeBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func connectionOf(subject string) string { return strings.TrimPrefix(subject, "w.") }

func newRig(t *testing.T, cfg RouterConfig) *rig {
	t.Helper()
	server := natstest.Run(t)
	r := &rig{js: server.JetStream(t), conn: dialTest(t, server), registry: prometheus.NewRegistry(), log: &safeBuffer{}, ended: make(chan error, 1)}
	declare(t, r.js)
	r.newRouter(t, cfg)
	return r
}

func (r *rig) newRouter(t *testing.T, cfg RouterConfig) {
	t.Helper()
	cfg.Service, cfg.ConnectionOf = "tester", connectionOf
	if cfg.NakDelay == nil {
		cfg.NakDelay = func(uint64) time.Duration { return 5 * time.Millisecond }
	}
	var err error
	r.router, err = NewRouter(cfg, Deps{Conn: r.conn, Log: slog.New(slog.NewTextHandler(r.log, nil)), Registry: r.registry})
	if err != nil {
		t.Fatal(err)
	}
}

func (r *rig) start(t *testing.T, concurrency int, h Handler) {
	t.Helper()
	r.router.AddHandler("handle", "W", "d", concurrency, h)
	r.run(t)
}

func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.ended <- r.router.Run(ctx) }()
	t.Cleanup(cancel)
	awaitClosed(t, r.router.Running(), "the router runs")
}

// end stops the router the way main does.
func (r *rig) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := receiveOne(t, r.ended, "Run returns"); err != nil {
		t.Fatalf("Run: %v", err)
	}
}

// deadLetter is the only dead letter, once it is there.
func (r *rig) deadLetter(t *testing.T) *jetstream.RawStreamMsg {
	t.Helper()
	stream, err := r.js.Stream(context.Background(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	var found *jetstream.RawStreamMsg
	natstest.Eventually(t, patience, "a dead letter", func(ctx context.Context) bool {
		found, err = stream.GetMsg(ctx, 1)
		return err == nil
	})
	return found
}

func (r *rig) deadLetters(t *testing.T) uint64 {
	t.Helper()
	stream, err := r.js.Stream(context.Background(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func (r *rig) outcomes(outcome string) float64 {
	return testutil.ToFloat64(r.router.metrics.handled.WithLabelValues("tester", "handle", outcome))
}

// deadHeader is what a test compares; the time is checked and left out.
func deadHeader(t *testing.T, m *jetstream.RawStreamMsg) map[string]string {
	t.Helper()
	if _, err := time.Parse(time.RFC3339, m.Header.Get(HeaderDeadAt)); err != nil {
		t.Error(err)
	}
	got := map[string]string{}
	for _, name := range []string{HeaderDeadReason, HeaderDeadError, HeaderDeadService, HeaderDeadSubject, HeaderDeadSequence, HeaderDeadAttempts} {
		got[name] = m.Header.Get(name)
	}
	return got
}

func TestRouter_acknowledgesWhatWasHandled(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{})
	got := make(chan string, 1)
	r.start(t, 1, func(ctx context.Context, d Delivery, body []byte) error {
		if _, ok := DeliveryOf(ctx); !ok || d.Delivered != 1 {
			t.Errorf("delivery %+v in context: %v", d, ok)
		}
		got <- string(body)
		return nil
	})
	publish(t, r.js, "w.acme", "body")
	if body := receiveOne(t, got, "the handler's call"); body != "body" {
		t.Fatalf("body %q", body)
	}
	awaitSettled(t, r.js)
	if err := r.router.Bound(); err != nil {
		t.Fatal(err)
	}
	r.end(t)
	if r.router.Bound() == nil {
		t.Fatal("bound after the end")
	}
	if n := r.outcomes(outcomeHandled); n != 1 {
		t.Fatalf("counted %v handled", n)
	}
}

func TestRouter_permanentIsADeadLetterAtOnce(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{"unknown-type": ReasonRejected, ReasonUndecodable: ReasonUndecodable} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, RouterConfig{})
			r.start(t, 1, func(context.Context, Delivery, []byte) error {
				return fault.New(fault.Permanent, reason, "no good").Because(errors.New("ada@example.com"))
			})
			publish(t, r.js, "w.first", "", nats.Header{})
			publish(t, r.js, "w.acme", "body", nats.Header{
				"Ce-Id": {"a", "b"}, "Nats-Foo": {"x", "y"}, HeaderDeadReason: {"forged"},
			})
			natstest.Eventually(t, patience, "both dead letters", func(context.Context) bool { return r.deadLetters(t) == 2 })
			awaitSettled(t, r.js)
			stream, _ := r.js.Stream(context.Background(), "DEAD")
			letter, err := stream.GetLastMsgForSubject(context.Background(), "seatwire.v1.deadletter.tester.acme")
			if err != nil {
				t.Fatal(err)
			}
			wantHeader := map[string]string{
				HeaderDeadReason: want, HeaderDeadError: reason + ": no good", HeaderDeadService: "tester",
				HeaderDeadSubject: "w.acme", HeaderDeadSequence: "2", HeaderDeadAttempts: "1",
			}
			if diff := cmp.Diff(wantHeader, deadHeader(t, letter)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"a", "b"}, letter.Header["Ce-Id"]); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]string{"x", "y"}, letter.Header["Seatwire-Orig-Nats-Foo"]); diff != "" {
				t.Error(diff)
			}
			if len(letter.Header[HeaderDeadReason]) != 1 || string(letter.Data) != "body" {
				t.Errorf("reason %v, body %q", letter.Header[HeaderDeadReason], letter.Data)
			}
			r.end(t)
			if strings.Contains(r.log.String(), "ada@") {
				t.Errorf("an address in the log:\n%s", r.log.String())
			}
		})
	}
}

func TestRouter_exhausted(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 3})
	var calls atomic.Int64
	r.start(t, 1, func(context.Context, Delivery, []byte) error {
		calls.Add(1)
		return errors.New("secret text of a vendor")
	})
	publish(t, r.js, "w.No_Legal_Name", "body")
	letter := r.deadLetter(t)
	want := map[string]string{
		HeaderDeadReason: ReasonExhausted, HeaderDeadError: "internal (*errors.errorString)", HeaderDeadService: "tester",
		HeaderDeadSubject: "w.No_Legal_Name", HeaderDeadSequence: "1", HeaderDeadAttempts: "3",
	}
	if diff := cmp.Diff(want, deadHeader(t, letter)); diff != "" {
		t.Error(diff)
	}
	if letter.Subject != "seatwire.v1.deadletter.tester.unknown" || calls.Load() != 3 {
		t.Errorf("on %s after %d calls", letter.Subject, calls.Load())
	}
	awaitSettled(t, r.js)
	r.end(t)
	if log := r.log.String(); strings.Contains(log, "secret") {
		t.Errorf("a vendor's text in the log:\n%s", log)
	}
	if r.outcomes(outcomeFailed) != 2 || r.outcomes(ReasonExhausted) != 1 {
		t.Errorf("counted %v failed, %v exhausted", r.outcomes(outcomeFailed), r.outcomes(ReasonExhausted))
	}
}

func TestRouter_panic(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 2})
	r.start(t, 1, func(context.Context, Delivery, []byte) error { panic("ada@example.com") })
	publish(t, r.js, "w.acme", "")
	header := deadHeader(t, r.deadLetter(t))
	if header[HeaderDeadReason] != ReasonPanic || header[HeaderDeadAttempts] != "2" || header[HeaderDeadError] != "panic: the handler panicked with a string" {
		t.Errorf("header %v", header)
	}
	awaitSettled(t, r.js)
	r.end(t)
	if log := r.log.String(); strings.Contains(log, "ada@") || !strings.Contains(log, "TestRouter_panic") {
		t.Errorf("want the stack and not the value:\n%s", log)
	}
}

// TestRouter_crashSuspect: a message that took its process with it each time is not read again.
func TestRouter_crashSuspect(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 2})
	publish(t, r.js, "w.acme", "body")
	for range 2 { // processes that took it and died
		s, out := subscribe(t, r.conn, SubscriberConfig{CloseTimeout: time.Millisecond})
		receiveOne(t, out, "the message")
		s.Close()
	}
	r.start(t, 1, func(context.Context, Delivery, []byte) error {
		t.Error("the suspect was read")
		return nil
	})
	letter := r.deadLetter(t)
	header := deadHeader(t, letter)
	if header[HeaderDeadReason] != ReasonCrashSuspect || header[HeaderDeadAttempts] != "3" || string(letter.Data) != "body" {
		t.Errorf("header %v, body %q", header, letter.Data)
	}
	awaitSettled(t, r.js)
	r.end(t)
}

// TestRouter_deadLetterStreamFull: without a stored dead letter nothing is acknowledged; with room again, it goes on,
// and the message keeps the reason that its handler gave although it is past its deliveries by then.
func TestRouter_deadLetterStreamFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 2})
	full := jetstream.StreamConfig{Name: "DEAD", Subjects: []string{events.DeadLetterSubject + ".>"}, MaxBytes: 1}
	declareStream(t, r.js, full)
	r.start(t, 1, func(context.Context, Delivery, []byte) error { return fault.New(fault.Permanent, "bad", "no good") })
	publish(t, r.js, "w.acme", "")
	natstest.Eventually(t, patience, "many vain attempts", func(context.Context) bool { return r.outcomes(outcomeUndeliverable) > 3 })
	if info := consumerInfo(t, r.js); info.NumAckPending+int(info.NumPending) != 1 || info.AckFloor.Stream != 0 {
		t.Fatalf("acknowledged without a dead letter: %+v", info)
	}
	blocked := r.router.metrics.blocked.WithLabelValues("tester")
	if n := strings.Count(r.log.String(), "cannot store dead letters"); n != 1 || testutil.ToFloat64(blocked) != 1 {
		t.Errorf("said %d times, gauge %v", n, testutil.ToFloat64(blocked))
	}
	full.MaxBytes = -1
	declareStream(t, r.js, full)
	if header := deadHeader(t, r.deadLetter(t)); header[HeaderDeadReason] != ReasonRejected {
		t.Errorf("header %v", header)
	}
	awaitSettled(t, r.js)
	r.end(t)
	if n := r.deadLetters(t); n != 1 {
		t.Errorf("%d dead letters of one message", n)
	}
	if n := strings.Count(r.log.String(), "dead letters are stored again"); n != 1 || testutil.ToFloat64(blocked) != 0 {
		t.Errorf("said %d times that it goes on, gauge %v", n, testutil.ToFloat64(blocked))
	}
}

// TestRouter_lane: a job that is interrupted and repeated is never given up for the number of its deliveries.
func TestRouter_lane(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 2})
	r.router.AddLane("lane", "W", "d", func(_ context.Context, d Delivery, _ []byte) error {
		if d.Delivered < 5 {
			return errors.New("not yet")
		}
		return nil
	})
	publish(t, r.js, "w.acme", "")
	r.run(t)
	awaitSettled(t, r.js)
	r.end(t)
	if n := r.deadLetters(t); n != 0 {
		t.Fatalf("%d dead letters of a lane", n)
	}
}

func TestRouter_throttledWaitsAsAsked(t *testing.T) {
	t.Parallel()
	const wait = 300 * time.Millisecond
	r := newRig(t, RouterConfig{})
	calls := make(chan time.Time, 2)
	r.start(t, 1, func(_ context.Context, d Delivery, _ []byte) error {
		calls <- time.Now()
		if d.Delivered == 1 {
			return fault.New(fault.Throttled, "too-many", "slower").After(wait)
		}
		return nil
	})
	publish(t, r.js, "w.acme", "")
	first := receiveOne(t, calls, "the first call")
	if waited := receiveOne(t, calls, "the second call").Sub(first); waited < wait {
		t.Fatalf("called again after %s, asked for %s", waited, wait)
	}
	awaitSettled(t, r.js)
	r.end(t)
}

// TestRouter_hiccup: our own broker being away for a moment costs no delivery; a vendor's failure is not repeated here.
func TestRouter_hiccup(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 1, HandlerTimeout: time.Minute})
	var calls atomic.Int64
	r.start(t, 1, func(ctx context.Context, d Delivery, body []byte) error {
		if err := ctx.Err(); err != nil {
			t.Errorf("a call began with a dead context: %v", err)
		}
		switch n := calls.Add(1); {
		case string(body) == "broker" && n < 3:
			return classify("w.x", nats.ErrTimeout)
		case string(body) == "vendor":
			return fault.New(fault.Transient, "vendor-down", "no answer").Because(nats.ErrTimeout)
		}
		return nil
	})
	publish(t, r.js, "w.acme", "broker")
	awaitSettled(t, r.js)
	if calls.Load() != 3 || r.outcomes(outcomeHandled) != 1 || r.deadLetters(t) != 0 {
		t.Fatalf("%d calls, %v handled, %d dead letters", calls.Load(), r.outcomes(outcomeHandled), r.deadLetters(t))
	}
	publish(t, r.js, "w.acme", "vendor")
	r.deadLetter(t)
	if calls.Load() != 4 {
		t.Fatalf("a vendor was called %d times in one delivery", calls.Load()-3)
	}
	awaitSettled(t, r.js)
	r.end(t)
}

func TestRouter_handlerTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 1, HandlerTimeout: 10 * time.Millisecond})
	r.start(t, 1, func(ctx context.Context, _ Delivery, _ []byte) error {
		<-ctx.Done()
		return ctx.Err()
	})
	publish(t, r.js, "w.acme", "")
	header := deadHeader(t, r.deadLetter(t))
	if header[HeaderDeadReason] != ReasonExhausted || !strings.HasPrefix(header[HeaderDeadError], "handler-timeout") {
		t.Errorf("header %v", header)
	}
	awaitSettled(t, r.js)
	r.end(t)
}

// TestRouter_stopLetsHandlersFinish: the end of Run's context is not the end of what is in work.
func TestRouter_stopLetsHandlersFinish(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{CloseTimeout: time.Minute})
	const n = 4
	began, finish := make(chan struct{}, n), make(chan struct{})
	r.start(t, n, func(ctx context.Context, _ Delivery, _ []byte) error {
		began <- struct{}{}
		<-finish
		return ctx.Err()
	})
	for range n {
		publish(t, r.js, "w.acme", "")
	}
	for range n {
		receiveOne(t, began, "a handler's start")
	}
	r.stop()
	receiveStop(t, r.router.subs[0])
	close(finish)
	r.end(t)
	if info := consumerInfo(t, r.js); info.NumAckPending != 0 || info.Delivered.Consumer != n {
		t.Fatalf("%d unacknowledged, %d deliveries", info.NumAckPending, info.Delivered.Consumer)
	}
}

// TestRouter_interruptionIsNoFailure: a stop beyond CloseTimeout gives the message to the next replica at once, and
// makes no dead letter even at the last delivery.
func TestRouter_interruptionIsNoFailure(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{MaxDeliveries: 1, CloseTimeout: 10 * time.Millisecond})
	declareConsumer(t, r.js, func(cfg *jetstream.ConsumerConfig) { cfg.AckWait = time.Hour })
	began := make(chan struct{}, 1)
	r.start(t, 1, func(ctx context.Context, _ Delivery, _ []byte) error {
		began <- struct{}{}
		<-ctx.Done()
		return fault.New(fault.Transient, "stopped", "interrupted").Because(ctx.Err())
	})
	publish(t, r.js, "w.acme", "")
	receiveOne(t, began, "the handler's start")
	r.end(t)
	_, out := subscribe(t, r.conn, SubscriberConfig{})
	receiveOne(t, out, "the message, for the next replica").Ack()
	awaitSettled(t, r.js)
	if r.deadLetters(t) != 0 || r.outcomes(outcomeInterrupted) != 1 {
		t.Fatalf("%d dead letters, %v interrupted", r.deadLetters(t), r.outcomes(outcomeInterrupted))
	}
}

func TestRouter_connectionClosedEndsRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{})
	r.start(t, 1, func(context.Context, Delivery, []byte) error { return nil })
	r.conn.consume.Close()
	if err := receiveOne(t, r.ended, "Run returns"); fault.ReasonOf(err) != "subscriptions-ended" {
		t.Fatalf("Run: %v", err)
	}
}

func TestRouter_refusesToStartOnAnUnfitConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{})
	declareConsumer(t, r.js, func(cfg *jetstream.ConsumerConfig) { cfg.BackOff = []time.Duration{time.Second}; cfg.AckWait = 0 })
	r.router.AddHandler("handle", "W", "d", 1, func(context.Context, Delivery, []byte) error { return nil })
	if err := r.router.Run(context.Background()); !errors.Is(err, errUnfit) {
		t.Fatalf("Run: %v", err)
	}
}

func TestRouter_sharesARegistry(t *testing.T) {
	t.Parallel()
	r := newRig(t, RouterConfig{})
	r.newRouter(t, RouterConfig{}) // a second one in the process must not panic
}

func TestNewRouter_refusesNonsense(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]RouterConfig{
		"service":      {Service: "No Name", ConnectionOf: connectionOf},
		"connectionOf": {Service: "tester"},
		"connection":   {Service: "tester", ConnectionOf: connectionOf},
	} {
		if _, err := NewRouter(cfg, Deps{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestJudge is the error policy as a table.
func TestJudge(t *testing.T) {
	t.Parallel()
	after := func(n uint64) time.Duration { return time.Duration(n) }
	plain := errors.New("x")
	throttled := fault.New(fault.Throttled, "x", "")
	for name, c := range map[string]struct {
		err         error
		interrupted bool
		delivered   uint64
		want        verdict
	}{
		"plain":                    {plain, false, 2, verdict{after: 2, outcome: outcomeFailed}},
		"plain, last":              {plain, false, 3, dead(ReasonExhausted)},
		"plain, beyond":            {plain, false, 9, dead(ReasonExhausted)},
		"unknown":                  {fault.New(fault.Unknown, "x", ""), false, 1, verdict{after: 1, outcome: outcomeFailed}},
		"permanent":                {fault.New(fault.Permanent, "x", ""), false, 1, dead(ReasonRejected)},
		"undecodable":              {fault.New(fault.Permanent, ReasonUndecodable, ""), false, 1, dead(ReasonUndecodable)},
		"throttled":                {throttled, false, 1, verdict{after: 1, outcome: outcomeThrottled}},
		"throttled, with a wait":   {fault.New(fault.Throttled, "x", "").After(9), false, 1, verdict{after: 9, outcome: outcomeThrottled}},
		"throttled, last":          {throttled, false, 3, dead(ReasonExhausted)},
		"panic":                    {panicError(1), false, 1, verdict{after: 1, outcome: outcomeFailed}},
		"panic, last":              {panicError(1), false, 3, dead(ReasonPanic)},
		"suspect":                  {fault.New(fault.Permanent, "x", "").Because(errSuspect), false, 4, dead(ReasonCrashSuspect)},
		"interrupted":              {plain, true, 3, verdict{after: -1, outcome: outcomeInterrupted}},
		"interrupted, permanently": {fault.New(fault.Permanent, "x", ""), true, 1, verdict{after: -1, outcome: outcomeInterrupted}},
	} {
		if got := judge(c.err, c.interrupted, c.delivered, 3, after); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestCrashSuspect_forgetsWithinBounds(t *testing.T) {
	t.Parallel()
	c := newCrashSuspect(func(context.Context) uint64 { return 1 }, nil)
	for i := range uint64(maxRemembered + 10) {
		c.remember(place{sequence: i})
	}
	if len(c.verdict) != maxRemembered || !c.known(place{sequence: maxRemembered + 9}) {
		t.Fatalf("%d remembered", len(c.verdict))
	}
}

func TestNakDelay(t *testing.T) {
	t.Parallel()
	for delivered, want := range map[uint64]time.Duration{0: 500 * time.Millisecond, 1: 500 * time.Millisecond, 3: 2 * time.Second, 7: 30 * time.Second, 1 << 60: 30 * time.Second} {
		if got := nakDelay(delivered); got != want {
			t.Errorf("after %d deliveries %s, want %s", delivered, got, want)
		}
	}
}
