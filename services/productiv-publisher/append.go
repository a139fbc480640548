package publisher

import (
	"context"

	"github.com/seatwire/seatwire/pkg/roster"
)

// append sends every active person when anything changed, without reading Productiv's list, and deletes the leavers
// that we published. Memory does not grow with the plan. What it costs: an address that changed leaves its old entry
// behind when Productiv keys by address; reconcile clears that up.
func (t *turn) append(ctx context.Context, m roster.Manifest, p *people, record roster.Record) (reason, outcome string, err error) {
	if t.Plan != nil && t.deps.Now().Sub(t.Plan.Sealed) <= stalePlan {
		return t.sendPlan(ctx, m, p)
	}
	c, absent, err := t.leavers(ctx, m, p)
	if err != nil {
		return "", "", err
	}
	reason, err = t.judge(ctx, p, record, c.leavers, proposal{removals: c.removals, absent: absent})
	if err != nil {
		return "", "", err
	}
	if reason != "" {
		return reason, roster.StateHeld, t.sealHeld(ctx, m, c.leavers)
	}
	same := t.Published != nil && t.Published.Fingerprint == p.fingerprint
	if same && len(c.leavers) == 0 {
		return t.nothing(ctx, m, p)
	}
	c.all = !same
	if same {
		c.adds, c.changes = 0, 0
	}
	if err := t.seal(ctx, m, p, c); err != nil {
		return "", "", err
	}
	return t.sendPlan(ctx, m, p)
}

// sendPlan carries out the sealed plan, or what a crash left of it: an addition that is repeated changes nothing, and
// so does a removal.
func (t *turn) sendPlan(ctx context.Context, m roster.Manifest, p *people) (reason, outcome string, err error) {
	var witnesses map[personKey]struct{}
	if t.Plan.Posts+t.Plan.Deletes > 1 {
		if witnesses, err = t.lookAround(ctx); err != nil {
			return "", "", err
		}
	}
	if err := t.apply(ctx, p, witnesses); err != nil {
		return "", "", err
	}
	return t.refusals(), roster.StatePublished, t.published(ctx, m, p)
}

// lookAround takes those on the first page of Productiv's list for witnesses.
func (t *turn) lookAround(ctx context.Context) (map[personKey]struct{}, error) {
	page, err := t.app.Users(ctx, "")
	if err != nil {
		return nil, t.vendorError(ctx, err)
	}
	witnesses := map[personKey]struct{}{}
	for _, u := range page.Users {
		witnesses[keyOf(u.AppUserID)] = struct{}{}
	}
	return witnesses, nil
}

// leavers holds the ownership ledger against the roster, part by part.
func (t *turn) leavers(ctx context.Context, m roster.Manifest, p *people) (c changeset, absent int, err error) {
	if t.Owned.Generation == 0 {
		return changeset{adds: p.counts.Active}, 0, nil
	}
	known := 0
	for k := range p.parts {
		ix, err := t.part(ctx, m, p, k)
		if err != nil {
			return c, 0, err
		}
		for o, err := range t.owners(ctx) {
			if err != nil {
				return c, 0, err
			}
			key := keyOf(o.AppUserID)
			if key.Part(p.parts) != k {
				continue
			}
			switch r := ix.find(key); {
			case p.active(r):
				known++
			case r != nil && (r.disp == roster.IsRemoved || r.disp == roster.IsExcluded) || o.Misses >= absentTwice:
				c.leavers = append(c.leavers, pair{o.AppUserID, o.Email})
			case r == nil:
				absent++
			}
		}
	}
	c.adds, c.changes = p.counts.Active-known, known
	c.leavers, err = t.dropStaying(ctx, m, p, c.leavers)
	c.removals = len(c.leavers)
	return c, absent, err
}

// dropStaying leaves out leavers whose address an active person has: the same person under another id. Deleting the
// old entry unseen could take the new one along, if Productiv keys by address.
func (t *turn) dropStaying(ctx context.Context, m roster.Manifest, p *people, leavers []pair) ([]pair, error) {
	if len(leavers) == 0 {
		return nil, nil
	}
	stays := make(map[uint64]bool, len(leavers))
	for _, l := range leavers {
		stays[roster.AddressHash((l.email))] = false
	}
	err := t.readPages(ctx, m, false, func(_ string, x roster.Index) {
		for i := range x.Len() {
			e := x.At(i)
			if _, asked := stays[e.Email]; asked && e.Is == roster.IsActive {
				stays[e.Email] = true
			}
		}
	})
	var out []pair
	for _, l := range leavers {
		if !stays[roster.AddressHash((l.email))] {
			out = append(out, l)
		}
	}
	return out, err
}
