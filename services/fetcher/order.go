package fetcher

import (
	"github.com/seatwire/seatwire/pkg/fault"
)

// readError marks a failure of the reading itself, which ends the sweep. Everything else (broker, lost lane,
// shutdown) leaves the sweep to the next delivery.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

func unsound(reason, detail string, args ...any) error {
	return &readError{fault.New(fault.Permanent, reason, detail, args...)}
}

// order checks that the pages of one list follow each other as the pages of one whole: pure, and bounded in time
// whatever the vendor sends, because a list may not grow beyond what it says it holds.
//
// Repeats inside these bounds pass here. Whether they are identical, and whether they hide somebody who was skipped,
// is decided where all people are seen together: in the publisher, against Total.
type order struct {
	total   int
	nodes   int
	firstID string
	pages   int
	// seen holds the cursors of this process's pages; a resumed sweep starts with none and is still bounded by total.
	seen map[string]struct{}
}

// pageFacts is what order needs to know of a page.
type pageFacts struct {
	after, next string
	hasNext     bool
	total       int
	ids         []string
}

// add takes the next page or says what is wrong with it.
func (o *order) add(p pageFacts) error {
	if o.seen == nil {
		o.seen = map[string]struct{}{}
	}
	switch first := o.pages == 0 && o.nodes == 0; {
	case first:
		o.total = p.total
	case p.total != o.total:
		return unsound("counts-disagree", "totalCount changed from %d to %d while reading; people moved, so ask again", o.total, p.total)
	case len(p.ids) > 0 && p.ids[0] == o.firstID:
		return unsound("loop", "the vendor started over from the first page")
	}
	if o.firstID == "" && len(p.ids) > 0 {
		o.firstID = p.ids[0]
	}
	o.pages++
	o.nodes += len(p.ids)
	return o.bounds(p)
}

func (o *order) bounds(p pageFacts) error {
	o.seen[p.after] = struct{}{}
	_, repeated := o.seen[p.next]
	switch {
	case len(p.ids) == 0 && (p.hasNext || o.total > 0):
		return unsound("empty-page", "a page without people, where totalCount says %d", o.total)
	case p.hasNext && repeated:
		return unsound("repeated-cursor", "the vendor repeated a cursor")
	case o.nodes > o.total+o.total/10+10:
		return unsound("counts-disagree", "more than %d people read, where totalCount says %d", o.nodes-1, o.total)
	case !p.hasNext && o.nodes < o.total:
		return unsound("counts-disagree", "%d people read, where totalCount says %d", o.nodes, o.total)
	default:
		return nil
	}
}
