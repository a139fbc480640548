package publisher

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// requestsKept is for how long the requests of a sweep are surely still stored: a day less than their stream keeps them.
const requestsKept = 29 * 24 * time.Hour

// Source is the CloudEvents source of what the publisher says.
const Source = "seatwire/productiv-publisher"

// conclude writes what became of a sweep, then tells everybody who asked for it. In this order: an answer never says
// what the state does not. After a crash in between, the redelivery sends the same events under the same ids.
func (t *turn) conclude(ctx context.Context, m roster.Manifest, record roster.Record) error {
	record.SweepID, record.Through, record.At, record.Answered = m.SweepID, m.Through, t.deps.Now().UTC(), false
	record.Plan = events.PlanCounts{Licenses: m.Licenses, Assigned: m.Assigned}
	if record.State == roster.StateHeld {
		record.Holds++
		record.HeldPlan = t.held
	}
	t.supersede(record)
	t.put(record)
	t.Stalls = 0
	t.forgetRemovals(record)
	freed := t.keep(record)
	if err := t.save(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.P13)
	t.free(ctx, freed)
	t.deps.Log.InfoContext(ctx, "publication concluded", "connection", t.connection.Name, "sweep", m.SweepID,
		"state", record.State, "reason", record.Reason, "counts", record.Counts)
	return t.answer(ctx, m, t.Record(m.SweepID))
}

// supersede ends an older hold when a newer sweep came to a sound end: its people are out of date.
func (t *turn) supersede(record roster.Record) {
	if record.State == roster.StateFailed || record.State == roster.StateDeclined {
		return
	}
	if held := t.Held(); held != nil && held.SweepID != record.SweepID {
		held.State, held.Reason, held.At = roster.StateDeclined, "superseded by sweep "+record.SweepID, record.At
	}
}

func (t *turn) put(record roster.Record) {
	if old := t.Record(record.SweepID); old != nil {
		*old = record
		return
	}
	t.History = append(t.History, record)
	if extra := len(t.History) - roster.MaxHistory; extra > 0 {
		t.History = slices.Delete(t.History, 0, extra)
	}
}

// forgetRemovals drops what the guards no longer look at: what is older than the window, and everything up to a
// release, for the person who released it accepted the list as it is now.
func (t *turn) forgetRemovals(record roster.Record) {
	if record.By != "" && record.State == roster.StatePublished {
		t.Removals = nil
	}
	t.Removals = slices.DeleteFunc(t.Removals, func(r roster.Removal) bool { return t.deps.Now().Sub(r.At) >= window })
}

// keep decides whose pages stay: those of the newest sound sweep, and of a hold that may still be released.
func (t *turn) keep(record roster.Record) (freed []string) {
	if slices.Contains(t.Kept, record.SweepID) {
		return nil
	}
	if record.State == roster.StateFailed {
		t.Kept = append(t.Kept, record.SweepID)
		return nil
	}
	freed, t.Kept = t.Kept, []string{record.SweepID}
	return freed
}

func (t *turn) free(ctx context.Context, sweeps []string) {
	for _, sweep := range sweeps {
		t.purge(ctx, streams.Normalized, events.Subject(streams.UsersNormalizedSubject, t.connection.Name, sweep, "*"))
	}
}

// answer sends one outcome event for each request that the sweep answers.
func (t *turn) answer(ctx context.Context, m roster.Manifest, record *roster.Record) error {
	if record.Answered {
		return nil
	}
	filter, reached := events.Subject(streams.SweepAcceptedSubject, t.connection.Name, "*"), m.After
	for msg, err := range t.deps.Streams.Read(ctx, streams.Sweeps, filter, m.After+1) {
		if err != nil {
			return err
		}
		if msg.Sequence > m.Through {
			break
		}
		reached = msg.Sequence
		var request roster.AcceptedSync
		if err := json.Unmarshal(msg.Data, &request); err != nil {
			continue
		}
		if err := t.outcome(ctx, msg.Subject, request, record); err != nil {
			return err
		}
	}
	if reached < m.Through && t.deps.Now().Sub(m.Finished) < requestsKept {
		return fault.New(fault.Transient, "requests-unreadable", "a replica of the broker lags behind the requests to answer")
	}
	failpoint.Hit(failpoint.P14)
	record.Answered = true
	return t.save(ctx)
}

// outcome tells one requester. The id follows from request, sweep and hold: a repeat is the same event.
func (t *turn) outcome(ctx context.Context, request string, asked roster.AcceptedSync, record *roster.Record) error {
	data, err := json.Marshal(events.RosterPublished{
		SweepID: record.SweepID, RequestID: asked.RequestID, Outcome: outcomeOf(record.State), Reason: record.Reason,
		Counts: record.Counts, Plan: record.Plan,
	})
	if err != nil {
		return err
	}
	id := events.Key("roster.published", request, record.SweepID, strconv.Itoa(record.Holds), record.State)
	header, body := events.Event{ID: id, Source: Source, Type: events.RosterPublishedType, Time: record.At, Data: data}.Encode()
	subject := events.Subject(events.RosterPublishedSubject, t.connection.Name)
	_, err = t.deps.Publisher.PublishMsg(ctx, subject, id, header, body)
	return err
}

// outcomeOf maps a state to what the contract calls it: a declined hold did not happen.
func outcomeOf(state string) string {
	if state == roster.StateDeclined {
		return events.OutcomeFailed
	}
	return state
}
