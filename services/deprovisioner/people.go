package deprovisioner

import (
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/roster"
)

// people is one fresh look at the plan: the users that were asked for, and every admin.
type people struct {
	readAt time.Time
	byID   map[string]pluralsight.User
	// primary and additional hold psUserIds by folded address. More than one is ambiguous.
	primary    map[string][]string
	additional map[string][]string
	// sso counts identifiers, whatever their case: one that two people share is no identifier.
	sso         map[string]int
	adminIDs    map[string]bool
	adminEmails map[string]bool
}

func newPeople(users []pluralsight.User, admins []pluralsight.Admin, readAt time.Time) *people {
	p := &people{
		readAt: readAt, byID: map[string]pluralsight.User{}, sso: map[string]int{},
		primary: map[string][]string{}, additional: map[string][]string{},
		adminIDs: map[string]bool{}, adminEmails: map[string]bool{},
	}
	for _, u := range users {
		p.add(u)
	}
	for _, a := range admins {
		p.adminIDs[a.PsUserID] = true
		if a.Email != "" {
			p.adminEmails[roster.FoldEmail(a.Email)] = true
		}
	}
	return p
}

// add takes a user in once, however many filters found it.
func (p *people) add(u pluralsight.User) {
	if _, known := p.byID[u.PsUserID]; known {
		return
	}
	p.byID[u.PsUserID] = u
	if u.CurrentSSOIdentifier != "" {
		p.sso[pluralsight.Fold(u.CurrentSSOIdentifier)]++
	}
	if u.Email != "" {
		p.primary[roster.FoldEmail(u.Email)] = append(p.primary[roster.FoldEmail(u.Email)], u.PsUserID)
	}
	for _, address := range u.AdditionalEmails {
		if address != "" {
			p.additional[roster.FoldEmail(address)] = append(p.additional[roster.FoldEmail(address)], u.PsUserID)
		}
	}
}

// knows reports whether the request's own words find anybody. What they do not find is looked for in the whole plan.
func (p *people) knows(r deprovision.Request) bool {
	if r.PsUserID != "" {
		if _, ok := p.byID[r.PsUserID]; ok {
			return true
		}
	}
	folded := roster.FoldEmail(r.Email)
	return r.Email != "" && len(p.primary[folded])+len(p.additional[folded]) > 0
}

// judgement is what one look at the plan says about one request: an outcome that ends it, or the person to remove.
type judgement struct {
	outcome  string
	reason   string
	person   string
	evidence events.Evidence
	user     pluralsight.User
}

func refuse(reason string) judgement {
	return judgement{outcome: deprovision.OutcomeRejected, reason: reason}
}

// judge says whom a request means and whether that person's licence may be taken. Every doubt is a refusal.
func (p *people) judge(r deprovision.Request, rules rules) judgement {
	if rules.ProtectAdmins && (p.adminIDs[r.PsUserID] || r.Email != "" && p.adminEmails[roster.FoldEmail(r.Email)]) {
		return refuse(deprovision.ReasonAdmin)
	}
	u, reason := p.find(r)
	if reason != "" {
		return refuse(reason)
	}
	j := judgement{person: u.PsUserID, user: u, evidence: evidenceOf(u, p.readAt)}
	switch addresses := append([]string{u.Email, r.Email}, u.AdditionalEmails...); {
	case rules.ProtectAdmins && (p.adminIDs[u.PsUserID] || u.Email != "" && p.adminEmails[roster.FoldEmail(u.Email)]):
		j.outcome, j.reason = deprovision.OutcomeRejected, deprovision.ReasonAdmin
	case rules.protected(addresses...):
		j.outcome, j.reason = deprovision.OutcomeRejected, deprovision.ReasonProtected
	case offAccount(u):
		j.outcome = deprovision.OutcomeAlreadyRemoved
	case u.StartedOn.After(r.Time):
		// Licensed again since the event was made: the newer fact wins.
		j.outcome, j.reason = deprovision.OutcomeRejected, deprovision.ReasonStale
	}
	return j
}

// find resolves the request's words to one user, or says why not.
func (p *people) find(r deprovision.Request) (pluralsight.User, string) {
	byEmail := ""
	if r.Email != "" {
		folded := roster.FoldEmail(r.Email)
		matches := p.primary[folded]
		if len(matches) == 0 {
			matches = p.additional[folded]
		}
		if len(matches) > 1 {
			return pluralsight.User{}, deprovision.ReasonAmbiguousUser
		}
		if len(matches) == 1 {
			byEmail = matches[0]
		}
	}
	switch _, known := p.byID[r.PsUserID]; {
	case r.PsUserID != "" && byEmail != "" && byEmail != r.PsUserID:
		return pluralsight.User{}, deprovision.ReasonAmbiguousUser
	case r.PsUserID != "" && known:
		return p.byID[r.PsUserID], ""
	case byEmail != "" && r.PsUserID == "":
		return p.byID[byEmail], ""
	default:
		return pluralsight.User{}, deprovision.ReasonUnknownUser
	}
}

// row is what the CSV says about a person. Matching at Pluralsight goes by SSO identifier, then by address, so an
// identifier that somebody shares, or an address that does, would hit somebody else.
func (p *people) row(u pluralsight.User) (deprovision.Row, string) {
	row := deprovision.Row{PsUserID: u.PsUserID, ID: u.PsUserID, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName}
	if u.CurrentSSOIdentifier != "" && p.sso[pluralsight.Fold(u.CurrentSSOIdentifier)] == 1 {
		row.ID = u.CurrentSSOIdentifier
	}
	if len(p.primary[roster.FoldEmail(u.Email)]) > 1 {
		return row, deprovision.ReasonAmbiguousUser
	}
	if row.Email == "" || !safe(row.Email) || !safe(row.ID) {
		return row, deprovision.ReasonInvalid
	}
	return row, ""
}

// offAccount reports whether the user holds no licence. Null with a date of removal counts as gone; null without one
// is not known, and not known is not gone.
func offAccount(u pluralsight.User) bool {
	if u.OnAccount != nil {
		return !*u.OnAccount
	}
	return !u.RemovedOn.IsZero()
}

func evidenceOf(u pluralsight.User, readAt time.Time) events.Evidence {
	on := !offAccount(u)
	e := events.Evidence{IsOnAccount: &on, ReadAt: &readAt}
	if !u.RemovedOn.IsZero() {
		removed := u.RemovedOn.UTC()
		e.RemovedOn = &removed
	}
	return e
}
