package pluralsightsim

import (
	"fmt"
	"slices"
	"time"
)

// Close lets go of every request that is being stalled or delayed, so that a server can shut down.
func (s *Sim) Close() { s.close() }

// Now is the simulator's time: its clock and what Advance added.
func (s *Sim) Now() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.options.Now().Add(s.ahead)
}

// Advance moves the simulator's time ahead and applies what becomes due.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	s.ahead += max(d, 0)
	s.mu.Unlock()
	for _, name := range s.names {
		if p, err := s.plan(name); err == nil {
			p.change(s.Now(), func() {})
		}
	}
}

// Reset takes everything back to the options: people, switches, script, ledger, history, time.
func (s *Sim) Reset() error {
	s.script.clear()
	s.ledger.reset()
	s.history.reset()
	return s.build()
}

// Plans lists the names of the plans.
func (s *Sim) Plans() []string { return slices.Clone(s.names) }

// plan finds a plan; the empty name stands for the only one.
func (s *Sim) plan(name string) (*plan, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if name == "" && len(s.names) == 1 {
		name = s.names[0]
	}
	p := s.plans[name]
	if p == nil {
		return nil, fmt.Errorf("plan %q: %w", name, ErrUnknownPlan)
	}
	return p, nil
}

// SetKey gives a plan another key; the old one is unknown from now on.
func (s *Sim) SetKey(planName, key string) error {
	p, err := s.plan(planName)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[key] != nil || key == "" {
		return fmt.Errorf("key: %w", ErrExists)
	}
	for old, of := range s.byKey {
		if of == p {
			delete(s.byKey, old)
		}
	}
	s.byKey[key] = p
	return nil
}

// Switches returns a plan's switches.
func (s *Sim) Switches(planName string) (Switches, error) {
	p, err := s.plan(planName)
	if err != nil {
		return Switches{}, err
	}
	return p.dialect.Load().Switches, nil
}

// SetSwitches replaces a plan's switches; requests that are on their way keep the old ones.
func (s *Sim) SetSwitches(planName string, sw Switches) error {
	p, err := s.plan(planName)
	if err != nil {
		return err
	}
	p.turning.Lock()
	defer p.turning.Unlock()
	return s.speak(p, sw)
}

// Configure changes a plan's switches in place: the way to turn one and leave the others.
func (s *Sim) Configure(planName string, change func(*Switches)) error {
	p, err := s.plan(planName)
	if err != nil {
		return err
	}
	p.turning.Lock()
	defer p.turning.Unlock()
	sw := p.dialect.Load().Switches
	change(&sw)
	return s.speak(p, sw)
}

// Inject appends faults to the script and returns their ids; none is added when one is not understood.
func (s *Sim) Inject(faults ...Fault) ([]string, error) { return s.script.inject(slices.Clone(faults)) }

// Faults lists the script with what became of it.
func (s *Sim) Faults() []FaultState { return s.script.list() }

// ClearFaults empties the script and begins its tosses anew.
func (s *Sim) ClearFaults() { s.script.clear() }

// Requests lists the ledger in the order of arrival.
func (s *Sim) Requests() []Request { return s.ledger.list() }

// RequestCounts returns how many requests arrived ("/graphql") and how each was answered ("/graphql 200"; status 0 is
// a connection cut). It counts on when the ledger keeps no lines.
func (s *Sim) RequestCounts() map[string]int {
	_, counts := s.ledger.totals()
	return counts
}

// History lists every change of every person, in order.
func (s *Sim) History() []Change { return s.history.list() }

// Counts sums a plan up.
func (s *Sim) Counts(planName string) (Counts, error) {
	var c Counts
	p, err := s.plan(planName)
	if err != nil {
		return c, err
	}
	p.view(s.Now(), func() { c = p.counts() })
	return c, nil
}

// Jobs lists a plan's deprovision jobs that were not dry runs, those with effects to come last.
func (s *Sim) Jobs(planName string) ([]Job, error) {
	var out []Job
	p, err := s.plan(planName)
	if err != nil {
		return nil, err
	}
	p.view(s.Now(), func() {
		out = slices.Clone(p.done)
		for _, j := range p.jobs {
			out = append(out, j.Job)
		}
		for i := range out {
			out[i].People, out[i].Applied = slices.Clone(out[i].People), slices.Clone(out[i].Applied)
		}
	})
	return out, nil
}

// People returns a stretch of a plan's people in order, those without a row in users included; limit 0 is all of them.
func (s *Sim) People(planName string, offset, limit int) ([]Person, error) {
	var out []Person
	p, err := s.plan(planName)
	if err != nil {
		return nil, err
	}
	p.view(s.Now(), func() {
		order := p.roster.order[min(max(offset, 0), len(p.roster.order)):]
		if limit > 0 {
			order = order[:min(limit, len(order))]
		}
		out = p.persons(order)
	})
	return out, nil
}

// Find returns the people with a primary or additional e-mail address, letters' case aside.
func (s *Sim) Find(planName, email string) ([]Person, error) {
	var out []Person
	p, err := s.plan(planName)
	if err != nil {
		return nil, err
	}
	p.view(s.Now(), func() { out = p.persons(p.roster.withEmail(email)) })
	return out, nil
}

func (p *plan) persons(slots []int32) []Person {
	out := make([]Person, 0, len(slots))
	var scratch Person
	for _, slot := range slots {
		out = append(out, p.roster.at(slot, &scratch).clone())
	}
	return out
}

// Person returns one person.
func (s *Sim) Person(planName, psUserID string) (Person, error) {
	var out Person
	err := s.on(planName, psUserID, func(p *plan, slot int32, _ Change) {
		var scratch Person
		out = p.roster.at(slot, &scratch).clone()
	})
	return out, err
}

// on runs fn on a person, alone at the plan's state.
func (s *Sim) on(planName, psUserID string, fn func(*plan, int32, Change)) error {
	p, err := s.plan(planName)
	if err != nil {
		return err
	}
	err = fmt.Errorf("person %s: %w", psUserID, ErrUnknownPerson)
	now := s.Now()
	p.change(now, func() {
		if slot, ok := p.roster.find(psUserID); ok {
			fn(p, slot, Change{At: now, Cause: "control"})
			err = nil
		}
	})
	return err
}

// AddPerson adds a person at the end of the order and returns it with what was filled in: an id and, on the account
// and not NeverLicensed, a startedOn.
func (s *Sim) AddPerson(planName string, person Person) (Person, error) {
	p, err := s.plan(planName)
	if err != nil {
		return Person{}, err
	}
	now := s.Now()
	p.change(now, func() {
		if person.StartedOn.IsZero() && person.IsOnAccount == Yes && !person.NeverLicensed {
			person.StartedOn = now
		}
		if person, err = p.insert(person, false); err == nil {
			p.log(Change{At: now, Kind: kindAdded, Cause: "control"}, &person)
		}
	})
	return person, err
}

// EditPerson changes a person; the psUserId stays.
func (s *Sim) EditPerson(planName, psUserID string, change func(*Person)) error {
	return s.on(planName, psUserID, func(p *plan, slot int32, c Change) {
		c.Kind = kindEdited
		p.edit(slot, c, change)
	})
}

// RemovePerson takes a person off the account, as an administrator of the plan would: kept in the data, licences,
// teams and privileges gone.
func (s *Sim) RemovePerson(planName, psUserID string) error {
	return s.on(planName, psUserID, func(p *plan, slot int32, c Change) {
		c.Kind = kindRemoved
		p.edit(slot, c, func(person *Person) { person.remove(removal{at: c.At}) })
	})
}

// Readd is a re-hire: the same psUserId on the account again, with a new startedOn and the plan's first product.
func (s *Sim) Readd(planName, psUserID string) error {
	return s.on(planName, psUserID, func(p *plan, slot int32, c Change) {
		c.Kind = kindReadded
		p.edit(slot, c, func(person *Person) { person.readd(c.At, p.productIDs(1)) })
	})
}

// ErasePerson deletes a person for good, as for the GDPR: no removal mark stays.
func (s *Sim) ErasePerson(planName, psUserID string) error {
	return s.on(planName, psUserID, func(p *plan, slot int32, c Change) { p.erase(slot, c) })
}

// MovePerson puts a person first or last in the order, which the vendor does not promise to keep.
func (s *Sim) MovePerson(planName, psUserID string, first bool) error {
	return s.on(planName, psUserID, func(p *plan, slot int32, c Change) {
		p.roster.move(slot, first)
		c.Kind = kindMoved
		var scratch Person
		p.log(c, p.roster.at(slot, &scratch))
	})
}
