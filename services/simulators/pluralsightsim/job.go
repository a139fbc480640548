package pluralsightsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Job is a deprovision that was accepted for applying.
type Job struct {
	Request  int       `json:"request"` // its line in the ledger
	Received time.Time `json:"received"`
	Due      time.Time `json:"due"`
	Done     bool      `json:"done"`
	People   []string  `json:"people"`  // psUserIds that the file named
	Applied  []string  `json:"applied"` // of these, taken off the account
}

// job is a Job whose effect may be still to come.
type job struct {
	Job
	due     time.Time
	take    []string // of the people, those that the effect will reach
	removal removal
	entry   *DeprovisionCall
}

// open makes the job, and applies it at once when it is due at once. The plan's state is the caller's.
func (p *plan) open(d *deprovisionCall, people []string) {
	sw := &d.sw.Deprovision
	begin := d.now
	if sw.Concurrent == "queue" {
		for _, other := range p.jobs {
			if other.due.After(begin) {
				begin = other.due
			}
		}
	}
	j := &job{
		due: begin.Add(time.Duration(sw.EffectDelay)), take: d.sim.reached(sw.Effect, people, d.line.Seq), entry: d.entry,
		removal: removal{
			licenceOnly: sw.Removes == "licence" || d.flags.keepUsers, keepProducts: sw.KeepProducts, retainPrivileges: d.flags.retain,
		},
	}
	j.Job = Job{Request: d.line.Seq, Received: d.now, Due: j.due, People: people}
	p.jobs = append(p.jobs, j)
	slices.SortStableFunc(p.jobs, func(a, b *job) int { return a.due.Compare(b.due) })
	p.settle(d.now)
}

// reached picks the people whom the effect will reach. The coin is seeded with the request, so a run repeats itself.
func (s *Sim) reached(effect string, people []string, request int) []string {
	switch effect {
	case "none":
		return nil
	case "partial":
		coin := rand.New(rand.NewPCG(s.options.Seed, uint64(request)))
		return slices.DeleteFunc(slices.Clone(people), func(string) bool { return coin.IntN(2) == 0 })
	default:
		return people
	}
}

// settle applies every job that is due by now, each at the moment it was due. Somebody who was re-hired in between is
// taken again: the vendor does not know better either.
func (p *plan) settle(now time.Time) {
	for len(p.jobs) > 0 && !p.jobs[0].due.After(now) {
		j := p.jobs[0]
		p.jobs = p.jobs[1:]
		j.removal.at = j.due
		c := Change{At: j.due, Kind: kindRemoved, Cause: fmt.Sprintf("deprovision request %d", j.Request)}
		for _, id := range j.take {
			if p.removeOne(id, c, j.removal) {
				j.Applied = append(j.Applied, id)
			}
		}
		j.Done = true
		p.done = append(p.done, j.Job)
		p.ledger.update(func() { j.entry.Applied = j.Applied })
	}
}

// removeOne takes a person off the account, unless that has happened or the person is gone.
func (p *plan) removeOne(id string, c Change, r removal) bool {
	s, ok := p.roster.find(id)
	var scratch Person
	if !ok || p.roster.at(s, &scratch).IsOnAccount != Yes {
		return false
	}
	p.edit(s, c, func(person *Person) { person.remove(r) })
	return true
}
