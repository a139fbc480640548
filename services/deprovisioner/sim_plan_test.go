package deprovisioner

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// simPlan is the model of a plan at Pluralsight: people, admins, files being worked on, and moods.
type simPlan struct {
	w     *world
	ids   []string // in a fixed order
	users map[string]*simUser
	// lag is how long after a change reads still show what was before.
	lag time.Duration
	// jobs are files that Pluralsight has taken and not carried out.
	jobs    []job
	healthy bool
	// blind: the last look-up forgot somebody. It never does twice in a row.
	blind bool
	// dryRan are the files that a dry run accepted, by SHA-256.
	dryRan map[string]bool
}

// simUser is one person's truth, and what it was before the last change.
type simUser struct {
	pluralsight.User
	before   pluralsight.User
	changed  time.Time
	admin    bool
	poisoned bool // validation refuses the row
	deleted  bool // Pluralsight does not know the person any more
	// generation counts licences; removals are those of this generation by a file of ours.
	generation, removals int
}

type job struct {
	at     time.Time
	people []*simUser
	of     []int // generations
}

const samePlace = "same@corp.example"

func newSimPlan(w *world, people int) *simPlan {
	p := &simPlan{w: w, users: map[string]*simUser{}, dryRan: map[string]bool{}, lag: time.Duration(w.Intn("lag", 4)) * time.Second}
	for n := range people {
		p.hire(n)
	}
	return p
}

func (p *simPlan) hire(n int) {
	on := true
	u := &simUser{User: pluralsight.User{
		PsUserID: "u" + strconv.Itoa(n), Email: fmt.Sprintf("p%d@corp.example", n), OnAccount: &on,
		StartedOn: p.w.now.Add(-1000 * time.Hour), FirstName: "F", LastName: "L",
	}}
	switch p.w.Intn("kind", 12) {
	case 0:
		u.admin = true
	case 1:
		u.CurrentSSOIdentifier = "shared"
	case 2:
		u.CurrentSSOIdentifier = "sso-" + u.PsUserID
	case 3:
		u.AdditionalEmails = []string{"boss@corp.example"}
	case 4:
		off := false
		u.OnAccount, u.RemovedOn = &off, p.w.now.Add(-time.Hour)
	case 5:
		u.Email = samePlace
	case 6:
		u.Email = "a,b@corp.example"
	case 7:
		u.poisoned = true
	}
	p.ids = append(p.ids, u.PsUserID)
	u.before = u.User
	p.users[u.PsUserID] = u
}

// change alters somebody's truth; reads show it after the lag.
func (p *simPlan) change(u *simUser, alter func(*simUser)) {
	u.before, u.changed = p.shown(u), p.w.now
	alter(u)
}

// shown is the person as reads show them now.
func (p *simPlan) shown(u *simUser) pluralsight.User {
	if !u.changed.IsZero() && p.w.now.Sub(u.changed) < p.lag {
		return u.before
	}
	return u.User
}

func (p *simPlan) everybody() (users []pluralsight.User) {
	for _, id := range p.ids {
		if u := p.users[id]; !u.deleted {
			users = append(users, p.shown(u))
		}
	}
	return users
}

// trouble is a call that brings nothing, now and then.
func (p *simPlan) trouble(what string) error {
	if p.healthy || p.w.Intn(what+" fails", 9) > 0 {
		return nil
	}
	return fault.New(fault.Transient, "timeout", "no answer")
}

// Lookup implements Pluralsight.
func (p *simPlan) Lookup(_ context.Context, emails []string) (found []pluralsight.User, err error) {
	if err := p.trouble("look-up"); err != nil {
		return nil, err
	}
	for _, u := range p.everybody() {
		if slices.ContainsFunc(emails, func(e string) bool { return strings.EqualFold(e, u.Email) }) {
			found = append(found, u)
		}
	}
	if p.blind = !p.blind && !p.healthy && p.w.reading && len(found) > 0 && p.w.Intn("blind", 12) == 0; p.blind {
		found = found[1:]
	}
	return found, nil
}

// Users implements Pluralsight, with pages of four.
func (p *simPlan) Users(_ context.Context, after string) (page pluralsight.UserPage, err error) {
	if err := p.trouble("users"); err != nil {
		return page, err
	}
	all := p.everybody()
	from, _ := strconv.Atoi(after)
	to := min(len(all), from+4)
	page.Users = all[min(from, to):to]
	page.HasNext, page.EndCursor = to < len(all), strconv.Itoa(to)
	return page, nil
}

// Admins implements Pluralsight.
func (p *simPlan) Admins(context.Context, string) (page pluralsight.AdminPage, err error) {
	if err := p.trouble("admins"); err != nil {
		return page, err
	}
	for _, id := range p.ids {
		if u := p.users[id]; u.admin {
			page.Admins = append(page.Admins, pluralsight.Admin{PsUserID: id, Email: u.Email})
		}
	}
	return page, nil
}

// Deprovision implements Pluralsight.
func (p *simPlan) Deprovision(_ context.Context, o pluralsight.Order) (pluralsight.Answer, error) {
	rows, err := pluralsight.ReadCSV(o.CSV())
	if err != nil {
		simulation.Violated("I-20", "a file that Pluralsight cannot read: %v", err)
	}
	if !o.Armed() {
		return p.dryRun(o, rows)
	}
	p.w.judgeFile(o, rows)
	return p.apply(rows)
}

func (p *simPlan) dryRun(o pluralsight.Order, rows []pluralsight.Row) (pluralsight.Answer, error) {
	if err := p.trouble("dry run"); err != nil {
		return pluralsight.Answer{}, err
	}
	for _, row := range rows {
		for _, u := range p.meant(row) {
			if u.poisoned {
				return pluralsight.Answer{HTTP: 400, Status: pluralsight.ValidationErrors}, nil
			}
		}
	}
	p.dryRan[o.SHA256()] = true
	return pluralsight.Answer{HTTP: 200, Status: pluralsight.Successful}, nil
}

// meant is whom a row hits: whoever has its identifier, and if nobody has, its address.
func (p *simPlan) meant(row pluralsight.Row) (hit []*simUser) {
	for _, matches := range []func(u *simUser) bool{
		func(u *simUser) bool { return u.CurrentSSOIdentifier == row.ID || u.PsUserID == row.ID },
		func(u *simUser) bool { return strings.EqualFold(u.Email, row.Email) },
	} {
		for _, id := range p.ids {
			if u := p.users[id]; !u.deleted && matches(u) {
				hit = append(hit, u)
			}
		}
		if len(hit) > 0 {
			return hit
		}
	}
	return nil
}

// apply carries a file out in some mood: whole, in part, later, never, with a true answer or another.
func (p *simPlan) apply(rows []pluralsight.Row) (pluralsight.Answer, error) {
	var all []*simUser
	for _, row := range rows {
		all = append(all, p.meant(row)...)
	}
	answer := pluralsight.Answer{HTTP: 200, Status: pluralsight.Successful}
	if p.healthy || p.w.Intn("mood", 5) > 1 {
		p.remove(all)
		return answer, nil
	}
	some := all[:p.w.Intn("applied", len(all)+1)]
	unknown := fault.New(fault.Unknown, "no-answer", "lost")
	switch p.w.Intn("how", 13) {
	case 0: // lost, after applying or before
		p.remove(some)
		return pluralsight.Answer{}, unknown
	case 1: // lost, and carried out while we would still have waited
		p.later(all, time.Duration(p.w.Intn("seconds", 5))*time.Second)
		return pluralsight.Answer{}, unknown
	case 2, 10:
		p.remove(some)
		return pluralsight.Answer{HTTP: 400, Status: pluralsight.CompletedWithErrors}, nil
	case 3: // ends later, for some or all, or never
		p.later(some, time.Duration(1+p.w.Intn("seconds", 600))*time.Second)
		return pluralsight.Answer{HTTP: 200, Status: pluralsight.Processing}, nil
	case 4:
		p.remove(some)
		return pluralsight.Answer{HTTP: 502, Status: pluralsight.Other}, unknown
	case 5:
		return pluralsight.Answer{}, p.w.untaken(fault.New(fault.Transient, "not-sent", "no connection"))
	case 6, 11, 12: // it says so, and did it in part
		p.remove(some)
		return answer, nil
	case 7:
		return pluralsight.Answer{HTTP: 429, Status: pluralsight.Other}, p.w.untaken(fault.New(fault.Throttled, "rate-limited", "later").After(3 * time.Second))
	case 8:
		return pluralsight.Answer{HTTP: 403, Status: pluralsight.Other}, fault.New(fault.Permanent, "forbidden", "no")
	default:
		p.remove(some)
		return pluralsight.Answer{HTTP: 200, Status: pluralsight.Other}, fault.New(fault.Unknown, "unreadable-answer", "?")
	}
}

// remove takes licences back because of a file of ours.
func (p *simPlan) remove(people []*simUser) {
	for _, u := range people {
		if offAccount(u.User) || u.poisoned || u.deleted {
			continue
		}
		u.removals++
		p.w.judgeRemoval(u)
		p.lose(u)
		p.w.note("removed", u.PsUserID)
	}
}

// lose ends a licence, in whatever way.
func (p *simPlan) lose(u *simUser) {
	off := false
	p.change(u, func(u *simUser) { u.OnAccount, u.RemovedOn = &off, p.w.now })
}

func (p *simPlan) later(people []*simUser, d time.Duration) {
	j := job{at: p.w.now.Add(d), people: people}
	for _, u := range people {
		j.of = append(j.of, u.generation)
	}
	p.jobs = append(p.jobs, j)
	slices.SortStableFunc(p.jobs, func(a, b job) int { return a.at.Compare(b.at) })
}

// work carries out the files whose time has come, for whoever was not licensed again since.
func (p *simPlan) work() {
	for len(p.jobs) > 0 && !p.jobs[0].at.After(p.w.now) {
		j := p.jobs[0]
		p.jobs = p.jobs[1:]
		for n, u := range j.people {
			if u.generation == j.of[n] {
				p.remove([]*simUser{u})
			}
		}
	}
}

// meddle changes somebody behind our back.
func (p *simPlan) meddle() {
	u := p.users[p.ids[p.w.Intn("victim", len(p.ids))]]
	switch p.w.Intn("meddle", 5) {
	case 0:
		u.admin = true
	case 1:
		p.change(u, func(u *simUser) { u.Email = "new-" + u.Email })
	case 2:
		if !offAccount(u.User) {
			p.lose(u)
		}
	case 3:
		u.deleted = true
	default:
		if offAccount(u.User) && !u.deleted {
			on := true
			u.generation++
			u.removals = 0
			p.change(u, func(u *simUser) { u.OnAccount, u.RemovedOn, u.StartedOn = &on, time.Time{}, p.w.now })
		}
	}
	p.w.note("meddled", u.PsUserID, u.Email)
}
