package publisher

import (
	"context"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
)

// bring is the publication's steps, in order. The verdict's counts are right for as far as it came, whatever the error.
func (t *turn) bring(ctx context.Context, m roster.Manifest, record roster.Record) (verdict, error) {
	v := verdict{state: roster.StateFailed}
	if !m.Sound() {
		v.reason = m.Detail
		return v, nil
	}
	if t.Stalls > t.maxStalls {
		return v, final(fault.New(fault.Permanent, "crash-suspect",
			"%d attempts in a row ended without progress; see the publisher's logs before asking for another sweep", t.Stalls-1))
	}
	if err := t.arrive(ctx, m); err != nil {
		return v, err
	}
	failpoint.Hit(failpoint.N3)
	people, err := t.census(ctx, m)
	failpoint.Hit(failpoint.N4)
	v.counts = people.counts
	if err != nil {
		return v, err
	}
	if t.app == nil {
		return verdict{roster.StateUnchanged, "no-productiv", v.counts}, nil
	}
	if err := t.prepareOwned(ctx, m, people); err != nil {
		return v, err
	}
	reason, state, err := t.converge(ctx, m, people, record)
	v.counts.Added, v.counts.Changed, v.counts.Deleted = t.Told.Added, t.Told.Changed, t.Told.Deleted
	v.state, v.reason = state, reason
	return v, err
}
