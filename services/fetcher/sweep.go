package fetcher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// lane runs the sweeps of one connection, one at a time.
//
// A delivery is an accepted request that nobody answered yet. It starts a sweep, or goes on with the one that a crash
// left behind; the sweep answers every request up to Through, so the deliveries of the others find nothing to do.
// The broker hands out one message at a time; the state's compare-and-set stops a process that lost the lane without
// noticing at its next checkpoint.
type lane struct {
	connection config.Connection
	deps       Deps
	// slots bound the sweeps at once of this replica.
	slots     chan struct{}
	maxStalls int
}

// deliver handles one accepted request.
func (l *lane) deliver(ctx context.Context, d bus.Delivery, _ []byte) error {
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s, err := l.open(ctx)
	if err != nil {
		return err
	}
	// The sweep in hand may be an older one that does not answer this request: then another follows at once, for
	// after the ack nobody would ask for it again.
	for s.Running || d.Sequence > s.Through {
		if !s.Running {
			if err := l.begin(ctx, s, d.Sequence); err != nil {
				return err
			}
		}
		if err := l.run(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// record is the lane's state with the revision to write over.
type record struct {
	roster.Sweep
	revision uint64
}

func (l *lane) open(ctx context.Context) (*record, error) {
	r := &record{}
	revision, err := l.deps.State.Get(ctx, roster.SweepKey(l.connection.Name), &r.Sweep)
	r.revision = revision
	return r, err
}

// save writes the state. A conflict means that somebody else holds the lane now: stop, and let the broker decide. It
// waits for the answer even if ctx ends, for as long as any request to the broker: a write that is cut off may be stored
// all the same, and the next one of ours would then be refused as somebody else's.
func (l *lane) save(ctx context.Context, r *record) error {
	revision, err := l.deps.State.Put(context.WithoutCancel(ctx), roster.SweepKey(l.connection.Name), r.Sweep, r.revision)
	if errors.Is(err, state.ErrConflict) {
		return fault.New(fault.Transient, "lane-lost", "another replica goes on with this sweep").Because(err)
	}
	if err == nil {
		r.revision = revision
	}
	return err
}

// begin opens a sweep for every request that waits now: the delivered one at least, whatever a leader that was cut off
// says is the last.
func (l *lane) begin(ctx context.Context, r *record, delivered uint64) error {
	filter := events.Subject(streams.SweepAcceptedSubject, l.connection.Name, "*")
	last, err := streams.At(l.deps.JS).Newest(ctx, streams.Sweeps, filter)
	if err != nil {
		return err
	}
	r.After, r.Through = r.Through, delivered
	if last != nil {
		r.Through = max(last.Sequence, delivered)
	}
	r.Running, r.Stalls = true, 0
	l.fresh(r)
	err = l.save(ctx, r)
	failpoint.Hit(failpoint.F1)
	return err
}

// fresh gives the sweep in hand a new id and an empty checkpoint.
func (l *lane) fresh(r *record) {
	r.Started = l.deps.Now().UTC()
	r.SweepID = newSweepID(r.Started)
	r.Checkpoint = roster.Checkpoint{}
}

// newSweepID sorts by time and is unique: it is a token of subjects.
func newSweepID(at time.Time) string {
	var tail [4]byte
	_, _ = rand.Read(tail[:]) // never fails: crypto/rand crashes the program instead
	return at.Format("20060102t150405z") + "-" + hex.EncodeToString(tail[:])
}

// run reads the plan and ends the sweep: with a manifest of the roster, or with one that says why there is none. An
// error means that this replica could not go on, and another delivery will.
func (l *lane) run(ctx context.Context, r *record) error {
	r.Stalls++
	if r.Stalls > l.maxStalls {
		return l.finish(ctx, r, fault.New(fault.Permanent, "crash-suspect",
			"%d attempts in a row ended without progress; see the fetcher's logs before asking for another sweep", r.Stalls-1))
	}
	if err := l.save(ctx, r); err != nil {
		return err
	}
	resumed := r.Checkpoint.Stage != ""
	err := l.read(ctx, r)
	if resumed && fault.ReasonOf(err) == "cursor-refused" {
		l.deps.Log.WarnContext(ctx, "cursor refused after a restart; the sweep starts afresh", "connection", l.connection.Name, "sweep", r.SweepID)
		l.fresh(r)
		err = l.read(ctx, r)
	}
	if _, verdict := errors.AsType[*readError](err); err == nil || verdict && ctx.Err() == nil {
		return l.finish(ctx, r, err)
	}
	return err
}

// finish publishes the manifest and closes the sweep, in this order: a crash between the two publishes the same
// manifest again, and its subject is its key.
func (l *lane) finish(ctx context.Context, r *record, failure error) error {
	m := l.manifest(r, failure)
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	subject := events.Subject(streams.UsersSweptSubject, m.Connection, m.SweepID)
	failpoint.Hit(failpoint.F6)
	if _, err := l.deps.Publisher.PublishMsg(ctx, subject, subject, nil, body); err != nil && !bus.IsKeyExists(err) {
		return err
	}
	failpoint.Hit(failpoint.F7)
	r.Running, r.Last = false, &m
	if m.Sound() {
		r.Sound = &m
	}
	if err := l.save(ctx, r); err != nil {
		return err
	}
	l.log(ctx, m)
	return nil
}

func (l *lane) manifest(r *record, failure error) roster.Manifest {
	c := r.Checkpoint
	m := roster.Manifest{
		Connection: l.connection.Name, SweepID: r.SweepID,
		Licenses: c.Licenses, Assigned: c.Assigned, Warnings: c.Warnings,
		After: r.After, Through: r.Through, Started: r.Started, Finished: l.deps.Now().UTC(),
	}
	if failure != nil {
		m.Failure, m.Detail = fault.ReasonOf(failure), fault.Text(failure)
		return m
	}
	m.Spans, m.Pages, m.Root, m.Nodes, m.Total = c.Spans, c.Pages, c.Root, c.Nodes, c.Total
	return m
}

func (l *lane) log(ctx context.Context, m roster.Manifest) {
	l.deps.Log.InfoContext(ctx, "sweep finished", "connection", m.Connection, "sweep", m.SweepID, "pages", m.Pages,
		"users", m.Nodes, "failure", m.Failure, "detail", m.Detail, "warnings", m.Warnings, "took_ms", m.Finished.Sub(m.Started).Milliseconds())
}
