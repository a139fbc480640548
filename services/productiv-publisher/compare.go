package publisher

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
)

// maxPages bounds a listing: a page token loop at Productiv must end.
const maxPages = 20_000

// list yields everybody at Productiv, page by page.
func (t *turn) list(ctx context.Context) iter.Seq2[productiv.User, error] {
	return func(yield func(productiv.User, error) bool) {
		token, seen := "", map[string]struct{}{}
		for range maxPages {
			page, err := t.app.Users(ctx, token)
			if err != nil {
				yield(productiv.User{}, t.vendorError(ctx, err))
				return
			}
			for _, u := range page.Users {
				if !yield(u, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			if _, again := seen[page.Next]; again {
				break
			}
			seen[page.Next] = struct{}{}
			token = page.Next
		}
		yield(productiv.User{}, final(fault.New(fault.Permanent, "page-token-loop", "Productiv's list does not end; nothing was changed")))
	}
}

// vendorError ends the publication, unless it is our own shutdown: the client has spent its attempts.
func (t *turn) vendorError(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	return final(err)
}

// pair is an entry of Productiv's list, sent back just as it was given.
type pair struct{ id, email string }

// stalePair is a second entry for somebody who stays: another id with the address of an active person, or an active
// person's id with another address. It may only go when the right entry is there too: whichever key Productiv uses,
// deleting it then takes nobody off the list.
type stalePair struct {
	pair
	// email is the address of the person who stays; own is the stale entry's, which may be somebody else's right one.
	email, own uint64
}

// comparison is Productiv's list held against the roster: pure, one entry at a time.
type comparison struct {
	people *people
	owned  owned
	// desired are the addresses of active people, sorted, for recognising a person under another id.
	desired []uint64

	leavers []pair
	stale   []stalePair
	// rest are the entries of ours that are not an active person's.
	rest []pair
	// deleted are the entries that plans were to delete; those that are not listed any more stay in it.
	deleted entries
	// gone are the addresses of leavers, so that people are counted, not entries.
	gone map[uint64]struct{}
	// foreign is how many entries are not ours; absent how many owned people have no evidence for one sweep.
	foreign, absent int
	// witnesses are entries that stay as they are, to see whether an addition replaces the list.
	witnesses map[personKey]struct{}
}

// maxWitnesses is plenty: one of them that is still there proves that an addition adds.
const maxWitnesses = 2000

func newComparison(p *people, o owned) *comparison {
	c := &comparison{
		people: p, owned: o, desired: make([]uint64, 0, p.counts.Active),
		gone: map[uint64]struct{}{}, witnesses: map[personKey]struct{}{},
	}
	for i := range p.whole.rows {
		r := &p.whole.rows[i]
		r.exact, r.differs, r.sent = false, false, false
		if p.active(r) {
			c.desired = append(c.desired, r.email)
		}
	}
	slices.Sort(c.desired)
	return c
}

// see takes one entry of Productiv's list.
func (c *comparison) see(u productiv.User) {
	key, email := keyOf(u.AppUserID), roster.AddressHash((u.Email))
	delete(c.deleted, listedAs(u.AppUserID, u.Email))
	r := c.people.whole.find(key)
	o, ours := c.owned.find(key)
	_, stays := slices.BinarySearch(c.desired, email)
	if ours && !c.people.active(r) {
		c.rest = append(c.rest, pair{u.AppUserID, u.Email})
	}
	canonical, _ := roster.CanonicalEmail(u.Email)
	switch {
	case c.people.active(r) && r.content == roster.ContentHash(canonical, u.Username, u.License):
		r.exact = true
		c.witness(key)
	case c.people.active(r):
		r.differs = true
		if email != r.email {
			c.stale = append(c.stale, stalePair{pair{u.AppUserID, u.Email}, r.email, email})
		}
	case !ours || u.Email == "": // Productiv takes no deletion without an address
		c.foreign++
		c.witness(key)
	case stays:
		c.stale = append(c.stale, stalePair{pair{u.AppUserID, u.Email}, email, email})
	case r != nil && (r.disp == roster.IsRemoved || r.disp == roster.IsExcluded) || o.misses >= absentTwice:
		c.leavers = append(c.leavers, pair{u.AppUserID, u.Email})
		c.gone[email] = struct{}{}
	case r == nil:
		c.absent++
	default: // rejected: still on the plan, so still listed, as they were
	}
}

func (c *comparison) witness(k personKey) {
	if len(c.witnesses) < maxWitnesses {
		c.witnesses[k] = struct{}{}
	}
}

// missing counts who has to be added, and who has to be changed.
func (c *comparison) missing() (adds, changes int) {
	for i := range c.people.whole.rows {
		switch r := &c.people.whole.rows[i]; {
		case !c.people.active(r) || r.exact || r.refused:
		case r.differs:
			changes++
		default:
			adds++
		}
	}
	return adds, changes
}

// superfluous returns the stale entries that may go: the right entries of everybody whose id or address they carry are
// listed.
func (c *comparison) superfluous() (out []pair) {
	if len(c.stale) == 0 {
		return nil
	}
	missing := map[uint64]bool{}
	for i := range c.people.whole.rows {
		if r := &c.people.whole.rows[i]; c.people.active(r) && !r.exact {
			missing[r.email] = true
		}
	}
	for _, s := range c.stale {
		if !missing[s.email] && !missing[s.own] {
			out = append(out, s.pair)
		}
	}
	return out
}

// vanished reports whether everybody who was listed rightly before is gone now: what an addition that replaces the
// list does.
func (c *comparison) vanished() bool {
	before, still := 0, 0
	for i := range c.people.whole.rows {
		r := &c.people.whole.rows[i]
		if r.before {
			before++
		}
		if r.before && r.exact {
			still++
		}
	}
	return before > 0 && still == 0
}

// compare reads Productiv's whole list against the roster. A plan that was interrupted is given up: what it did is in
// the list. Whom a plan deleted leaves the ledger once the list does not show them any more: a deletion that Productiv
// carried out in part, and whoever is still listed because the list lags, stay ours.
func (t *turn) compare(ctx context.Context, p *people) (c *comparison, err error) {
	o, err := t.loadOwned(ctx)
	if err != nil {
		return nil, err
	}
	c = newComparison(p, o)
	if t.Plan != nil {
		planned, err := t.deletions(ctx, *t.Plan)
		if err != nil {
			return nil, err
		}
		maps.Copy(t.deleting, planned)
	}
	c.deleted = maps.Clone(t.deleting)
	for u, err := range t.list(ctx) {
		if err != nil {
			return nil, err
		}
		c.see(u)
	}
	t.rest = c.rest
	if t.Plan != nil {
		if err := t.reconsider(ctx, c.deleted); err != nil {
			return nil, err
		}
	}
	if err := t.disown(ctx, c.deleted); err != nil {
		return nil, err
	}
	for gone := range c.deleted {
		delete(t.deleting, gone)
	}
	t.Plan = nil
	return c, nil
}

// reconsider corrects the counts after a crash in the middle of a deletion: it was counted before it was sent, and
// counts for those who are really gone.
func (t *turn) reconsider(ctx context.Context, gone entries) error {
	if t.Plan.Next < t.Plan.Posts || t.Plan.Remembered != t.Plan.Next+1 {
		return nil
	}
	users, err := t.chunk(ctx, *t.Plan, chunkRemove, t.Plan.Next-t.Plan.Posts)
	if err != nil {
		return err
	}
	went := 0
	for _, u := range users {
		if gone.has(u.AppUserID, u.Email) {
			went++
		}
	}
	t.Told.Deleted -= len(users) - went
	if last := len(t.Removals) - 1; last >= 0 {
		if t.Removals[last].People = min(t.Removals[last].People, went); went == 0 {
			t.Removals = t.Removals[:last]
		}
	}
	return nil
}
