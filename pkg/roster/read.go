package roster

import (
	"context"
	"encoding/json"
	"iter"
	"slices"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Filter is the subject filter of a sweep's normalised pages.
func Filter(m Manifest) string {
	return events.Subject(streams.UsersNormalizedSubject, m.Connection, m.SweepID, "*")
}

// Read yields the people of every page of one kind that the manifest covers, page by page, in stream order. P is
// Person, or a struct with fewer of its members. It holds one page at a time. Pages that are missing are an error, after
// those that are there.
func Read[P any](ctx context.Context, s streams.Store, m Manifest, kind string) iter.Seq2[[]P, error] {
	return func(yield func([]P, error) bool) {
		for page, err := range pages(ctx, s, m) {
			var body struct {
				Kind   string `json:"kind"`
				People []P    `json:"people"`
			}
			if err == nil {
				err = corrupt(m, page.number, json.Unmarshal(page.body, &body))
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if body.Kind == kind && !yield(body.People, nil) {
				return
			}
		}
	}
}

// numbered is a page with its place in the sweep.
type numbered struct {
	number int
	body   []byte
}

// pages yields the covered pages. Pages of an interrupted generation are skipped. An error follows the last one when some
// are missing: a replica of a cluster that lags answers as if what it lacks were not there, and the next look may be at
// another one.
func pages(ctx context.Context, s streams.Store, m Manifest) iter.Seq2[numbered, error] {
	return func(yield func(numbered, error) bool) {
		there := make([]bool, m.Pages)
		for msg, err := range s.Read(ctx, streams.Normalized, Filter(m), 1) {
			if err != nil {
				yield(numbered{}, fault.New(fault.Transient, "pages-unreadable", "read pages of sweep %s", m.SweepID).Because(err))
				return
			}
			tokens := events.Tokens(streams.UsersNormalizedSubject, msg.Subject)
			number, generation, ok := ParsePageToken(tokens[len(tokens)-1])
			if !ok || m.Generation(number) != generation || number > m.Pages {
				continue
			}
			there[number-1] = true
			if !yield(numbered{number, msg.Data}, nil) {
				return
			}
		}
		if missing := slices.Index(there, false); missing >= 0 {
			yield(numbered{}, fault.New(fault.Transient, "missing-page", "page %d of %d of sweep %s is not there", missing+1, m.Pages, m.SweepID))
		}
	}
}

func corrupt(m Manifest, page int, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Permanent, "page-corrupt", "page %d of sweep %s", page, m.SweepID).Because(err)
}

// Scan hands the index of every covered page to see. It decodes nobody. What see was given counts only when Scan returns
// nil.
func Scan(ctx context.Context, s streams.Store, m Manifest, see func(kind string, x Index)) error {
	return scan(ctx, s, m, func(_ int, h pageHead) { see(h.Kind, h.Index) })
}

func scan(ctx context.Context, s streams.Store, m Manifest, see func(number int, h pageHead)) error {
	for page, err := range pages(ctx, s, m) {
		if err != nil {
			return err
		}
		head, err := headOf(page.body)
		if err != nil {
			return corrupt(m, page.number, err)
		}
		see(page.number, head)
	}
	return nil
}

// Verify is Scan, and then checks that the pages are exactly those that the fetcher wrote: none missing, none changed.
// What see was given counts only when Verify returns nil.
func Verify(ctx context.Context, s streams.Store, m Manifest, see func(kind string, x Index)) error {
	hashes := make([]string, m.Pages)
	err := scan(ctx, s, m, func(number int, h pageHead) {
		hashes[number-1] = h.Source
		see(h.Kind, h.Index)
	})
	if err != nil {
		return err
	}
	root := ""
	for _, h := range hashes {
		root = Chain(root, h)
	}
	if root != m.Root {
		return fault.New(fault.Permanent, "pages-differ", "the pages of sweep %s are not those that were fetched", m.SweepID)
	}
	return nil
}
