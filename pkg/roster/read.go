package roster

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

// pageOf is Page with only those members of a person that the reader wants.
type pageOf[P any] struct {
	Kind   string `json:"kind"`
	Source string `json:"source"`
	People []P    `json:"people"`
}

// Filter is the subject filter of a sweep's normalised pages.
func Filter(m Manifest) string {
	return events.Subject(streams.UsersNormalizedSubject, m.Connection, m.SweepID, "*")
}

// Read yields the people of every page of one kind that the manifest covers, page by page, in stream order. P is
// Person, or a struct with fewer of its members. It holds one page at a time.
func Read[P any](ctx context.Context, js jetstream.JetStream, m Manifest, kind string) iter.Seq2[[]P, error] {
	return func(yield func([]P, error) bool) {
		for page, err := range pages[P](ctx, js, m) {
			if err != nil {
				yield(nil, err)
				return
			}
			if page.Kind == kind && !yield(page.People, nil) {
				return
			}
		}
	}
}

// numbered is a page with its place in the sweep.
type numbered[P any] struct {
	pageOf[P]
	number int
}

// pages yields the covered pages. Pages of an interrupted generation are skipped.
func pages[P any](ctx context.Context, js jetstream.JetStream, m Manifest) iter.Seq2[numbered[P], error] {
	return func(yield func(numbered[P], error) bool) {
		for msg, err := range streams.Read(ctx, js, streams.Normalized, Filter(m), 1) {
			if err != nil {
				yield(numbered[P]{}, fault.New(fault.Transient, "pages-unreadable", "read pages of sweep %s", m.SweepID).Because(err))
				return
			}
			tokens := events.Tokens(streams.UsersNormalizedSubject, msg.Subject)
			number, generation, ok := ParsePageToken(tokens[len(tokens)-1])
			if !ok || m.Generation(number) != generation {
				continue
			}
			page := numbered[P]{number: number}
			if err := json.Unmarshal(msg.Data, &page.pageOf); err != nil {
				yield(page, fault.New(fault.Permanent, "page-corrupt", "page %d of sweep %s", number, m.SweepID).Because(err))
				return
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

// Verify reads every page once, hands its people to see, and then checks that the pages are exactly those that the
// fetcher wrote: none missing, none changed. What see was given counts only when Verify returns nil.
func Verify[P any](ctx context.Context, js jetstream.JetStream, m Manifest, see func(kind string, people []P)) error {
	hashes := make([]string, m.Pages)
	for page, err := range pages[P](ctx, js, m) {
		if err != nil {
			return err
		}
		hashes[page.number-1] = page.Source
		see(page.Kind, page.People)
	}
	root := ""
	for i, h := range hashes {
		if h == "" {
			return fault.New(fault.Permanent, "missing-page", "page %d of %d of sweep %s is not there", i+1, m.Pages, m.SweepID)
		}
		root = Chain(root, h)
	}
	if root != m.Root {
		return fault.New(fault.Permanent, "pages-differ", "the pages of sweep %s are not those that were fetched", m.SweepID)
	}
	return nil
}
