package publisher

import (
	"context"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// arriveFirst and arriveMost bound the wait between two looks at how many pages have arrived.
	arriveFirst = 20 * time.Millisecond
	arriveMost  = 100 * time.Millisecond
)

// arrive waits until every page of the sweep is normalised. A page is in the fetched stream until its normalised form
// is stored, so a page that is in neither is gone, and waiting would not bring it back.
func (t *turn) arrive(ctx context.Context, m roster.Manifest) error {
	waiting := events.Subject(streams.UsersFetchedSubject, m.Connection, m.SweepID, "*")
	for wait := arriveFirst; ; wait = min(2*wait, arriveMost) {
		// In this order: a page that moves between the two questions is seen twice, never missed.
		left, err := t.deps.Streams.Count(ctx, streams.Fetched, waiting)
		if err != nil {
			return err
		}
		if left == 0 {
			return t.complete(ctx, m)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (t *turn) complete(ctx context.Context, m roster.Manifest) error {
	there, err := t.deps.Streams.Count(ctx, streams.Normalized, roster.Filter(m))
	if err != nil {
		return err
	}
	if there < m.Pages {
		return final(fault.New(fault.Permanent, "missing-page",
			"%d of %d pages are there; see the dead letters of the normalizer, then sync again", there, m.Pages))
	}
	return nil
}
