package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// lane publishes the sweeps of one connection, one at a time.
type lane struct {
	connection config.Connection
	deps       Deps
	app        App
	hold       laneHold
	maxStalls  int
}

// turn is one delivery being worked on: the state with the revision to write over.
type turn struct {
	*lane
	delivery bus.Delivery
	roster.Publication
	revision uint64
	// held is the plan that this turn's guards stopped.
	held *roster.Plan
	// refused are people that Productiv does not take, as far as this turn knows.
	refused map[personKey]struct{}
	// bisected is how many extra calls this turn has spent on finding them.
	bisected int
	// paused is what the guards were told.
	paused bool
	// deleting are the entries that this turn's plans deleted, and that Productiv still lists as far as is known.
	deleting entries
	// rest are the entries of ours that the last comparison saw and that are not an active person's.
	rest []pair
}

// deliver handles one message of the lane: a manifest, or a person's decision about a hold.
func (l *lane) deliver(ctx context.Context, d bus.Delivery, body []byte) error {
	t := &turn{lane: l, delivery: d, refused: map[personKey]struct{}{}, deleting: entries{}}
	var err error
	if t.revision, err = l.deps.State.Get(ctx, roster.PublicationKey(l.connection.Name), &t.Publication); err != nil {
		return err
	}
	if tokens := events.Tokens(streams.PublicationDecidedSubject, d.Subject); len(tokens) == 3 {
		return t.decided(ctx, tokens[1], tokens[2], body)
	}
	var m roster.Manifest
	if err := json.Unmarshal(body, &m); err != nil {
		return fault.New(fault.Permanent, "undecodable", "the manifest is not JSON of this version").Because(err)
	}
	return t.swept(ctx, m)
}

// swept publishes a new sweep, or finishes what a crash left of it.
func (t *turn) swept(ctx context.Context, m roster.Manifest) error {
	failpoint.Hit(failpoint.P1)
	if record := t.Record(m.SweepID); record != nil {
		return t.answer(ctx, m, record)
	}
	if newer := t.newerThan(m); newer != nil {
		superseded := verdict{state: roster.StateFailed, reason: "superseded by sweep " + newer.SweepID}
		return t.conclude(ctx, m, with(roster.Record{}, superseded, ""))
	}
	return t.publish(ctx, m, roster.Record{SweepID: m.SweepID})
}

// newerThan returns the record of a newer roster. The lane brings manifests in their order, so only one that was set
// aside and replayed can be older than what is published; it would bring back people who have left.
func (t *turn) newerThan(m roster.Manifest) *roster.Record {
	for i, r := range t.History {
		if r.Through > m.Through && r.State != roster.StateFailed {
			return &t.History[i]
		}
	}
	return nil
}

// decided carries out a decision, once: the subject of a decision names the hold, and a hold is left behind before
// anything else happens.
func (t *turn) decided(ctx context.Context, sweepID, hold string, body []byte) error {
	var decision roster.Decision
	if err := json.Unmarshal(body, &decision); err != nil {
		return fault.New(fault.Permanent, "undecodable", "the decision is not JSON of this version").Because(err)
	}
	m, err := t.manifest(ctx, sweepID)
	if err != nil {
		return err
	}
	record := t.Record(sweepID)
	if record == nil || hold != strconv.Itoa(record.Holds) {
		t.deps.Log.WarnContext(ctx, "a decision about no hold of ours", "connection", t.connection.Name, "sweep", sweepID)
		return nil
	}
	switch {
	case record.State == roster.StateHeld && !decision.Release:
		return t.conclude(ctx, m, with(*record, verdict{roster.StateDeclined, "declined", record.Counts}, decision.By))
	case record.State == roster.StateHeld:
		record.State, record.By, record.At = roster.StateReleased, decision.By, t.deps.Now().UTC()
		if err := t.save(ctx); err != nil {
			return err
		}
		return t.publish(ctx, m, *record)
	case record.State == roster.StateReleased:
		return t.publish(ctx, m, *record)
	default:
		return t.answer(ctx, m, record)
	}
}

// manifest reads a sweep's manifest back from the stream.
func (t *turn) manifest(ctx context.Context, sweepID string) (m roster.Manifest, err error) {
	subject := events.Subject(streams.UsersSweptSubject, t.connection.Name, sweepID)
	msg, err := t.deps.Streams.Newest(ctx, streams.Swept, subject)
	if err != nil {
		return m, err
	}
	if msg == nil {
		return m, fault.New(fault.Permanent, "rejected", "no sweep %s is known", sweepID)
	}
	if err := json.Unmarshal(msg.Data, &m); err != nil {
		return m, fault.New(fault.Permanent, "undecodable", "the manifest is not JSON of this version").Because(err)
	}
	return m, nil
}

// verdict is how a publication ended, for now.
type verdict struct {
	state, reason string
	counts        events.Counts
}

// finalError marks a failure that ends the publication: the vendor's, or the roster's. Everything else (broker, lost
// lane, shutdown) leaves it to the next delivery.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

func final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

// publish brings Productiv to the sweep and concludes with whatever became of it.
func (t *turn) publish(ctx context.Context, m roster.Manifest, record roster.Record) error {
	if err := t.begin(ctx, m); err != nil {
		return err
	}
	v, err := t.bring(ctx, m, record)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, isFinal := errors.AsType[*finalError](err)
	switch {
	case fault.ReasonOf(err) == "lane-lost":
		// Whatever class the vendor's client gave it: somebody else goes on, or we do, at the next delivery.
		return fault.New(fault.Transient, "lane-lost", "the lane was not confirmed in time").Because(err)
	case isFinal || err != nil && fault.ClassOf(err) == fault.Permanent:
		v.state, v.reason = roster.StateFailed, fault.Text(err)
	case err != nil:
		return err
	}
	return t.conclude(ctx, m, with(record, v, record.By))
}

func with(record roster.Record, v verdict, by string) roster.Record {
	record.State, record.Reason, record.Counts, record.By = v.state, v.reason, v.counts, by
	return record
}

// begin takes the sweep in hand and counts starts without progress.
func (t *turn) begin(ctx context.Context, m roster.Manifest) error {
	if t.Hand != m.SweepID {
		t.Hand, t.Stalls, t.Plan, t.Told = m.SweepID, 0, nil, events.Counts{}
	}
	t.Stalls++
	return t.save(ctx)
}

// save writes the state. A conflict means that somebody else holds the lane now.
func (t *turn) save(ctx context.Context) error {
	revision, err := t.deps.State.Put(ctx, roster.PublicationKey(t.connection.Name), t.Publication, t.revision)
	if errors.Is(err, state.ErrConflict) {
		return fault.New(fault.Transient, "lane-lost", "another replica goes on with this publication").Because(err)
	}
	if err == nil {
		t.revision = revision
	}
	return err
}
