package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strconv"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// The ownership ledger says whom we may delete at Productiv. It is written whole, as a new generation, and becomes
// valid when the state names it. Whoever is about to be added is in it before the first call, whoever was deleted
// leaves it after the last: a crash in between forgets nobody.

// ownedPart is people per ledger message: about 400 KiB.
const ownedPart = 5000

// absentTwice is how many sound sweeps in a row without any evidence make an owned person a leaver.
const absentTwice = 2

// owners yields the ledger of the current generation.
func (t *turn) owners(ctx context.Context) iter.Seq2[roster.Owner, error] {
	return func(yield func(roster.Owner, error) bool) {
		if t.Owned.Generation == 0 {
			return
		}
		seen := 0
		filter := events.Subject(streams.PublicationOwnedSubject, t.connection.Name, strconv.Itoa(t.Owned.Generation), "*")
		for msg, err := range t.deps.Streams.Read(ctx, streams.Owned, filter, 1) {
			var part roster.OwnedPart
			if err == nil {
				err = json.Unmarshal(msg.Data, &part)
			}
			if err != nil {
				yield(roster.Owner{}, fault.New(fault.Transient, "ledger-unreadable", "read whom we published").Because(err))
				return
			}
			for _, o := range part.People {
				seen++
				if !yield(o, nil) {
					return
				}
			}
		}
		if seen != t.Owned.People {
			yield(roster.Owner{}, fault.New(fault.Transient, "ledger-unreadable", "%d of %d owned people are readable", seen, t.Owned.People))
		}
	}
}

// ledger writes one new generation.
type ledger struct {
	*turn
	generation, parts, people, size int
	pending                         []roster.Owner
}

// newLedger begins a generation under a number that was never used.
func (t *turn) newLedger(ctx context.Context) (*ledger, error) {
	t.Owned.Attempts++
	return &ledger{turn: t, generation: t.Owned.Attempts}, t.save(ctx)
}

func (l *ledger) add(ctx context.Context, o roster.Owner) error {
	l.pending = append(l.pending, o)
	l.size += sizeOf(o.AppUserID, o.Email)
	if len(l.pending) < ownedPart && l.size < sealedBytes {
		return nil
	}
	return l.flush(ctx)
}

func (l *ledger) flush(ctx context.Context) error {
	if len(l.pending) == 0 {
		return nil
	}
	body, err := json.Marshal(roster.OwnedPart{People: l.pending})
	if err != nil {
		return err
	}
	subject := events.Subject(streams.PublicationOwnedSubject, l.connection.Name, strconv.Itoa(l.generation), fmt.Sprintf("%06d", l.parts))
	if _, err := l.deps.Publisher.PublishMsg(ctx, subject, subject, nil, body); err != nil {
		return err
	}
	l.parts++
	l.people += len(l.pending)
	l.pending, l.size = l.pending[:0], 0
	return nil
}

// commit makes the generation the valid one and frees the one before.
func (l *ledger) commit(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	old := l.Owned.Generation
	l.Owned.Generation, l.Owned.People = l.generation, l.people
	if err := l.save(ctx); err != nil {
		return err
	}
	l.purge(ctx, streams.Owned, events.Subject(streams.PublicationOwnedSubject, l.connection.Name, strconv.Itoa(old), "*"))
	return nil
}

// purge frees what nothing refers to any more. When it fails, the stream's own limits do it later.
func (t *turn) purge(ctx context.Context, stream, filter string) {
	if err := t.deps.Streams.Purge(ctx, stream, filter); err != nil {
		t.deps.Log.WarnContext(ctx, "old messages not freed yet", "stream", stream, "error", fault.Text(err))
	}
}

// prepareOwned brings the ledger up to this sweep: at the very first publication it adopts, when that is configured;
// then it counts for whom the sweep has no evidence.
func (t *turn) prepareOwned(ctx context.Context, m roster.Manifest, p *people) error {
	if t.connection.Productiv.Adopt && t.Owned.Generation == 0 {
		if err := t.adopt(ctx); err != nil {
			return err
		}
	}
	if t.Owned.Counted == m.SweepID {
		return nil
	}
	changed, err := t.countMisses(ctx, m, p, nil)
	if err != nil {
		return err
	}
	t.Owned.Counted = m.SweepID
	if !changed {
		return t.save(ctx)
	}
	next, err := t.newLedger(ctx)
	if err != nil {
		return err
	}
	if _, err := t.countMisses(ctx, m, p, next); err != nil {
		return err
	}
	return next.commit(ctx)
}

// adopt makes everybody that Productiv lists ours.
func (t *turn) adopt(ctx context.Context) error {
	next, err := t.newLedger(ctx)
	if err != nil {
		return err
	}
	for u, err := range t.list(ctx) {
		if err != nil {
			return err
		}
		if err := next.add(ctx, roster.Owner{AppUserID: u.AppUserID, Email: u.Email}); err != nil {
			return err
		}
	}
	return next.commit(ctx)
}

// countMisses goes through the ledger with the roster beside it. Evidence, for or against, starts the count again.
// With a ledger it writes the new counts there; without, it only tells whether any would change.
func (t *turn) countMisses(ctx context.Context, m roster.Manifest, p *people, next *ledger) (changed bool, err error) {
	if t.Owned.Generation == 0 {
		return false, nil
	}
	for k := range p.parts {
		ix, err := t.part(ctx, m, p, k)
		if err != nil {
			return false, err
		}
		for o, err := range t.owners(ctx) {
			if err != nil {
				return false, err
			}
			key := keyOf(o.AppUserID)
			if key.Part(p.parts) != k {
				continue
			}
			misses := missed(ix.find(key), o.Misses)
			changed = changed || misses != o.Misses
			o.Misses = misses
			if next == nil {
				continue
			}
			if err := next.add(ctx, o); err != nil {
				return changed, err
			}
		}
	}
	return changed, nil
}

// missed is the number of sound sweeps in a row, this one included, in which a person is not among the users at all.
// Somebody rejected is: nothing is known against them, so they stay listed as they were.
func missed(r *row, before int) int {
	if r != nil {
		return 0
	}
	return min(before+1, absentTwice)
}

// owner is one entry of the ledger in memory.
type owner struct {
	id     personKey
	misses uint8
}

// owned is the ledger, or one part of it, sorted by key.
type owned []owner

func (o owned) find(k personKey) (owner, bool) {
	i := sort.Search(len(o), func(i int) bool { return bytes.Compare(o[i].id[:], k[:]) >= 0 })
	if i < len(o) && o[i].id == k {
		return o[i], true
	}
	return owner{}, false
}

// loadOwned reads the whole ledger into memory.
func (t *turn) loadOwned(ctx context.Context) (owned, error) {
	o := make(owned, 0, t.Owned.People)
	for entry, err := range t.owners(ctx) {
		if err != nil {
			return nil, err
		}
		o = append(o, owner{id: keyOf(entry.AppUserID), misses: uint8(entry.Misses)})
	}
	slices.SortFunc(o, func(a, b owner) int { return bytes.Compare(a.id[:], b.id[:]) })
	return o, nil
}
