package seatwire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nuid"
	"golang.org/x/time/rate"

	"github.com/seatwire/seatwire/pkg/state"
)

const (
	// runKey holds the run over dead letters that is under way: there is one at a time.
	runKey = "deadletters.run"
	// beatEvery is how often a run says that it is alive, and looks whether it should stop.
	beatEvery = time.Second
	// deadAfter is how long a run may be silent before another takes its place. The worst that follows from taking
	// the place of one that was only slow is that a message is replayed twice.
	deadAfter = 5 * time.Second
)

const (
	verbReplay  = "replay"
	verbDiscard = "discard"
)

// runState is what everybody may know of the run.
type runState struct {
	// Owner is empty when none is under way.
	Owner string    `json:"owner"`
	Verb  string    `json:"verb"`
	Done  int       `json:"done"`
	Total int       `json:"total"`
	At    time.Time `json:"at"`
	// Stop is somebody's wish that it end.
	Stop bool `json:"stop"`
}

// run is ours.
type run struct {
	runState
	state    *state.Store
	revision uint64
	beaten   time.Time
}

// beginRun takes the place of the run, which must be free or left by a process that is gone.
func (s *session) beginRun(ctx context.Context, verb string, total int) (*run, error) {
	var there runState
	revision, err := s.state.Get(ctx, runKey, &there)
	if err != nil {
		return nil, err
	}
	if there.Owner != "" {
		if alive, err := s.moves(ctx, revision); alive || err != nil {
			return nil, errors.Join(err, plain("a %s is under way, %d of %d are done; wait for it, or end it with seatwire deadletters stop", there.Verb, there.Done, there.Total))
		}
	}
	r := &run{state: s.state, revision: revision, runState: runState{Owner: nuid.Next(), Verb: verb, Total: total}}
	if err := r.beat(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// moves watches the run's state for a while. Clocks are not compared: they may be those of two machines.
func (s *session) moves(ctx context.Context, revision uint64) (bool, error) {
	look := time.NewTicker(beatEvery / 4)
	defer look.Stop()
	for began := time.Now(); time.Since(began) < deadAfter; {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-look.C:
		}
		var now runState
		if at, err := s.state.Get(ctx, runKey, &now); err != nil || at != revision {
			return err == nil, err
		}
	}
	return false, nil
}

// stopped waits for the pace and reports whether the run should end here: by a signal, or by somebody's wish.
func (r *run) stopped(ctx context.Context, pace *rate.Limiter, done cleared) (bool, error) {
	if pace.Wait(ctx) != nil {
		return true, nil
	}
	if time.Since(r.beaten) < beatEvery {
		return false, nil
	}
	r.Done = done.done()
	err := r.beat(ctx)
	return r.Stop || ctx.Err() != nil, err
}

// beat writes our state over what it was, also when a signal came. When somebody else wrote it, that was a wish to
// stop, or our end.
func (r *run) beat(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	r.At, r.beaten = time.Now().UTC(), time.Now()
	revision, err := r.state.Put(ctx, runKey, r.runState, r.revision)
	if err == nil {
		r.revision = revision
	}
	if !errors.Is(err, state.ErrConflict) {
		return err
	}
	var now runState
	if r.revision, err = r.state.Get(ctx, runKey, &now); err != nil {
		return err
	}
	if now.Owner != r.Owner {
		return plain("another run took our place; seatwire deadletters list shows what is left")
	}
	r.Stop = now.Stop
	return nil
}

// end leaves the place free. Failing, it is free deadAfter later.
func (r *run) end(ctx context.Context) {
	_, _ = state.Modify(ctx, r.state, runKey, func(now *runState) error {
		if now.Owner != r.Owner {
			return errNotOurs
		}
		*now = runState{}
		return nil
	})
}

var errNotOurs = errors.New("another run has the place")

// stopRun asks the run that is under way to end.
func (s *session) stopRun(ctx context.Context, c *invocation) error {
	asked, err := state.Modify(ctx, s.state, runKey, func(r *runState) error {
		if r.Owner == "" {
			return plain("no replay or discard is under way")
		}
		r.Stop = true
		return nil
	})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c.env.Stdout, asked)
	}
	_, err = fmt.Fprintf(c.env.Stdout, "the %s ends after the dead letter in hand\n", asked.Verb)
	return err
}
