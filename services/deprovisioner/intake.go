package deprovisioner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// intakeConcurrency is how many events are in hand at once, and so the largest group. 256 of the largest events
	// are 32 MiB, half of what the broker lets a slow connection owe.
	intakeConcurrency = 256
	// intakeRetry is the wait before a group is offered to the ledger again.
	intakeRetry = 200 * time.Millisecond
)

// intake turns events into ledger entries. Handlers run side by side and line up what they made; one of them at a time
// takes all that waits as a group: one read for what is known already, one atomic write, one sync of the disk.
// An event is acknowledged when its handler returns, which is after that write.
type intake struct {
	js      jetstream.JetStream
	rules   map[string]rules
	metrics *metrics
	now     func() time.Time
	queue   chan *claimEntry
	// turn holds one token: whoever has it commits for everybody who waits.
	turn chan struct{}
}

// claimEntry is one event's document on its way into the ledger.
type claimEntry struct {
	subject string
	// sequence is the event's place in its stream.
	sequence uint64
	content  string
	document any
	// done is told nil when the document is durable, or was before.
	done chan error
}

func newIntake(js jetstream.JetStream, connections map[string]rules, m *metrics, now func() time.Time) *intake {
	return &intake{js: js, rules: connections, metrics: m, now: now, queue: make(chan *claimEntry, intakeConcurrency), turn: make(chan struct{}, 1)}
}

// handle is the router's handler for both intake subjects.
func (i *intake) handle(ctx context.Context, d bus.Delivery, body []byte) error {
	failpoint.Hit(failpoint.D1)
	entry, err := i.read(d, body)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.D2)
	for queue := i.queue; ; {
		select {
		case queue <- entry:
			queue = nil // once
		case err := <-entry.done:
			return err
		case <-ctx.Done():
			return ctx.Err() // perhaps committed all the same: the event comes back and is absorbed
		case i.turn <- struct{}{}:
			i.settle(ctx, i.group())
			<-i.turn
		}
	}
}

// read judges one event by itself. Its errors are permanent: what cannot be read, or names no connection of ours,
// cannot be settled and becomes a dead letter.
func (i *intake) read(d bus.Delivery, body []byte) (*claimEntry, error) {
	base := events.DeprovisionRequestedSubject
	tokens := events.Tokens(base, d.Subject)
	if tokens == nil {
		base = events.DeprovisionCancelledSubject
		tokens = events.Tokens(base, d.Subject)
	}
	if len(tokens) != 2 || !events.LegalName(tokens[0]) || !events.LegalName(tokens[1]) {
		return nil, rejected("the subject's tokens are no legal connection and source")
	}
	r, known := i.rules[tokens[0]]
	if !known {
		return nil, rejected("no such connection is configured")
	}
	e, err := events.Read(d.Header, body)
	if err != nil {
		return nil, err
	}
	if base == events.DeprovisionRequestedSubject {
		request := accept(e, tokens[1], r, i.now())
		return &claimEntry{deprovision.RequestSubject(r.connection, request.Key), d.Sequence, request.Content, request, make(chan error, 1)}, nil
	}
	cancel, err := acceptCancel(e, tokens[1], r.connection, i.now())
	if err != nil {
		return nil, err
	}
	return &claimEntry{deprovision.CancelSubject(r.connection, cancel.Key), d.Sequence, cancel.Content, cancel, make(chan error, 1)}, nil
}

// group takes what waits.
func (i *intake) group() (group []*claimEntry) {
	for len(group) < intakeConcurrency {
		select {
		case next := <-i.queue:
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// settle brings a group into the ledger and answers every handler. Of two events of one identity in a group the first in
// the stream is the one that counts; of two in two groups, which handlers that overtake each other may put in either
// order, the one in the first. The other is a dead letter. A group that the ledger does not take is offered again
// and again: while the broker is ill its events are neither lost nor blamed. When the committing handler's time is over
// so is the others', for it ends with the stop; their events come back.
func (i *intake) settle(ctx context.Context, group []*claimEntry) {
	if len(group) == 0 {
		return
	}
	slices.SortFunc(group, func(a, b *claimEntry) int { return cmp.Compare(a.sequence, b.sequence) })
	for {
		verdicts, err := i.commit(ctx, group)
		if err == nil {
			failpoint.Hit(failpoint.D3)
			i.metrics.groups.Observe(float64(len(group)))
			for n, entry := range group {
				entry.done <- verdicts[n]
			}
			return
		}
		if ctx.Err() != nil {
			err = ctx.Err() // an interruption is nobody's failure
		}
		if fault.ClassOf(err) == fault.Permanent || ctx.Err() != nil {
			for _, entry := range group {
				entry.done <- err
			}
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(intakeRetry):
		}
	}
}

// identity is what a document of either kind says of its event.
type identity struct {
	Content string `json:"content"`
}

// commit stores the documents that are new, as one unless they are very large. A verdict is nil for what is durable now or was before, and an
// error for an identity that came with other content. An error of the whole means that nothing of the group is sure:
// somebody else was faster with one of them, or the broker did not answer.
func (i *intake) commit(ctx context.Context, group []*claimEntry) ([]error, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	subjects := make([]string, len(group))
	for n, entry := range group {
		subjects[n] = entry.subject
	}
	known, err := lastDocuments[identity](ctx, i.js, subjects)
	if err != nil {
		return nil, err
	}
	verdicts, unknown := absorb(group, known)
	var fresh []*nats.Msg
	for _, n := range unknown {
		msg, err := newDocument(group[n])
		if err != nil {
			verdicts[n] = err
			continue
		}
		fresh = append(fresh, msg)
	}
	for chunk := range chunks(fresh) {
		if _, err := publishAtomic(ctx, i.js, chunk); err != nil {
			return nil, fault.New(fault.Transient, "ledger-unwritable", "write %d requests to the ledger", len(chunk)).Because(err)
		}
	}
	return verdicts, nil
}

// absorb holds a group against what the ledger knows, which it brings up to date: the same event again is absorbed,
// an identity that comes with other content is refused, and the others, given by their places, are to be stored.
func absorb(group []*claimEntry, known map[string]identity) (verdicts []error, unknown []int) {
	verdicts = make([]error, len(group))
	for n, entry := range group {
		switch existing, seen := known[entry.subject]; {
		case seen && existing.Content != entry.content:
			verdicts[n] = rejected("an event of this identity and other content was accepted before")
		case !seen:
			known[entry.subject] = identity{entry.content}
			unknown = append(unknown, n)
		}
	}
	return verdicts, unknown
}

// newDocument encodes a document that must not exist yet.
func newDocument(entry *claimEntry) (*nats.Msg, error) {
	body, err := json.Marshal(entry.document)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", entry.subject, err)
	}
	return &nats.Msg{Subject: entry.subject, Data: body, Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: {"0"}}}, nil
}
