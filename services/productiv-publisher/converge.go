package publisher

import (
	"context"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
)

// Modes of publishing.
const (
	modeReconcile     = "reconcile"
	modeAppend        = "append"
	modeReplaceSingle = "replace-single"
)

const (
	// stalePlan is how old a sealed plan may be to go on with after a crash, in append; an older one is made afresh.
	stalePlan = 10 * time.Minute
	// lagFirst, lagMost and lagLimit pace the reading back: how fresh Productiv's list is after a write is not
	// documented. After lagLimit the next sweep repairs.
	lagFirst = 100 * time.Millisecond
	lagMost  = 15 * time.Second
	lagLimit = 2 * time.Minute
	// maxCleanings is how often second entries are cleared up: one may hide behind another.
	maxCleanings = 3
)

// converge brings Productiv's list to the roster and returns the state that the publication ends in, with its reason.
func (t *turn) converge(ctx context.Context, m roster.Manifest, p *people, record roster.Record) (reason, state string, err error) {
	switch t.connection.Productiv.Mode {
	case modeAppend:
		return t.append(ctx, m, p, record)
	case modeReplaceSingle:
		return t.replace(ctx, m, p, record)
	default:
		return t.reconcile(ctx, m, p, record)
	}
}

// reconcile reads, compares, sends the difference and reads again until there is none.
func (t *turn) reconcile(ctx context.Context, m roster.Manifest, p *people, record roster.Record) (reason, outcome string, err error) {
	c, err := t.compare(ctx, p)
	if err != nil {
		return "", "", err
	}
	rememberBefore(p)
	reason, err = t.judge(ctx, p, record, c.leavers, proposal{removals: len(c.gone), absent: c.absent, earlier: t.removedFor(m)})
	if err != nil {
		return "", "", err
	}
	if reason != "" {
		return reason, roster.StateHeld, t.sealHeld(ctx, m, c.leavers)
	}
	adds, changes := c.missing()
	superfluous := t.deletable(c)
	if adds+changes+len(c.leavers)+len(superfluous) == 0 {
		return t.nothing(ctx, m, p)
	}
	changeset := changeset{adds: adds, changes: changes, leavers: append(c.leavers, superfluous...), removals: len(c.gone)}
	failpoint.Hit(failpoint.P3)
	if err := t.carryOut(ctx, m, p, changeset, c.witnesses); err != nil {
		return "", "", err
	}
	return t.settle(ctx, m, p)
}

// removedFor is how many people went for a sweep before a crash. The comparison does not see them any more.
func (t *turn) removedFor(m roster.Manifest) (people int) {
	for _, r := range t.Removals {
		if r.SweepID == m.SweepID {
			people += r.People
		}
	}
	return people
}

// deletable are second entries of people who stay. While the connection is paused they wait: nobody is worse off.
func (t *turn) deletable(c *comparison) []pair {
	if t.paused {
		return nil
	}
	return c.superfluous()
}

// rememberBefore marks who was listed rightly before anything was sent.
func rememberBefore(p *people) {
	for i := range p.whole.rows {
		p.whole.rows[i].before = p.whole.rows[i].exact
	}
}

// nothing ends a publication whose first comparison found no difference: unchanged, unless a crash had brought us here.
func (t *turn) nothing(ctx context.Context, m roster.Manifest, p *people) (reason, outcome string, err error) {
	outcome = roster.StateUnchanged
	if t.Told != (events.Counts{}) {
		outcome = roster.StatePublished
	}
	return "", outcome, t.published(ctx, m, p)
}

// judge asks the guards. A person's release answers for them, as long as everybody who would go now was among those
// who were held; a pause is answered by nobody.
func (t *turn) judge(ctx context.Context, p *people, record roster.Record, leavers []pair, x proposal) (string, error) {
	paused, err := state.Paused(ctx, t.deps.Streams, t.connection.Name)
	if err != nil && fault.ClassOf(err) != fault.Permanent {
		return "", err
	}
	t.paused = paused // a switch that can never be read says yes
	x.paused, x.now, x.desired, x.before = paused, t.deps.Now(), p.counts.Active, t.Removals
	x.published = t.Owned.People
	if t.Published != nil {
		x.published = t.Published.People
	}
	reason := guard(t.connection.Guards, x)
	if reason == "" || record.State != roster.StateReleased || paused && x.removals > 0 {
		return reason, nil
	}
	covered, err := t.covered(ctx, record.HeldPlan, leavers)
	if err != nil || covered {
		return "", err
	}
	return "others would go than were released: " + reason, nil
}

// covered reports whether every leaver is in the plan that was held.
func (t *turn) covered(ctx context.Context, held *roster.Plan, leavers []pair) (bool, error) {
	approved := map[personKey]struct{}{}
	for i := 0; held != nil && i < held.Deletes; i++ {
		users, err := t.chunk(ctx, *held, chunkRemove, i)
		if err != nil {
			return false, err
		}
		for _, u := range users {
			approved[keyOf(u.AppUserID)] = struct{}{}
		}
	}
	for _, l := range leavers {
		if _, ok := approved[keyOf(l.id)]; !ok {
			return false, nil
		}
	}
	return true, nil
}

// settle reads back until Productiv shows what was sent, and takes away second entries once the right ones show.
func (t *turn) settle(ctx context.Context, m roster.Manifest, p *people) (reason, outcome string, err error) {
	failpoint.Hit(failpoint.P12)
	deadline, cleaned := t.deps.Now().Add(lagLimit), 0
	for wait := lagFirst; ; wait = min(2*wait, lagMost) {
		c, err := t.compare(ctx, p)
		if err != nil {
			return "", "", err
		}
		adds, changes := c.missing()
		superfluous := t.deletable(c)
		switch {
		case len(superfluous) > 0 && cleaned < maxCleanings:
			cleaned++
			if err := t.carryOut(ctx, m, p, changeset{leavers: superfluous}, nil); err != nil {
				return "", "", err
			}
			continue
		case adds+changes+len(c.leavers)+len(superfluous) == 0:
			return t.refusals(), roster.StatePublished, t.published(ctx, m, p)
		case c.vanished():
			return "", "", final(semanticsMismatch())
		case t.deps.Now().After(deadline):
			return "", "", final(fault.New(fault.Permanent, "mismatch",
				"Productiv does not show what it was sent: %d to add, %d to change, %d to delete are left; the next sync tries again",
				adds, changes, len(c.leavers)+len(superfluous)))
		}
		if err := t.pauseFor(ctx, wait); err != nil {
			return "", "", err
		}
	}
}

func (t *turn) pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// published records the list that Productiv holds now.
func (t *turn) published(ctx context.Context, m roster.Manifest, p *people) error {
	t.Published = &roster.Published{SweepID: m.SweepID, At: t.deps.Now().UTC(), People: p.counts.Active, Fingerprint: p.fingerprint}
	return t.save(ctx)
}

func semanticsMismatch() error {
	return fault.New(fault.Permanent, "semantics-mismatch",
		"Productiv replaces its list instead of adding to it, so people that were listed vanished; publishing stopped and nobody was "+
			"deleted. Set mode: replace-single if the plan has at most 1000 people; otherwise ask Productiv, and restore the list by "+
			"syncing again once the app adds")
}
