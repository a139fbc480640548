package pluralsightsim

import (
	"cmp"
	"slices"
	"sort"
	"strings"
)

// slot is one place in the plan's order. A generated person has no record of his own until somebody changes him.
type slot struct {
	rank   int64   // what a keyset cursor remembers
	person *Person // nil: generated, as the generator says
	gone   bool    // erased for good
}

// roster holds a plan's people in order. It does no locking: its plan does.
type roster struct {
	gen   *generator
	slots []slot
	order []int32 // slots in the order of their ranks, without the gone ones

	byID    map[string]int32   // added people; a generated one is found by computation
	byEmail map[string][]int32 // lower-case primary and additional addresses of people with a record
	bySSO   map[string][]int32 // people with a record
	admins  map[int32]struct{}

	listed   int // rows of users, the removed ones included
	removed  int // of these, not on the account
	licences map[string]int
}

// rankStep leaves room between neighbours, so that a person can be put anywhere without renumbering.
const rankStep = 1 << 20

func newRoster(gen *generator) *roster {
	r := &roster{
		gen: gen, byID: map[string]int32{}, byEmail: map[string][]int32{}, bySSO: map[string][]int32{},
		admins: map[int32]struct{}{}, licences: map[string]int{},
	}
	if gen == nil {
		return r
	}
	r.slots = make([]slot, gen.n)
	r.order = make([]int32, gen.n)
	for i := range gen.n {
		r.slots[i].rank = int64(i+1) * rankStep
		r.order[i] = int32(i)
		r.listed++
		if gen.removed(i) {
			r.removed++
		}
		for _, id := range gen.products(i) {
			r.licences[id]++
		}
		if i < adminCount {
			r.admins[int32(i)] = struct{}{}
		}
	}
	return r
}

// at returns the person of a slot for reading; scratch is used when the person has to be generated.
func (r *roster) at(s int32, scratch *Person) *Person {
	if p := r.slots[s].person; p != nil {
		return p
	}
	r.gen.person(int(s), scratch)
	return scratch
}

// find returns the slot of a psUserId.
func (r *roster) find(id string) (int32, bool) {
	if s, ok := r.byID[id]; ok {
		return s, true
	}
	if i := r.gen.byID(id); i >= 0 && !r.slots[i].gone {
		return int32(i), true
	}
	return 0, false
}

// withEmail returns the slots whose primary or additional address equals email, letters' case aside, in order.
func (r *roster) withEmail(email string) []int32 {
	email = strings.ToLower(email)
	return r.inOrder(r.byEmail[email], r.gen.byEmail(email))
}

// withSSO returns the slots whose current SSO identifier is id, in order.
func (r *roster) withSSO(id string) []int32 {
	return r.inOrder(r.bySSO[id], r.gen.bySSO(id))
}

// inOrder adds the generated candidate, unless a record or an erasure has overtaken it, and sorts.
func (r *roster) inOrder(recorded []int32, generated int) []int32 {
	out := slices.Clone(recorded)
	if generated >= 0 && r.slots[generated].person == nil && !r.slots[generated].gone {
		out = append(out, int32(generated))
	}
	slices.SortFunc(out, func(a, b int32) int { return cmp.Compare(r.slots[a].rank, r.slots[b].rank) })
	return out
}

// add appends p at the end of the order, or puts it first.
func (r *roster) add(p Person, first bool) int32 {
	s := int32(len(r.slots))
	r.slots = append(r.slots, slot{person: &p})
	r.place(s, first)
	r.byID[p.PsUserID] = s
	r.index(s, &p)
	return s
}

// put replaces the person of a slot; indexes and counters follow.
func (r *roster) put(s int32, p Person) {
	var scratch Person
	r.unindex(s, r.at(s, &scratch))
	r.slots[s].person = &p
	r.index(s, &p)
}

// erase forgets a person for good.
func (r *roster) erase(s int32) {
	var scratch Person
	p := r.at(s, &scratch)
	r.unindex(s, p)
	r.take(s)
	delete(r.byID, p.PsUserID)
	r.slots[s].gone, r.slots[s].person = true, nil
}

// move changes a person's place in the order, which no vendor promises to keep.
func (r *roster) move(s int32, first bool) {
	r.take(s)
	r.place(s, first)
}

func (r *roster) place(s int32, first bool) {
	switch {
	case len(r.order) == 0:
		r.slots[s].rank = rankStep
	case first:
		r.slots[s].rank = r.slots[r.order[0]].rank - rankStep
	default:
		r.slots[s].rank = r.slots[r.order[len(r.order)-1]].rank + rankStep
	}
	if first {
		r.order = slices.Insert(r.order, 0, s)
		return
	}
	r.order = append(r.order, s)
}

func (r *roster) take(s int32) {
	i := r.after(r.slots[s].rank - 1)
	r.order = slices.Delete(r.order, i, i+1)
}

// after returns the first position in the order whose rank is above rank.
func (r *roster) after(rank int64) int {
	return sort.Search(len(r.order), func(i int) bool { return r.slots[r.order[i]].rank > rank })
}

func (r *roster) index(s int32, p *Person) {
	r.count(p, 1)
	for _, e := range addresses(p) {
		r.byEmail[e] = append(r.byEmail[e], s)
	}
	if p.CurrentSsoIdentifier != "" {
		r.bySSO[p.CurrentSsoIdentifier] = append(r.bySSO[p.CurrentSsoIdentifier], s)
	}
	if p.Admin {
		r.admins[s] = struct{}{}
	}
}

func (r *roster) unindex(s int32, p *Person) {
	r.count(p, -1)
	delete(r.admins, s)
	if r.slots[s].person == nil {
		return // generated people are in no index
	}
	for _, e := range addresses(p) {
		drop(r.byEmail, e, s)
	}
	drop(r.bySSO, p.CurrentSsoIdentifier, s)
}

func drop(index map[string][]int32, key string, s int32) {
	rest := slices.DeleteFunc(index[key], func(x int32) bool { return x == s })
	if len(rest) == 0 {
		delete(index, key)
		return
	}
	index[key] = rest
}

// addresses lists each distinct lower-case address once: a person may repeat the primary one as an additional one.
func addresses(p *Person) []string {
	var out []string
	for _, e := range append([]string{p.Email}, p.AdditionalEmails...) {
		if e = strings.ToLower(e); e != "" && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

func (r *roster) count(p *Person, by int) {
	if !p.NeverLicensed {
		r.listed += by
		if p.IsOnAccount != Yes {
			r.removed += by
		}
	}
	for _, id := range p.ProductIDs {
		r.licences[id] += by
	}
}

// adminSlots returns the plan admins in order.
func (r *roster) adminSlots() []int32 {
	out := make([]int32, 0, len(r.admins))
	for s := range r.admins {
		out = append(out, s)
	}
	return r.inOrder(out, -1)
}
