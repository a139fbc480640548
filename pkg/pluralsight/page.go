package pluralsight

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight/internal/wire"
)

// connection is what the pages of users and of admins have in common.
type connection[N any] struct {
	total *int
	nodes []*N
	info  *wire.PageFields
}

// check returns the page's frame, or why this cannot be a page. An answer that fails here comes back the same, so all
// of these are permanent: the sweep fails, and nobody is taken for gone.
func (c connection[N]) check(id func(*N) *wire.ID) (Page, error) {
	switch {
	case c.nodes == nil:
		return Page{}, fault.New(fault.Permanent, "missing-nodes", "the page has no list of people")
	case c.info == nil:
		return Page{}, fault.New(fault.Permanent, "missing-page-info", "the page does not say whether there are more")
	case c.info.HasNextPage == nil:
		return Page{}, fault.New(fault.Permanent, "missing-has-next-page", "the page does not say whether there are more")
	case c.total == nil || *c.total < 0:
		return Page{}, fault.New(fault.Permanent, "missing-total-count", "the page does not say how many people there are")
	}
	p := Page{TotalCount: *c.total, HasNext: *c.info.HasNextPage, EndCursor: value(c.info.EndCursor)}
	switch {
	case p.HasNext && len(c.nodes) == 0:
		return Page{}, fault.New(fault.Permanent, "empty-page", "a page that is not the last one is empty")
	case p.HasNext && p.EndCursor == "":
		return Page{}, fault.New(fault.Permanent, "null-cursor", "there are more pages but no cursor leads to them")
	}
	for i, n := range c.nodes {
		if n == nil {
			return Page{}, fault.New(fault.Permanent, "null-node", "person %d of the page is null", i+1)
		}
		if p := id(n); p == nil || strings.TrimSpace(string(*p)) == "" {
			return Page{}, fault.New(fault.Permanent, "missing-id", "person %d of the page has no psUserId", i+1)
		}
	}
	return p, nil
}

func noRoot(name string) error {
	return fault.New(fault.Permanent, "no-data", "the answer's %s is null", name)
}

// userPage judges and converts one page. asked is the page size, cut what was not selected.
func userPage(data *wire.UsersPageResponse, asked int, cut fieldSet, warnings []json.RawMessage) (UserPage, error) {
	if data.Users == nil {
		return UserPage{}, noRoot("users")
	}
	conn := connection[wire.UserFields]{data.Users.TotalCount, data.Users.Nodes, data.Users.PageInfo}
	frame, err := conn.check((*wire.UserFields).GetPsUserId)
	if err != nil {
		return UserPage{}, err
	}
	page := UserPage{Page: frame, Users: make([]User, 0, len(conn.nodes))}
	var odd oddDates
	for _, n := range conn.nodes {
		page.Users = append(page.Users, user(n, cut, &odd))
	}
	page.finish(asked, len(page.Users), warnings)
	for _, name := range cut.names() {
		page.warn(WarnDegraded, "%s could not be asked for", name)
	}
	if odd > 0 {
		page.warn(WarnOddDate, "%d dates count as null", int(odd))
	}
	return page, nil
}

func adminPage(data *wire.PlanAdminsPageResponse, asked int, warnings []json.RawMessage) (AdminPage, error) {
	if data.PlanAdmins == nil {
		return AdminPage{}, noRoot("planAdmins")
	}
	conn := connection[wire.AdminFields]{data.PlanAdmins.TotalCount, data.PlanAdmins.Nodes, data.PlanAdmins.PageInfo}
	frame, err := conn.check((*wire.AdminFields).GetPsUserId)
	if err != nil {
		return AdminPage{}, err
	}
	page := AdminPage{Page: frame, Admins: make([]Admin, 0, len(conn.nodes))}
	for _, n := range conn.nodes {
		page.Admins = append(page.Admins, admin(n))
	}
	page.finish(asked, len(page.Admins), warnings)
	return page, nil
}

// finish adds what the answer warned of, and what it should have warned of.
func (p *Page) finish(asked, got int, warnings []json.RawMessage) {
	p.Asked = asked
	reduced := false
	for _, raw := range warnings {
		w := warning(raw)
		reduced = reduced || strings.HasPrefix(w, WarnPageReduced)
		p.Warnings = append(p.Warnings, w)
	}
	if p.HasNext && got < asked && !reduced {
		p.warn(WarnPageShort, "%d people of %d asked for, and more to come", got, asked)
	}
}

func (p *Page) warn(token, format string, args ...any) {
	p.Warnings = append(p.Warnings, token+": "+fmt.Sprintf(format, args...))
}

func user(n *wire.UserFields, cut fieldSet, odd *oddDates) User {
	return User{
		PsUserID:             strings.TrimSpace(string(*n.PsUserId)),
		Email:                value(n.Email),
		AdditionalEmails:     present(n.AdditionalEmails),
		FirstName:            value(n.FirstName),
		LastName:             value(n.LastName),
		CurrentSSOIdentifier: value(n.CurrentSsoIdentifier),
		StartedOn:            odd.read(n.StartedOn),
		CreatedOn:            odd.read(n.CreatedOn),
		RemovedOn:            odd.read(n.RemovedOn),
		LastLogin:            odd.read(n.LastLogin),
		OnAccount:            n.IsOnAccount,
		SSOEnabled:           n.SsoEnabled,
		MFAEnabled:           n.MfaEnabled,
		ProductIDs:           ids(n.ProductIds),
		ProductsKnown:        !cut.has(productIDs),
		Teams:                userTeams(n.Teams),
	}
}

func admin(n *wire.AdminFields) Admin {
	return Admin{
		PsUserID:             strings.TrimSpace(string(*n.PsUserId)),
		Email:                value(n.Email),
		FirstName:            value(n.FirstName),
		LastName:             value(n.LastName),
		CurrentSSOIdentifier: value(n.CurrentSsoIdentifier),
	}
}

// userTeams leaves out what names no team: teams are informative, and no reason to refuse a page.
func userTeams(c *wire.UserFieldsTeamsTeamUserConnection) []Team {
	if c == nil {
		return nil
	}
	var out []Team
	for _, e := range c.Edges {
		if e != nil && e.Node != nil && e.Node.Id != nil {
			out = append(out, Team{ID: string(*e.Node.Id), Name: value(e.Node.Name), Direct: e.IsDirect != nil && *e.IsDirect})
		}
	}
	return out
}

func plan(p *wire.PlanInfoPlanInfo) Plan {
	out := Plan{PlanID: value(p.PlanId), Name: value(p.Name)}
	for _, n := range p.Products {
		if n != nil {
			out.Products = append(out.Products, Product{
				ID:        string(value(n.Id)),
				Name:      value(n.Name),
				Purchased: n.PurchasedLicenseCount,
				Assigned:  n.AssignedLicenseCount,
				Remaining: n.RemainingLicenseCount,
			})
		}
	}
	return out
}

// oddDates counts the dates that could not be read.
type oddDates int

func (o *oddDates) read(d *wire.DateTime) time.Time {
	if d == nil {
		return time.Time{}
	}
	if d.Odd {
		*o++
	}
	return d.Time
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func present(list []*string) []string {
	var out []string
	for _, s := range list {
		if s != nil && *s != "" {
			out = append(out, *s)
		}
	}
	return out
}

func ids(list []wire.ID) []string {
	var out []string
	for _, id := range list {
		if id != "" {
			out = append(out, string(id))
		}
	}
	return out
}
