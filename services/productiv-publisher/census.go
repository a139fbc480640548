package publisher

import (
	"context"
	"encoding/hex"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
)

// partPeople is how many people one part of a roster has in memory. In append a larger roster is worked through part
// by part, reading the pages again for each, so that memory does not grow with it. The other modes compare with a
// list whose order is unknown, and hold the whole as one part: 56 bytes a person.
const partPeople = 1 << 17

// people is what is known of a roster as a whole.
type people struct {
	counts events.Counts
	// shared are the addresses that more than one active person has: none of them is published.
	shared map[uint64]int
	// fingerprint changes when anything that Productiv would be told changes.
	fingerprint string
	parts       int
	// repeats are people who were read more than once, identically; true once they were sent.
	repeats map[personKey]bool
	// whole is the index when there is only one part.
	whole *index
}

// active reports whether r belongs on Productiv's list.
func (p *people) active(r *row) bool {
	return r != nil && r.disp == roster.IsActive && p.shared[r.email] == 0
}

// census reads every page once, checks that they are whole, and counts.
func (t *turn) census(ctx context.Context, m roster.Manifest) (*people, error) {
	p := &people{parts: 1, shared: map[uint64]int{}, repeats: map[personKey]bool{}}
	if t.app != nil && t.connection.Productiv.Mode == modeAppend {
		p.parts = max(1, (m.Nodes+partPeople-1)/partPeople)
	}
	sum, distinct := [16]byte{}, 0
	for k := range p.parts {
		ix, err := t.tally(ctx, m, p, k)
		if err != nil {
			return p, err
		}
		if ix.conflict {
			return p, final(fault.New(fault.Permanent, "conflicting-repeats", "one person was read twice with different data; sync again"))
		}
		distinct += len(ix.rows)
		for _, id := range ix.repeats {
			p.repeats[id] = false
		}
		p.count(ix, &sum)
		if p.parts == 1 {
			p.whole = ix
		}
	}
	if distinct != m.Total {
		return p, final(fault.New(fault.Permanent, "counts-disagree",
			"%d different people read, where totalCount says %d; people moved while they were read, so sync again", distinct, m.Total))
	}
	p.fingerprint = hex.EncodeToString(sum[:])
	return p, nil
}

// count adds a part's people to the counts and to the fingerprint, which is the same in whatever order they came.
func (p *people) count(ix *index, sum *[16]byte) {
	for i := range ix.rows {
		r := &ix.rows[i]
		p.counts.Fetched++
		switch r.disp {
		case roster.IsActive:
			p.counts.Active++
			for b, v := range r.fingerprint() {
				sum[b] ^= v
			}
		case roster.IsRemoved:
			p.counts.Removed++
		case roster.IsExcluded:
			p.counts.Excluded++
		default:
			p.counts.Rejected++
		}
	}
}

// tally reads part k and finds the addresses of that part that are shared. The first part's reading also proves that
// the pages are those that were fetched, and counts the admins.
func (t *turn) tally(ctx context.Context, m roster.Manifest, p *people, k int) (*index, error) {
	ix, addresses, admins := newIndex(m.Nodes, p.parts), []addressed(nil), map[personKey]struct{}{}
	see := func(kind string, x roster.Index) {
		for i := range x.Len() {
			e := x.At(i)
			if kind == roster.Admins {
				admins[e.Key] = struct{}{}
				continue
			}
			if e.Key.Part(p.parts) == k {
				ix.rows = append(ix.rows, rowOf(e))
			}
			if e.Is == roster.IsActive && roster.PartOf(uint32(e.Email>>32), p.parts) == k {
				addresses = append(addresses, addressed{email: e.Email, id: e.Key})
			}
		}
	}
	if err := t.readPages(ctx, m, k == 0, see); err != nil {
		return nil, err
	}
	ix.seal()
	for email, n := range shared(addresses) {
		p.shared[email] = n
		p.counts.Active -= n
		p.counts.Rejected += n
	}
	if k == 0 {
		p.counts.Admins = len(admins)
	}
	return ix, nil
}

// readPages hands the index of every page to see; with prove, it also checks that the pages are whole and as fetched.
// What cannot be mended by trying again ends the publication.
func (t *turn) readPages(ctx context.Context, m roster.Manifest, prove bool, see func(string, roster.Index)) error {
	read := roster.Scan
	if prove {
		read = roster.Verify
	}
	return permanentIsFinal(read(ctx, t.deps.Streams, m, see))
}

func permanentIsFinal(err error) error {
	if err != nil && fault.ClassOf(err) == fault.Permanent {
		return final(err)
	}
	return err
}

// part returns part k of the roster, which is the whole when there is one part.
func (t *turn) part(ctx context.Context, m roster.Manifest, p *people, k int) (*index, error) {
	if p.whole != nil {
		return p.whole, nil
	}
	ix := newIndex(m.Nodes, p.parts)
	err := t.readPages(ctx, m, false, func(kind string, x roster.Index) {
		for i := range x.Len() {
			if e := x.At(i); kind == roster.Users && e.Key.Part(p.parts) == k {
				ix.rows = append(ix.rows, rowOf(e))
			}
		}
	})
	ix.seal()
	return ix, err
}
