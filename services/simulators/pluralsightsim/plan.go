package pluralsightsim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Product is a licence type of a plan. Assigned and remaining counts follow from the people.
type Product struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Purchased int    `json:"purchasedLicenseCount"`
}

// Team is a team of a plan; ParentID is empty at the root.
type Team struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	ParentID    string `json:"parentTeamId,omitempty"`
}

// Invite is a pending invitation.
type Invite struct {
	ID      string   `json:"inviteId"`
	Email   string   `json:"email"`
	TeamIDs []string `json:"teamIds,omitempty"`
	Note    string   `json:"note,omitempty"`
}

// Plan describes one tenant when the simulator starts, and again after a reset.
type Plan struct {
	// Name is the tenant's name, also its planId; it becomes part of generated e-mail addresses.
	Name string
	// Key is the API key; any request that carries it is about this plan.
	Key string
	// ReadOnly is the key's missing WRITE permission.
	ReadOnly bool
	People   []Person
	Products []Product // none: "1" and "2"
	Teams    []Team    // none: three, one inside another
	Invites  []Invite
	// Switches to start with; nil for DefaultSwitches.
	Switches *Switches

	generate int
	seed     uint64
}

// Generate returns the plan with n invented people before its own, the same ones for the same seed and name.
func (p Plan) Generate(n int, seed uint64) Plan {
	p.generate, p.seed = n, seed
	return p
}

func (p *Plan) products() []Product {
	if p.Products != nil {
		return p.Products
	}
	n := max(p.generate+len(p.People), 100)
	return []Product{{ID: "1", Name: "Skills Enterprise", Purchased: n + n/10}, {ID: "2", Name: "Labs", Purchased: n / 4}}
}

func (p *Plan) teams() []Team {
	if p.Teams != nil {
		return p.Teams
	}
	return []Team{
		{ID: "10", Name: "Engineering"}, {ID: "11", Name: "Platform", ParentID: "10"}, {ID: "20", Name: "Finance"},
	}
}

// dialect is what a plan speaks: its switches and the schema that follows from them. It is replaced, never changed.
type dialect struct {
	Switches
	variant *variant
}

// plan is a tenant's state.
type plan struct {
	name    string
	turning sync.Mutex // one change of switches at a time
	dialect atomic.Pointer[dialect]
	history *history
	ledger  *ledger

	mu       sync.RWMutex // guards everything below
	roster   *roster
	products []Product
	teams    []Team
	invites  []Invite
	jobs     []*job // of which the effect is still to come, by due time
	done     []Job
	serial   int // of ids that the plan hands out
}

func newPlan(start *Plan, h *history, l *ledger) (*plan, error) {
	p := &plan{
		name: start.Name, history: h, ledger: l, products: slices.Clone(start.products()),
		teams: slices.Clone(start.teams()), invites: slices.Clone(start.Invites),
	}
	var gen *generator
	if start.generate > 0 {
		gen = newGenerator(start.Name, start.Name, start.generate, start.seed)
		for _, t := range p.teams {
			gen.teams = append(gen.teams, t.ID)
		}
		for i := range min(2, len(p.products)) {
			gen.bundle = append(gen.bundle, p.productIDs(i+1))
		}
	}
	p.roster = newRoster(gen)
	for _, person := range start.People {
		if _, err := p.insert(person, false); err != nil {
			return nil, fmt.Errorf("plan %s: %w", start.Name, err)
		}
	}
	return p, nil
}

// productIDs lists the ids of the first n products.
func (p *plan) productIDs(n int) []string {
	ids := make([]string, 0, n)
	for _, pr := range p.products[:min(n, len(p.products))] {
		ids = append(ids, pr.ID)
	}
	return ids
}

// view runs fn with the state held still. Effects that are due come first: there is no timer, time passes on looking.
func (p *plan) view(now time.Time, fn func()) {
	p.mu.RLock()
	if len(p.jobs) > 0 && !p.jobs[0].due.After(now) {
		p.mu.RUnlock()
		p.change(now, func() {})
		p.mu.RLock()
	}
	defer p.mu.RUnlock()
	fn()
}

// change runs fn as the only one at the state, with everything due by now done.
func (p *plan) change(now time.Time, fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.settle(now)
	fn()
}

// insert adds a person and fills what the caller left open. Ids are unique; addresses, as at the vendor, need not be.
func (p *plan) insert(person Person, first bool) (Person, error) {
	person = person.clone()
	p.serial++
	if person.PsUserID == "" {
		person.PsUserID = p.newID()
	}
	if _, taken := p.roster.find(person.PsUserID); taken {
		return Person{}, fmt.Errorf("psUserId %s: %w", person.PsUserID, ErrExists)
	}
	if person.PlanUserID == "" {
		person.PlanUserID = "pu-" + person.PsUserID
	}
	if person.LegacyID == "" {
		person.LegacyID = "legacy-" + person.PsUserID
	}
	p.roster.add(person, first)
	return person, nil
}

// newID makes a UUID-shaped id that no generated person has.
func (p *plan) newID() string {
	h := mix(uint64(p.serial) ^ mix(uint64(len(p.name))))
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", uint32(h), p.serial)
}

// edit changes the person of a slot and writes the history.
func (p *plan) edit(s int32, c Change, change func(*Person)) Person {
	var scratch Person
	person := p.roster.at(s, &scratch).clone()
	id := person.PsUserID
	change(&person)
	person.PsUserID = id
	p.roster.put(s, person)
	p.log(c, &person)
	return person.clone()
}

func (p *plan) log(c Change, after *Person) {
	c.Plan, c.PsUserID = p.name, after.PsUserID
	if c.Kind != kindErased {
		c.After = after.clone()
	}
	p.history.add(c)
}

// Kinds of Change.
const (
	kindAdded   = "added"
	kindEdited  = "edited"
	kindRemoved = "removed"
	kindReadded = "readded"
	kindErased  = "erased"
	kindMoved   = "moved"
)

func (p *plan) erase(s int32, c Change) {
	var scratch Person
	person := *p.roster.at(s, &scratch)
	p.roster.erase(s)
	c.Kind = kindErased
	p.log(c, &person)
}

// Counts sums a plan up.
type Counts struct {
	People   int            `json:"people"` // rows of users, the removed included
	Active   int            `json:"active"` // on the account
	Removed  int            `json:"removed"`
	Admins   int            `json:"admins"`
	Invites  int            `json:"invites"`
	Licences map[string]int `json:"licences"` // assigned, by product
	// Pending are deprovision jobs with effects to come; Jobs all of them but dry runs; Applied the removals done.
	Pending int `json:"pending"`
	Jobs    int `json:"jobs"`
	Applied int `json:"applied"`
}

func (p *plan) counts() Counts {
	c := Counts{
		People: p.roster.listed, Removed: p.roster.removed, Active: p.roster.listed - p.roster.removed,
		Admins: len(p.roster.admins), Invites: len(p.invites), Licences: maps.Clone(p.roster.licences),
		Pending: len(p.jobs), Jobs: len(p.jobs) + len(p.done),
	}
	for i := range p.done {
		c.Applied += len(p.done[i].Applied)
	}
	return c
}

// mutate lets a fault change the truth between pages.
func (p *plan) mutate(f *Fault, now time.Time) {
	c := Change{At: now, Cause: "fault " + f.ID}
	for range f.Count {
		switch f.Action {
		case InsertFirst, InsertLast:
			p.arrive(f.Action == InsertFirst, c)
		case EraseFirst:
			if len(p.roster.order) > 0 {
				p.erase(p.roster.order[0], c)
			}
		case RemoveFirst:
			p.removeFirst(c)
		case MoveToEnd, MoveToFront:
			p.shuffle(f.Action == MoveToFront, c)
		}
	}
}

func (p *plan) arrive(first bool, c Change) {
	n := strconv.Itoa(p.serial + 1)
	person, err := p.insert(Person{
		Email: "newcomer." + n + "@" + p.name + ".example.com", FirstName: "Newcomer", LastName: "N" + n,
		StartedOn: c.At, CreatedOn: c.At, ProductIDs: p.productIDs(1),
	}, first)
	if err == nil {
		c.Kind = kindAdded
		p.log(c, &person)
	}
}

func (p *plan) removeFirst(c Change) {
	var scratch Person
	for _, s := range p.roster.order {
		if p.roster.at(s, &scratch).IsOnAccount == Yes {
			c.Kind = kindRemoved
			p.edit(s, c, func(person *Person) { person.remove(removal{at: c.At}) })
			return
		}
	}
}

func (p *plan) shuffle(toFront bool, c Change) {
	if len(p.roster.order) == 0 {
		return
	}
	s := p.roster.order[0]
	if toFront {
		s = p.roster.order[len(p.roster.order)-1]
	}
	p.roster.move(s, toFront)
	var scratch Person
	c.Kind = kindMoved
	p.log(c, p.roster.at(s, &scratch))
}

// team finds a team; one that the plan does not know still has an id and a name.
func (p *plan) team(id string) Team {
	for _, t := range p.teams {
		if t.ID == id {
			return t
		}
	}
	return Team{ID: id, Name: "Team " + id}
}

// lineage lists the teams above a team, nearest first; a cycle ends it.
func (p *plan) lineage(id string) []Team {
	var out []Team
	for t := p.team(id); t.ParentID != "" && len(out) < len(p.teams); {
		t = p.team(t.ParentID)
		out = append(out, t)
	}
	return out
}
