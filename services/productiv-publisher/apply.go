package publisher

import (
	"context"
	"encoding/json"
	"fmt"

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
	return t.apply(ctx, m, p, witnesses)
}

// apply sends the plan in hand, additions first: a stop in between leaves too many people listed, never too few. The
// chunk's number is written before the chunk leaves; whoever lost the lane finds that out there.
func (t *turn) apply(ctx context.Context, m roster.Manifest, p *people, witnesses map[personKey]struct{}) error {
	wire := &tripwire{turn: t, witnesses: witnesses}
	for ; t.Plan.Next < t.Plan.Posts+t.Plan.Deletes; t.Plan.Next++ {
		t.Stalls = 0
		if err := t.save(ctx); err != nil {
			return err
		}
		i := t.Plan.Next
		if i >= t.Plan.Posts {
			if err := t.remove(ctx, i-t.Plan.Posts); err != nil {
				return err
			}
			continue
		}
		sent, err := t.sealed(ctx, *t.Plan, chunkAdd, i)
		if err != nil {
			return err
		}
		if err := t.post(ctx, sent); err != nil {
			return err
		}
		if !wire.done && t.Plan.Posts+t.Plan.Deletes > 1 {
			if err := wire.look(ctx, sent); err != nil {
				return err
			}
		}
	}
	t.markRefused(p)
	return t.applied(ctx)
}

// applied closes the plan: removals go into the guards' memory and out of the ledger.
func (t *turn) applied(ctx context.Context) error {
	done := t.Plan
	if done.Removals > 0 {
		of := done.Removals
		if t.Published != nil {
			of = t.Published.People
		}
		t.Removals = append(t.Removals, roster.Removal{At: t.deps.Now().UTC(), People: done.Removals, Of: of})
	}
	if done.Deletes > 0 {
		if err := t.disown(ctx, *done); err != nil {
			return err
		}
	}
	t.Plan = nil
	return t.save(ctx)
}

// disown takes the deleted entries out of the ledger. An active person whose second entry was deleted stays in it:
// the roster's own entry was added to the ledger when it was sent.
func (t *turn) disown(ctx context.Context, plan roster.Plan) error {
	deleted := map[personKey]string{}
	for i := range plan.Deletes {
		users, err := t.chunk(ctx, plan, chunkRemove, i)
		if err != nil {
			return err
		}
		for _, u := range users {
			deleted[keyOf(u.AppUserID)] = roster.FoldEmail(u.Email)
		}
	}
	next, err := t.newLedger(ctx)
	if err != nil {
		return err
	}
	for o, err := range t.owners(ctx) {
		if err != nil {
			return err
		}
		if email, gone := deleted[keyOf(o.AppUserID)]; gone && email == roster.FoldEmail(o.Email) {
			continue
		}
		if err := next.add(ctx, o); err != nil {
			return err
		}
	}
	return next.commit(ctx)
}

// sealed reads the bytes of one chunk.
func (t *turn) sealed(ctx context.Context, plan roster.Plan, kind string, n int) ([]byte, error) {
	msg, err := streams.Get(ctx, t.deps.JS, streams.Plans, chunkSubject(t.connection.Name, plan, kind, n))
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
	paused, err := state.Paused(ctx, t.deps.State, t.connection.Name)
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
	return t.send(ctx, body, func(body []byte) error {
		// Fewer deleted than asked is no failure: whoever was gone already is gone. Reading back decides.
		_, err := t.app.Remove(ctx, body)
		return err
	})
}

func (t *turn) post(ctx context.Context, body []byte) error {
	budget := bisectBudget
	return t.bisect(ctx, body, &budget)
}

// bisect adds people, and when Productiv refuses the chunk, finds out whom it refuses: they are set aside, the others
// go through.
func (t *turn) bisect(ctx context.Context, body []byte, budget *int) error {
	err := t.send(ctx, body, func(body []byte) error { return t.app.Add(ctx, body) })
	if fault.ReasonOf(err) != "refused" {
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
	if *budget -= 2; *budget < 0 {
		return final(fault.New(fault.Permanent, "refused", "Productiv refuses too many people to find out whom; see its message for one chunk"))
	}
	return halves(users, func(body []byte) error { return t.bisect(ctx, body, budget) })
}

// send makes one call with the sealed bytes, right after the broker confirmed that the lane is still ours, and halves
// what is too large.
func (t *turn) send(ctx context.Context, body []byte, call func([]byte) error) error {
	if err := t.hold.renew(ctx, t.delivery); err != nil {
		return err
	}
	err := t.vendorError(ctx, call(body))
	if fault.ReasonOf(err) != "too-large" {
		return err
	}
	users, decodeErr := usersOf(body)
	if decodeErr != nil || len(users) == 1 {
		return err
	}
	return halves(users, func(body []byte) error { return t.send(ctx, body, call) })
}

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

func (t *turn) refusals(*people) string {
	if len(t.refused) == 0 {
		return ""
	}
	return fmt.Sprintf("refused: Productiv does not take %d of the people; everybody else is published", len(t.refused))
}
