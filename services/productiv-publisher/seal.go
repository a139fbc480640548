package publisher

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// changeset is what a plan does, in numbers, with the entries it deletes.
type changeset struct {
	adds, changes int
	leavers       []pair
	// removals is how many people the deletions take off the list.
	removals int
	// all sends every active person, not only those that are missing.
	all bool
}

// sealer writes the chunks of one plan.
type sealer struct {
	*turn
	plan    roster.Plan
	kind    string
	chunks  int
	pending []productiv.User
	// size is about how many bytes pending will take.
	size int
}

// sealedBytes bounds a chunk or a ledger part below the broker's largest message.
const sealedBytes = 512 << 10

// Kinds of chunks: additions and changes, and removals.
const (
	chunkAdd    = "a"
	chunkRemove = "r"
)

func (s *turn) newSealer(ctx context.Context, m roster.Manifest) (*sealer, error) {
	s.PlanNo++
	return &sealer{turn: s, plan: roster.Plan{SweepID: m.SweepID, No: s.PlanNo}}, s.save(ctx)
}

func chunkSubject(connection string, p roster.Plan, kind string, n int) string {
	return events.Subject(streams.PublicationChunkSubject, connection, p.SweepID, strconv.Itoa(p.No), fmt.Sprintf("%s%06d", kind, n))
}

func (s *sealer) add(ctx context.Context, u productiv.User) error {
	s.pending = append(s.pending, u)
	s.size += sizeOf(u.AppUserID, u.Email, u.Username, u.License)
	if len(s.pending) < s.connection.Productiv.BatchSize && s.size < sealedBytes {
		return nil
	}
	return s.flush(ctx)
}

func (s *sealer) flush(ctx context.Context) error {
	if len(s.pending) == 0 {
		return nil
	}
	body, err := productiv.EncodeUsers(s.pending)
	if err != nil {
		return err
	}
	subject := chunkSubject(s.connection.Name, s.plan, s.kind, s.chunks)
	if _, err := s.deps.Publisher.PublishMsg(ctx, subject, subject, nil, body); err != nil && !bus.IsKeyExists(err) {
		return err
	}
	s.chunks++
	s.pending, s.size = s.pending[:0], 0
	return nil
}

// sizeOf estimates a person's JSON from above, in bytes: a character may be escaped in six.
func sizeOf(members ...string) (n int) {
	for _, m := range members {
		n += len(m) + 20
		if strings.ContainsFunc(m, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == '<' || r == '>' || r == '&' }) {
			n += 5 * len(m)
		}
	}
	return n
}

func (s *sealer) removals(ctx context.Context, leavers []pair) error {
	s.kind, s.chunks = chunkRemove, 0
	for _, l := range leavers {
		if err := s.add(ctx, productiv.User{AppUserID: l.id, Email: l.email}); err != nil {
			return err
		}
	}
	err := s.flush(ctx)
	s.plan.Deletes = s.chunks
	return err
}

// additions seals who has to be sent, and writes the ledger that makes them ours before the first call.
func (s *sealer) additions(ctx context.Context, m roster.Manifest, p *people, all bool) error {
	s.kind, s.chunks = chunkAdd, 0
	next, err := s.newLedger(ctx)
	if err != nil {
		return err
	}
	for k := range p.parts {
		ix, err := s.part(ctx, m, p, k)
		if err != nil {
			return err
		}
		if err := s.keepOwners(ctx, next, p, ix, k, all); err != nil {
			return err
		}
	}
	if err := s.send(ctx, m, next, p, all); err != nil {
		return err
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	s.plan.Posts = s.chunks
	return next.commit(ctx)
}

// due reports whether a row has to be sent.
func due(p *people, r *row, all bool) bool {
	return p.active(r) && !r.sent && !r.refused && (all || !r.exact)
}

// keepOwners copies the owners of part k that are not sent now.
func (s *sealer) keepOwners(ctx context.Context, next *ledger, p *people, ix *index, k int, all bool) error {
	for o, err := range s.owners(ctx) {
		if err != nil {
			return err
		}
		key := keyOf(o.AppUserID)
		if key.Part(p.parts) != k || due(p, ix.find(key), all) {
			continue
		}
		if err := next.add(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// send puts the people who are due into chunks, and into the ledger.
func (s *sealer) send(ctx context.Context, m roster.Manifest, next *ledger, p *people, all bool) error {
	for entries, err := range roster.Read[entry](ctx, s.deps.Streams, m, roster.Users) {
		if err != nil {
			return permanentIsFinal(err)
		}
		for _, e := range entries {
			if !p.take(e, all) {
				continue
			}
			if err := next.add(ctx, roster.Owner{AppUserID: e.PsUserID, Email: e.Email}); err != nil {
				return err
			}
			if err := s.add(ctx, productiv.User{AppUserID: e.PsUserID, Email: e.Email, Username: e.Username, License: e.License}); err != nil {
				return err
			}
		}
	}
	return nil
}

// take reports whether a person is due, and takes them once, however often they were read.
func (p *people) take(e entry, all bool) bool {
	key := keyOf(e.PsUserID)
	if p.whole != nil {
		r := p.whole.find(key)
		taken := due(p, r, all)
		if taken {
			r.sent = true
		}
		return taken
	}
	r := rowOf(e.entry())
	sent, repeated := p.repeats[key]
	if repeated {
		p.repeats[key] = true
	}
	return !sent && due(p, &r, all)
}

// seal fixes the whole plan before its first byte leaves: chunks in the stream, then the plan in the state.
func (t *turn) seal(ctx context.Context, m roster.Manifest, p *people, c changeset) error {
	s, err := t.newSealer(ctx, m)
	if err != nil {
		return err
	}
	if err := s.removals(ctx, c.leavers); err != nil {
		return err
	}
	if c.all || c.adds+c.changes > 0 {
		if err := s.additions(ctx, m, p, c.all); err != nil {
			return err
		}
	}
	s.plan.Removals = c.removals
	s.plan.Counts = events.Counts{Added: c.adds, Changed: c.changes, Deleted: len(c.leavers)}
	s.plan.Sealed = t.deps.Now().UTC()
	t.Plan = &s.plan
	t.tell(s.plan.Counts)
	if t.Published != nil {
		t.Published.Fingerprint = "" // until this plan is through, nobody knows what the list is
	}
	err = t.save(ctx)
	failpoint.Hit(failpoint.P4)
	return err
}

// tell notes whom Productiv is told about: by the sweep's first plan, for one that a crash made necessary tells some of
// them again. Deletions are counted as they are sent.
func (t *turn) tell(c events.Counts) {
	if t.Told.Added+t.Told.Changed == 0 {
		t.Told.Added, t.Told.Changed = c.Added, c.Changed
	}
}

// sealHeld keeps who would have been deleted, for a person to look at and a release to be compared with.
func (t *turn) sealHeld(ctx context.Context, m roster.Manifest, leavers []pair) error {
	s, err := t.newSealer(ctx, m)
	if err != nil {
		return err
	}
	t.held = &s.plan
	return s.removals(ctx, leavers)
}
