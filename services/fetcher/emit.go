package fetcher

import (
	"context"
	"encoding/json"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// inFlight is page messages on their way to the broker at once; they share writes to its disk.
	inFlight = 32
	// checkpointPages and checkpointEvery bound what a crash has to read again.
	checkpointPages = 32
	checkpointEvery = time.Second
	// fullWait is how long to wait before asking a full stream again; the normalizer makes room.
	fullWait = 250 * time.Millisecond
)

// emit stores pages in order and moves the checkpoint behind them. This process writes its pages under a generation
// of its own: what a crashed one stored beyond its checkpoint, or without any, is not covered by the manifest.
func (l *lane) emit(ctx context.Context, r *record, pages <-chan vendorPage) error {
	e := emitter{lane: l, record: r, next: r.Checkpoint}
	e.next.Spans = append([]roster.Span(nil), r.Checkpoint.Spans...)
	e.next.Spans = append(e.next.Spans, roster.Span{
		Generation: generation(r), From: e.next.Pages + 1, To: e.next.Pages,
	})
	e.open(ctx)
	defer func() { _ = e.group.Wait() }()
	for page := range pages {
		if err := e.page(page); err != nil {
			return err
		}
		if e.due() {
			if err := e.checkpoint(ctx); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return e.checkpoint(ctx)
}

// generation is one that no earlier start of the sweep used: starts are counted, in the state and before the first
// page, from the last checkpoint on.
func generation(r *record) int {
	last := 0
	if n := len(r.Checkpoint.Spans); n > 0 {
		last = r.Checkpoint.Spans[n-1].Generation
	}
	return last + max(1, r.Stalls)
}

// emitter is one run of emit.
type emitter struct {
	lane   *lane
	record *record
	// next is the checkpoint once everything handed to the group is stored.
	next     roster.Checkpoint
	stored   int
	last     time.Time
	group    *errgroup.Group
	groupCtx context.Context
}

func (e *emitter) open(ctx context.Context) {
	e.group, e.groupCtx = errgroup.WithContext(ctx)
	e.group.SetLimit(inFlight)
	e.stored, e.last = 0, e.lane.deps.Now()
}

func (e *emitter) due() bool {
	return e.stored >= checkpointPages || e.stored > 0 && e.lane.deps.Now().Sub(e.last) >= checkpointEvery
}

// page splits a vendor page into messages and sends them on their way.
func (e *emitter) page(p vendorPage) error {
	if e.next.Stage != p.kind {
		e.next.Stage, e.next.Nodes, e.next.FirstID = p.kind, 0, ""
	}
	bodies, err := split(p)
	if err != nil {
		return err
	}
	for _, body := range bodies {
		e.send(body)
	}
	if e.next.FirstID == "" && len(p.facts.ids) > 0 {
		e.next.FirstID = p.facts.ids[0]
	}
	e.next.Total, e.next.After = p.facts.total, p.facts.next
	e.next.Nodes += len(p.users)
	e.next.Warnings = warn(e.next.Warnings, p.warnings)
	switch {
	case p.facts.hasNext:
	case p.kind == roster.Admins:
		e.next.Stage, e.next.After, e.next.Nodes, e.next.FirstID = roster.Users, "", 0, ""
	default:
		e.next.Stage = roster.Whole
	}
	return nil
}

func (e *emitter) send(body []byte) {
	e.next.Pages++
	span := &e.next.Spans[len(e.next.Spans)-1]
	span.To = e.next.Pages
	e.next.Root = roster.Chain(e.next.Root, roster.Hash(body))
	subject := events.Subject(streams.UsersFetchedSubject, e.lane.connection.Name, e.record.SweepID,
		roster.PageToken(e.next.Pages, span.Generation))
	e.stored++
	e.group.Go(func() error { return e.lane.store(e.groupCtx, subject, body) })
}

// store publishes one page. A full stream is back-pressure: the page waits until the normalizer has made room.
func (l *lane) store(ctx context.Context, subject string, body []byte) error {
	for {
		_, err := l.deps.Pages.PublishMsg(ctx, subject, subject, nil, body)
		if !bus.IsStreamFull(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(fullWait):
		}
	}
}

// checkpoint waits until everything sent is stored, then records it.
func (e *emitter) checkpoint(ctx context.Context) error {
	if err := e.group.Wait(); err != nil {
		return err
	}
	failpoint.Hit(failpoint.F4)
	e.record.Checkpoint = e.next
	e.record.Checkpoint.Spans = append([]roster.Span(nil), e.next.Spans...)
	e.record.Stalls = 0
	e.open(ctx)
	return e.lane.save(ctx, e.record)
}

// split encodes a vendor page as messages of at most MaxPageUsers people and MaxPageBytes.
func split(p vendorPage) ([][]byte, error) {
	var bodies [][]byte
	for start := 0; start < len(p.users); {
		body, n, err := encode(p.kind, p.users[start:min(start+roster.MaxPageUsers, len(p.users))])
		if err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
		start += n
	}
	return bodies, nil
}

// encode halves what does not fit until it does. One person beyond the limit is the vendor's fault and ends the sweep.
func encode(kind string, users []roster.FetchedUser) (body []byte, taken int, err error) {
	for n := len(users); n > 0; n /= 2 {
		body, err = json.Marshal(roster.FetchedPage{Kind: kind, Users: users[:n]})
		if err != nil {
			return nil, 0, &readError{fault.New(fault.Permanent, "page-corrupt", "a page cannot be encoded").Because(err)}
		}
		if len(body) <= roster.MaxPageBytes {
			return body, n, nil
		}
	}
	return nil, 0, unsound("too-large", "one person takes more than %d bytes", roster.MaxPageBytes)
}
