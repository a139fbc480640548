package deprovision

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Ledger reads the documents, and writes decisions.
type Ledger struct{ js jetstream.JetStream }

// Open returns the ledger of a deployment. The stream must exist when it is used.
func Open(js jetstream.JetStream) *Ledger { return &Ledger{js: js} }

// RequestSubject is where a request's document is.
func RequestSubject(connection, key string) string {
	return events.Subject(streams.LedgerRequestSubject, connection, key)
}

// CancelSubject is where a cancel's document is.
func CancelSubject(connection, key string) string {
	return events.Subject(streams.LedgerCancelSubject, connection, key)
}

// BatchSubject is where a batch's document is.
func BatchSubject(connection, id string) string {
	return events.Subject(streams.LedgerBatchSubject, connection, id)
}

// DecisionSubject is where the decision about one hold of a batch is.
func DecisionSubject(connection, id string, hold int) string {
	return events.Subject(streams.LedgerDecisionSubject, connection, id, strconv.Itoa(hold))
}

// List yields the requests of a connection in the order of their last change; "*" means every connection.
func (l *Ledger) List(ctx context.Context, connection string) iter.Seq2[Request, error] {
	return documents[Request](ctx, l.js, RequestSubject(connection, "*"))
}

// Batches yields the batches of a connection in the order of their last change; "*" means every connection.
func (l *Ledger) Batches(ctx context.Context, connection string) iter.Seq2[Batch, error] {
	return documents[Batch](ctx, l.js, BatchSubject(connection, "*"))
}

// Cancels yields the cancels of a connection in the order of their last change; "*" means every connection.
func (l *Ledger) Cancels(ctx context.Context, connection string) iter.Seq2[Cancel, error] {
	return documents[Cancel](ctx, l.js, CancelSubject(connection, "*"))
}

// Decisions yields what people decided; "*" means every connection.
func (l *Ledger) Decisions(ctx context.Context, connection string) iter.Seq2[Decision, error] {
	return documents[Decision](ctx, l.js, events.Subject(streams.LedgerDecisionSubject, connection, "*", "*"))
}

// ByState counts the requests of a connection by state; settled ones by outcome.
func (l *Ledger) ByState(ctx context.Context, connection string) (map[string]int, error) {
	counts := map[string]int{}
	for r, err := range l.List(ctx, connection) {
		if err != nil {
			return nil, err
		}
		counts[cmp.Or(r.Outcome, r.State)]++
	}
	return counts, nil
}

// ErrUnknownBatch says that no connection has a batch of that id.
var ErrUnknownBatch = errors.New("no such batch")

// ErrDecided says that the batch does not wait for a person, or not any more.
var ErrDecided = errors.New("the batch does not wait for a decision")

// ErrOtherContent says that the sealed file is not the one that the person means.
var ErrOtherContent = errors.New("the sealed file has another sha256")

// ErrNobody says that the decision names no person; Auto is the configuration's own name.
var ErrNobody = errors.New("a decision needs a person's name")

// Show returns the batch with this id, of any connection.
func (l *Ledger) Show(ctx context.Context, batchID string) (Batch, error) {
	if batchID == "" || strings.ContainsAny(batchID, ".*> \t\r\n") {
		return Batch{}, ErrUnknownBatch
	}
	var b Batch
	msg, err := streams.At(l.js).Newest(ctx, streams.Ledger, BatchSubject("*", batchID))
	switch {
	case err != nil:
		return b, fault.New(fault.Transient, "ledger-unreadable", "read batch %s", batchID).Because(err)
	case msg == nil:
		return b, ErrUnknownBatch
	default:
		return b, decode(msg, &b)
	}
}

// RequestsOf returns the requests that are or were in the batch, by the row's psUserId, those that joined after the
// sealing included.
func (l *Ledger) RequestsOf(ctx context.Context, b Batch) (map[string][]Request, error) {
	sealed := map[string]string{}
	for _, row := range b.Rows {
		for _, key := range row.Requests {
			sealed[key] = row.PsUserID
		}
	}
	rows := map[string][]Request{}
	for r, err := range l.List(ctx, b.Connection) {
		if err != nil {
			return nil, err
		}
		if person, ok := sealed[r.Key]; ok {
			rows[person] = append(rows[person], r)
		} else if r.BatchID == b.ID {
			rows[r.Person] = append(rows[r.Person], r)
		}
	}
	return rows, nil
}

// Decide approves or declines the hold that a batch is in. sha256 may be empty: then the decision is bound to the
// file as it is sealed now. The deprovisioner checks everything again before it acts.
func (l *Ledger) Decide(ctx context.Context, batchID, by, sha256 string, approve bool) (Batch, error) {
	b, err := l.Show(ctx, batchID)
	switch {
	case err != nil:
		return b, err
	case strings.TrimSpace(by) == "", strings.EqualFold(strings.TrimSpace(by), Auto):
		return b, ErrNobody
	case b.State != BatchHeld:
		return b, fmt.Errorf("%w: it is %s", ErrDecided, b.State.Public())
	case sha256 != "" && !strings.EqualFold(sha256, b.SHA256):
		return b, ErrOtherContent
	}
	body, err := json.Marshal(Decision{
		Connection: b.Connection, BatchID: b.ID, Hold: b.Hold,
		Approve: approve, By: by, SHA256: b.SHA256, At: time.Now().UTC(),
	})
	if err != nil {
		return b, fmt.Errorf("encode decision: %w", err)
	}
	msg := &nats.Msg{Subject: DecisionSubject(b.Connection, b.ID, b.Hold), Data: body}
	_, err = l.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(0))
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return b, fmt.Errorf("%w: somebody decided before", ErrDecided)
	}
	return b, err
}

// Line is one thing that happened to or because of one person.
type Line struct {
	At         time.Time `json:"at"`
	Connection string    `json:"connection"`
	Kind       string    `json:"kind"`
	Summary    string    `json:"summary"`
	Reference  string    `json:"reference"`
}

// Explain returns everything that the ledger knows about one address, oldest first: the events that named it, the
// batches that its person was in, and what was answered, read back and decided about those. same compares two
// addresses.
func (l *Ledger) Explain(ctx context.Context, email string, same func(a, b string) bool) ([]Line, error) {
	var lines []Line
	people, mine := map[string]bool{}, map[string]bool{}
	for r, err := range l.List(ctx, "*") {
		if err != nil {
			return nil, err
		}
		if !same(r.Email, email) {
			continue
		}
		mine[r.Key] = true
		if r.Person != "" {
			people[r.Connection+"/"+r.Person] = true
		}
		lines = append(lines, explainRequest(r)...)
	}
	for b, err := range l.Batches(ctx, "*") {
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(b.Rows, func(row Row) bool {
			return same(row.Email, email) || people[b.Connection+"/"+row.PsUserID]
		}) {
			lines = append(lines, explainBatch(b)...)
		}
	}
	for c, err := range l.Cancels(ctx, "*") {
		if err != nil {
			return nil, err
		}
		if mine[c.Target] {
			lines = append(lines, Line{At: c.AcceptedAt, Connection: c.Connection, Kind: "cancel", Summary: c.State, Reference: c.TargetID})
		}
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.At.Compare(b.At) })
	return lines, nil
}

func explainRequest(r Request) []Line {
	lines := []Line{{At: r.Time, Connection: r.Connection, Kind: "event", Reference: r.ID,
		Summary: "requested by " + r.Publisher + ": " + cmp.Or(r.Reason, "no reason given")}}
	for _, c := range r.History {
		lines = append(lines, Line{At: c.At, Connection: r.Connection, Kind: "request",
			Summary: strings.TrimSpace(c.State + " " + c.Note), Reference: r.ID})
	}
	return lines
}

func explainBatch(b Batch) []Line {
	var lines []Line
	for _, c := range b.History {
		lines = append(lines, Line{At: c.At, Connection: b.Connection, Kind: "batch",
			Summary: strings.TrimSpace(c.State + " " + c.Note), Reference: b.ID})
	}
	return lines
}

// documents yields the newest documents whose subjects match filter.
func documents[T any](ctx context.Context, js jetstream.JetStream, filter string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for msg, err := range streams.Read(ctx, js, streams.Ledger, filter, 1) {
			var document T
			if err == nil {
				err = decode(msg, &document)
			}
			if !yield(document, err) || err != nil {
				return
			}
		}
	}
}

func decode(msg *jetstream.RawStreamMsg, out any) error {
	if err := json.Unmarshal(msg.Data, out); err != nil {
		return fault.New(fault.Permanent, "ledger-corrupt", "%s is not what this version writes", msg.Subject).Because(err)
	}
	return nil
}
