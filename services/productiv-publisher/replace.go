package publisher

import (
	"context"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
)

// replaceLimit is the most people that one call takes; a second call would replace the first.
const replaceLimit = 1000

// replace sends the whole roster in one call, for an app that takes each call as its whole list. It refuses what would
// not fit, and what would erase people that others put there.
func (t *turn) replace(ctx context.Context, m roster.Manifest, p *people, record roster.Record) (reason, outcome string, err error) {
	if limit := min(replaceLimit, t.connection.Productiv.BatchSize); p.counts.Active > limit {
		return "", "", final(fault.New(fault.Permanent, "replace-single-too-many",
			"%d people do not fit into one call of %d; use mode: reconcile", p.counts.Active, limit))
	}
	c, err := t.compare(ctx, p)
	if err != nil {
		return "", "", err
	}
	rememberBefore(p)
	if c.foreign > 0 {
		return "", "", final(fault.New(fault.Permanent, "foreign-people",
			"one call would erase %d people that Seatwire did not publish; remove them at Productiv, or use mode: reconcile", c.foreign))
	}
	// What is absent is erased by this call too, so it counts as a removal here.
	reason, err = t.judge(ctx, p, record, c.leavers, proposal{removals: len(c.gone) + c.absent, earlier: t.removedFor(m)})
	if err != nil {
		return "", "", err
	}
	if reason != "" {
		return reason, roster.StateHeld, t.sealHeld(ctx, m, c.leavers)
	}
	adds, changes := c.missing()
	if adds+changes+len(c.leavers) == 0 {
		return t.nothing(ctx, m, p)
	}
	plan := changeset{adds: adds, changes: changes, all: true, removals: len(c.gone) + c.absent}
	if p.counts.Active == 0 { // an addition of nobody is not documented, a deletion is
		plan = changeset{leavers: c.leavers, removals: len(c.gone)}
	}
	if err := t.carryOut(ctx, m, p, plan, nil); err != nil {
		return "", "", err
	}
	return t.settle(ctx, m, p)
}
