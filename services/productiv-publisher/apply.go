package publisher

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// bisectBudget is how many extra calls one publication may spend on finding people that Productiv refuses.
const bisectBudget = 200

// carryOut seals a changeset and sends it.
func (t *turn) carryOut(ctx context.Context, m roster.Manifest, p *people, c changeset, witnesses map[personKey]struct{}) error {
	if err := t.seal(ctx, m, p, c); err != nil {
		return err
	}
	return t.apply(ctx, p, witnesses)
}

// apply sends the plan in hand, additions first: a stop in between leaves too many people listed, never too few. The
// chunk's number is written before the chunk leaves; whoever lost the lane finds that out there.
func (t *turn) apply(ctx context.Context, p *people, witnesses map[personKey]struct{}) error {
	wire := &tripwire{turn: t, witnesses: witnesses}
	for first := t.Plan.Next; t.Plan.Next < t.Plan.Posts+t.Plan.Deletes; t.Plan.Next++ {
		if t.Plan.Next > first {
			t.Stalls = 0 // a chunk is done: that is progress
			failpoint.Hit(failpoint.P9)
		}
		if err := t.step(ctx, wire); err != nil {
			return err
		}
	}
	t.markRefused(p)
	return t.applied(ctx)
}

// step carries out the next chunk.
func (t *turn) step(ctx context.Context, wire *tripwire) error {
	i := t.Plan.Next
	forget, err := t.remember(ctx)
	if err != nil {
		return err
	}
	if err := t.save(ctx); err != nil {
		return err
	}
	failpoint.Hit(failpoint.P5)
	if i >= t.Plan.Posts {
		err = t.remove(ctx, i-t.Plan.Posts)
	} else {
		err = t.add(ctx, i, wire)
	}
	failpoint.Hit(failpoint.P8)
	if err != nil && ctx.Err() == nil {
		forget() // it did not happen, as far as the vendor told
	}
	return err
}

// add sends one chunk of additions and looks what became of those who were listed before.
func (t *turn) add(ctx context.Context, i int, wire *tripwire) error {
	sent, err := t.sealed(ctx, *t.Plan, chunkAdd, i)
	if err != nil {
		return err
	}
	if err := t.bisect(ctx, sent); err != nil {
		return err
	}
	if wire.done || t.Plan.Posts+t.Plan.Deletes == 1 {
		return nil
	}
	return wire.look(ctx, sent)
}

// remember counts the deletions of the next chunk, for the outcome and for the guards, before they happen: a crash must
// not make them forgotten. The caller forgets them again when the call failed. A plan that erases people without
// naming them is remembered with its first chunk.
func (t *turn) remember(ctx context.Context) (forget func(), err error) {
	plan, told, removals := *t.Plan, t.Told, len(t.Removals)
	people := 0
	switch i := t.Plan.Next; {
	case i < t.Plan.Remembered:
		return func() {}, nil
	case i >= t.Plan.Posts:
		users, err := t.chunk(ctx, plan, chunkRemove, i-t.Plan.Posts)
		if err != nil {
			return nil, err
		}
		t.Told.Deleted += len(users)
		people = min(len(users), t.Plan.Removals)
	case t.Plan.Deletes == 0:
		people = t.Plan.Removals
	}
	t.Plan.Remembered, t.Plan.Removals = t.Plan.Next+1, t.Plan.Removals-people
	if people > 0 {
		of := people
		if t.Published != nil {
			of = t.Published.People
		}
		t.Removals = append(t.Removals, roster.Removal{SweepID: t.Plan.SweepID, At: t.deps.Now().UTC(), People: people, Of: of})
	}
	return func() {
		t.Plan.Remembered, t.Plan.Removals = plan.Remembered, plan.Removals
		t.Told, t.Removals = told, t.Removals[:removals]
	}, nil
}

// applied closes the plan. Where Productiv's list is read back, the plan stays until the list says whom it deleted;
// otherwise they leave the ledger now.
func (t *turn) applied(ctx context.Context) error {
	if t.Plan.Deletes > 0 && t.connection.Productiv.Mode != modeAppend {
		return t.save(ctx)
	}
	if t.Plan.Deletes > 0 {
		deleted, err := t.deletions(ctx, *t.Plan)
		if err != nil {
			return err
		}
		if err := t.disown(ctx, deleted); err != nil {
			return err
		}
	}
	t.Plan = nil
	return t.save(ctx)
}

// listed is an entry of Productiv's list: one id may have several, under different addresses.
type listed struct {
	id    personKey
	email string // folded
}

func listedAs(id, email string) listed { return listed{keyOf(id), roster.FoldEmail(email)} }

// entries are a set.
type entries map[listed]struct{}

func (e entries) has(id, email string) bool {
	_, ok := e[listedAs(id, email)]
	return ok
}

// deletions are the entries that a plan deletes.
func (t *turn) deletions(ctx context.Context, plan roster.Plan) (entries, error) {
	deleted := entries{}
	for i := range plan.Deletes {
		users, err := t.chunk(ctx, plan, chunkRemove, i)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			deleted[listedAs(u.AppUserID, u.Email)] = struct{}{}
		}
	}
	return deleted, nil
}

// disown takes deleted entries out of the ledger. An active person whose second entry was deleted stays in it: the
// roster's own entry was added to the ledger when it was sent. Who has another entry that nothing may delete yet stays
// ours under that one, or nobody would ever delete it.
func (t *turn) disown(ctx context.Context, deleted entries) error {
	if len(deleted) == 0 {
		return nil
	}
	left := t.left(deleted)
	next, err := t.newLedger(ctx)
	if err != nil {
		return err
	}
	for o, err := range t.owners(ctx) {
		if err != nil {
			return err
		}
		if deleted.has(o.AppUserID, o.Email) {
			email, more := left[keyOf(o.AppUserID)]
			if !more {
				continue
			}
			o.Email = email
		}
		if err := next.add(ctx, o); err != nil {
			return err
		}
	}
	return next.commit(ctx)
}

// left are the entries of ours that are listed and were not deleted: keys with addresses.
func (t *turn) left(deleted entries) map[personKey]string {
	left := map[personKey]string{}
	for _, e := range t.rest {
		if !deleted.has(e.id, e.email) {
			left[keyOf(e.id)] = e.email
		}
	}
	return left
}

// sealed reads the bytes of one chunk.
func (t *turn) sealed(ctx context.Context, plan roster.Plan, kind string, n int) ([]byte, error) {
	msg, err := t.deps.Streams.Newest(ctx, streams.Plans, chunkSubject(t.connection.Name, plan, kind, n))
	if err == nil && msg == nil {
		err = fault.New(fault.Transient, "plan-unreadable", "chunk %s%d of plan %d is not there", kind, n, plan.No)
	}
	if err != nil {
		return nil, err
	}
	return msg.Data, nil
}

// chunk reads the people of one chunk.
func (t *turn) chunk(ctx context.Context, plan roster.Plan, kind string, n int) ([]productiv.User, error) {
	body, err := t.sealed(ctx, plan, kind, n)
	if err != nil {
		return nil, err
	}
	return usersOf(body)
}

func usersOf(sealed []byte) ([]productiv.User, error) {
	var body struct {
		Users []productiv.User `json:"provisionedUsers"`
	}
	if err := json.Unmarshal(sealed, &body); err != nil {
		return nil, fault.New(fault.Permanent, "plan-corrupt", "a sealed chunk is not what this version writes").Because(err)
	}
	return body.Users, nil
}

// remove sends one chunk of removals, unless somebody paused the connection since the guards were asked.
func (t *turn) remove(ctx context.Context, n int) error {
	paused, err := state.Paused(ctx, t.deps.Streams, t.connection.Name)
	if err != nil {
		return err
	}
	if paused {
		return final(fault.New(fault.Permanent, "paused", "paused before everybody was deleted; sync again after resume"))
	}
	body, err := t.sealed(ctx, *t.Plan, chunkRemove, n)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.Either(n == 0, failpoint.P10, failpoint.P11))
	return t.send(ctx, body, func(body []byte) error {
		// Fewer deleted than asked is no failure: whoever was gone already is gone. Reading back decides.
		_, err := t.app.Remove(ctx, body)
		return err
	})
}

// bisect adds people, and when Productiv refuses the chunk, finds out whom it refuses: they are set aside, the others
// go through.
func (t *turn) bisect(ctx context.Context, body []byte) error {
	err := t.send(ctx, body, func(body []byte) error { return t.app.Add(ctx, body) })
	if fault.ReasonOf(err) != "refused" || t.indivisible() {
		return err
	}
	users, err := usersOf(body)
	if err != nil {
		return err
	}
	if len(users) == 1 {
		t.refused[keyOf(users[0].AppUserID)] = struct{}{}
		return nil
	}
	if t.bisected += 2; t.bisected > bisectBudget {
		return final(fault.New(fault.Permanent, "refused", "Productiv refuses too many people to find out whom; see its message for one chunk"))
	}
	return halves(users, func(body []byte) error { return t.bisect(ctx, body) })
}

// send makes one call with the sealed bytes, right after the broker confirmed that the lane is still ours, and halves
// what is too large.
func (t *turn) send(ctx context.Context, body []byte, call func([]byte) error) error {
	if err := t.hold.renew(ctx, t.delivery); err != nil {
		return err
	}
	err := t.vendorError(ctx, call(body))
	if fault.ReasonOf(err) != "too-large" || t.indivisible() {
		return err
	}
	users, decodeErr := usersOf(body)
	if decodeErr != nil || len(users) == 1 {
		return err
	}
	return halves(users, func(body []byte) error { return t.send(ctx, body, call) })
}

// indivisible reports whether a part of a chunk would be taken for the whole list: then nobody is looked for who makes
// Productiv refuse it. The list stays as it is, and the outcome says why.
func (t *turn) indivisible() bool { return t.connection.Productiv.Mode == modeReplaceSingle }

// halves does one thing with the first half of users, then with the second.
func halves(users []productiv.User, do func(body []byte) error) error {
	half := len(users) / 2
	for _, part := range [][]productiv.User{users[:half], users[half:]} {
		body, err := productiv.EncodeUsers(part)
		if err != nil {
			return err
		}
		if err := do(body); err != nil {
			return err
		}
	}
	return nil
}

// markRefused carries what this turn learnt over to the roster, so that nobody waits for them to appear.
func (t *turn) markRefused(p *people) {
	for k := range t.refused {
		if p.whole == nil {
			return
		}
		if r := p.whole.find(k); r != nil {
			r.refused = true
		}
	}
}

func (t *turn) refusals() string {
	if len(t.refused) == 0 {
		return ""
	}
	return fmt.Sprintf("refused: Productiv does not take %d of the people; everybody else is published", len(t.refused))
}
