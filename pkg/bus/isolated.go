package bus

import (
	"context"
	"encoding/gob"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// isolatedIdle is how long the process for suspects is kept without work.
	isolatedIdle = 10 * time.Second
	// isolatedStart is how long it may take to be ready.
	isolatedStart = 30 * time.Second
	// isolatedTries is how many processes a message may end before it is set aside: one may have been killed by chance.
	isolatedTries = 2
)

// Ends of a message's stay in isolation that are no answer of its handler.
var (
	errNotIsolated = errors.New("there is no process for suspects")
	errEndedItAll  = errors.New("its process ended with the message in hand")
)

// isolation handles messages in a process of their own, this program started once more, one message at a time: the
// one in hand when it dies is the one that killed it, which cannot be told of a process that handles many. The child
// has the handlers and connections of any replica, so what it does is done.
type isolation struct {
	command func() *exec.Cmd
	log     *slog.Logger
	// turn holds one token: whoever has it has the child, too.
	turn  chan struct{}
	child *child // nil: none
	idle  *time.Timer
}

// errand is one message on its way to the child, in gob: a message may hold any bytes.
type errand struct {
	Handler  string
	Delivery Delivery
	Body     []byte
}

// answer is what the child's handler said of it. The first one says that the child is ready, and is about no message.
type answer struct {
	Failed, Panicked, Interrupted bool
	Class                         fault.Class
	Reason, Detail                string
	RetryAfter                    time.Duration
}

func newIsolation(command func() *exec.Cmd, log *slog.Logger) *isolation {
	return &isolation{command: command, log: log, turn: make(chan struct{}, 1)}
}

// handle returns the handler's own error, or one of the two above.
func (i *isolation) handle(ctx context.Context, e errand) error {
	e.Delivery.Lease = nil // it cannot go along; handlers of single messages do not renew
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if i.idle != nil {
		i.idle.Stop()
	}
	defer func() { i.idle = time.AfterFunc(isolatedIdle, i.close) }()
	for range isolatedTries {
		if i.child == nil {
			if err := i.start(ctx); ctx.Err() != nil {
				return ctx.Err()
			} else if err != nil {
				i.log.WarnContext(ctx, "cannot start a process for messages that came back without an answer", "error", fault.Text(err))
				return errNotIsolated
			}
		}
		a, err := i.child.ask(ctx, &e)
		if err == nil {
			return a.err()
		}
		i.stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errEndedItAll
}

func (i *isolation) start(ctx context.Context) error {
	c, err := startChild(i.command())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, isolatedStart)
	defer cancel()
	if _, err := c.ask(ctx, nil); err != nil {
		c.end()
		return err
	}
	i.child = c
	return nil
}

// stop ends the child. The caller has the turn.
func (i *isolation) stop() {
	if i.child != nil {
		i.child.end()
		i.child = nil
	}
}

// close ends the child unless it is at work, and then its user arranges for the next look.
func (i *isolation) close() {
	select {
	case i.turn <- struct{}{}:
		i.stop()
		<-i.turn
	default:
	}
}

// child is the process at the other end of two pipes.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	send *gob.Encoder
	get  *gob.Decoder
}

func startChild(cmd *exec.Cmd) (*child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd: cmd, in: in, send: gob.NewEncoder(in), get: gob.NewDecoder(out)}, nil
}

// ask sends an errand and waits for its answer; without an errand it waits for the child to be ready.
func (c *child) ask(ctx context.Context, e *errand) (a answer, err error) {
	stop := context.AfterFunc(ctx, func() { _ = c.cmd.Process.Kill() }) // which ends the wait below
	defer stop()
	if e != nil {
		if err := c.send.Encode(e); err != nil {
			return a, err
		}
	}
	return a, c.get.Decode(&a)
}

// end kills the child: an idle one has nothing to lose, and what another had in hand comes back.
func (c *child) end() {
	_ = c.in.Close()
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait() // its exit code says nothing that the pipes did not
}

func (a answer) err() error {
	switch {
	case !a.Failed:
		return nil
	case a.Interrupted:
		return context.Canceled
	}
	err := fault.New(a.Class, a.Reason, "%s", a.Detail).After(a.RetryAfter)
	if a.Panicked {
		err = err.Because(errPanic)
	}
	return err
}

func answerOf(err error) answer {
	if err == nil {
		return answer{}
	}
	a := answer{Failed: true, Panicked: isPanic(err), Interrupted: errors.Is(err, context.Canceled), Class: fault.ClassOf(err), Reason: fault.ReasonOf(err)}
	if classified, ok := errors.AsType[*fault.Error](err); ok {
		a.Detail, a.RetryAfter = classified.Detail, classified.RetryAfter
	}
	return a
}

// RunErrands is Run in the child: it handles what its parent sends, one message after the other, until the parent
// closes the pipe or is gone.
func (r *Router) RunErrands(in io.Reader, out io.Writer) error {
	get, send := gob.NewDecoder(in), gob.NewEncoder(out)
	for a := (answer{}); ; {
		if err := send.Encode(a); err != nil {
			return err
		}
		var e errand
		if err := get.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a = answerOf(r.runErrand(e))
	}
}

func (r *Router) runErrand(e errand) error {
	h, known := r.handlers[e.Handler]
	if !known {
		return fault.New(fault.Transient, "no-handler", "this program has no handler %s", e.Handler)
	}
	m := message.NewMessage("", e.Body)
	m.SetContext(WithDelivery(context.Background(), e.Delivery))
	_, err := retryHiccups(limitTime(r.cfg.HandlerTimeout)(recoverPanic(r.deps.Log)(func(m *message.Message) ([]*message.Message, error) {
		return nil, h(m.Context(), e.Delivery, m.Payload)
	})))(m)
	return err
}
