package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
)

// mortalEnv makes the test binary a program of one stage that dies of some messages; its value is the broker's URL.
const mortalEnv = "SEATWIRE_BUS_MORTAL"

// mortalIfChild turns the process into that program, or into the one that it starts for suspects.
func mortalIfChild() {
	url := os.Getenv(mortalEnv)
	if url == "" {
		return
	}
	debug.SetMaxStack(1 << 20)
	_ = syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: 8 << 30, Max: 8 << 30})
	conn, err := Connect(context.Background(), Options{URL: url, Name: "mortal"}, discard)
	if err != nil {
		panic(err)
	}
	router, err := NewRouter(RouterConfig{Service: "tester", ConnectionOf: connectionOf}, Deps{Conn: conn, Log: discard, Isolated: mortal(url)})
	if err != nil {
		panic(err)
	}
	router.AddHandler("handle", "W", "d", 16, func(ctx context.Context, d Delivery, body []byte) error {
		return mortalHandler(ctx, NewPublisher(conn), d, body)
	})
	if len(os.Args) > 1 {
		err = router.RunErrands(os.Stdin, os.Stdout)
	} else {
		err = router.Run(context.Background())
	}
	if err != nil {
		panic(err)
	}
	os.Exit(0)
}

func mortal(url string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Args[0], "errands")
		cmd.Env = append(os.Environ(), mortalEnv+"="+url)
		return cmd
	}
}

// mortalHandler does its work, which is a message on done.<body>, or dies as the body says.
func mortalHandler(ctx context.Context, p *Publisher, d Delivery, body []byte) error {
	switch strings.TrimRight(string(body), "0123456789") {
	case "nil elsewhere":
		go func() { var none *Delivery; none.Sequence++ }()
		<-ctx.Done()
	case "stack overflow":
		overflowed.Store(int64(deeper(0)))
	case "out of memory":
		_ = make([]byte, 64<<30)
	case "exit":
		os.Exit(3)
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-ctx.Done()
	case "hang":
		<-ctx.Done()
	case "refused":
		return fault.New(fault.Permanent, "no-good", "no good")
	case "panic":
		panic("ada@example.com")
	}
	_, err := p.PublishMsg(ctx, "done."+string(body), fmt.Sprint("done/", d.Sequence), nil, nil)
	return err
}

// overflowed takes what never comes.
var overflowed atomic.Int64

func deeper(n int) int { return deeper(n+1) + 1 } //nolint:staticcheck // SA5007: the overflow is the point

// TestIsolated_aMessageRestartsAProcessOnce: messages that kill a process in every way that no handler can stop come
// among good ones, sixteen at a time. Each kills the process once at most and is set aside; the good ones are handled.
func TestIsolated_aMessageRestartsAProcessOnce(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js := server.JetStream(t)
	declare(t, js)
	declareStream(t, js, jetstream.StreamConfig{Name: "DONE", Subjects: []string{"done.>"}})
	deadly := []string{"nil elsewhere", "stack overflow", "out of memory", "exit", "killed"}
	const good = 200
	for i := range good {
		publish(t, js, "w.acme", fmt.Sprint("good", i))
		if i%40 == 20 {
			publish(t, js, "w.acme", deadly[i/40])
		}
	}
	publish(t, js, "w.acme", "refused")

	stop := make(chan struct{})
	restarts := make(chan int, 1)
	go func() { restarts <- supervise(t, server.URL(), stop) }()
	awaitSettled(t, js)
	close(stop)
	if n := receiveOne(t, restarts, "the program's end"); n < 1 || n > len(deadly) {
		t.Errorf("%d restarts by %d messages", n, len(deadly))
	}
	if diff := cmp.Diff(map[string]string{
		"nil elsewhere": ReasonCrashSuspect, "stack overflow": ReasonCrashSuspect, "out of memory": ReasonCrashSuspect,
		"exit": ReasonCrashSuspect, "killed": ReasonCrashSuspect, "refused": ReasonRejected,
	}, reasons(t, js)); diff != "" {
		t.Error(diff)
	}
	if done, err := js.Stream(t.Context(), "DONE"); err != nil || done.CachedInfo().State.NumSubjects != good {
		t.Errorf("%d good messages handled, %v", done.CachedInfo().State.NumSubjects, err)
	}
}

// supervise runs the program until stop and starts it again whenever it dies. It returns how often.
func supervise(t *testing.T, url string, stop <-chan struct{}) (restarts int) {
	for {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), mortalEnv+"="+url)
		if err := cmd.Start(); err != nil {
			t.Error(err)
			return restarts
		}
		died := make(chan struct{})
		go func() { _ = cmd.Wait(); close(died) }()
		select {
		case <-died:
			restarts++
		case <-stop:
			_ = cmd.Process.Kill()
			<-died
			return restarts
		}
	}
}

// reasons of the dead letters, by body.
func reasons(t *testing.T, js jetstream.JetStream) map[string]string {
	t.Helper()
	s, err := js.Stream(t.Context(), "DEAD")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for sequence := range s.CachedInfo().State.LastSeq {
		letter, err := s.GetMsg(t.Context(), sequence+1)
		if err != nil {
			t.Fatal(err)
		}
		found[string(letter.Data)] = letter.Header.Get(HeaderDeadReason)
	}
	return found
}

// isolate is a child of this test's own.
func isolate(t *testing.T) *isolation {
	t.Helper()
	server := natstest.Run(t)
	declare(t, server.JetStream(t))
	declareStream(t, server.JetStream(t), jetstream.StreamConfig{Name: "DONE", Subjects: []string{"done.>"}})
	i := newIsolation(mortal(server.URL()), discard)
	t.Cleanup(i.close)
	return i
}

func send(ctx context.Context, i *isolation, body string) error {
	return i.handle(ctx, errand{Handler: "handle", Delivery: Delivery{Stream: "W", Consumer: "d", Sequence: 1, Lease: &held{}}, Body: []byte(body)})
}

// TestIsolation_bringsBackTheVerdict: what the handler said is what the router hears, without anybody's text.
func TestIsolation_bringsBackTheVerdict(t *testing.T) {
	t.Parallel()
	i := isolate(t)
	if err := send(t.Context(), i, "good"); err != nil {
		t.Error(err)
	}
	if err := send(t.Context(), i, "refused"); fault.ClassOf(err) != fault.Permanent || fault.Text(err) != "no-good: no good" {
		t.Error(err)
	}
	if err := send(t.Context(), i, "panic"); !isPanic(err) || fault.Text(err) != "panic: the handler panicked with a string" {
		t.Error(err)
	}
	if err := send(t.Context(), i, "exit"); !errors.Is(err, errEndedItAll) {
		t.Error(err)
	}
	if err := send(t.Context(), i, "good"); err != nil {
		t.Errorf("after a death: %v", err)
	}
}

// TestIsolation_aChildThatDiedByChance: the next message in its hands is not blamed.
func TestIsolation_aChildThatDiedByChance(t *testing.T) {
	t.Parallel()
	i := isolate(t)
	if err := send(t.Context(), i, "good"); err != nil {
		t.Fatal(err)
	}
	_ = i.child.cmd.Process.Kill()
	if err := send(t.Context(), i, "good"); err != nil {
		t.Error(err)
	}
}

// TestIsolation_endsWithItsMessage: a handler that hangs is killed when the message's time is over, and blames nobody.
func TestIsolation_endsWithItsMessage(t *testing.T) {
	t.Parallel()
	i := isolate(t)
	if err := send(t.Context(), i, "good"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := send(ctx, i, "hang"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	i.command = func() *exec.Cmd { return exec.Command("sleep", "1000") }
	if err := send(ctx, i, "good"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("never ready: %v", err)
	}
}

// TestIsolation_notToBeHad: where no process can be started a message is handled here, as long as a verdict allows.
func TestIsolation_notToBeHad(t *testing.T) {
	t.Parallel()
	nowhere := newIsolation(func() *exec.Cmd { return exec.Command("/nowhere") }, discard)
	calls := 0
	check := newCrashSuspect(func(context.Context) uint64 { return 3 }, nowhere).check(func(*message.Message) ([]*message.Message, error) {
		calls++
		return nil, context.Canceled // no verdict
	})
	for delivered, wantCalls := range []int{1, 2, 3, 3} {
		m := message.NewMessage("", nil)
		m.SetContext(WithDelivery(t.Context(), Delivery{Delivered: uint64(delivered + 1)}))
		if _, err := check(m); calls != wantCalls || errors.Is(err, errSuspect) != (delivered == 3) {
			t.Errorf("delivery %d: %d calls, %v", delivered+1, calls, err)
		}
	}
}
