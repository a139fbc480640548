package pluralsightsim

import (
	"slices"
	"sort"
	"strconv"
	"strings"
)

// users answers the query that everything else hangs on.
func users(g *graphQLCall, s *selection) *problem {
	a := g.arguments(s)
	limit, p := g.limit(&a)
	if p != nil {
		return p
	}
	start, p := g.begin(&a)
	if p != nil {
		return p
	}
	pg := newPage[int32](g, &a, start)
	if a.emails == nil {
		pg.total = g.listed()
		g.read(pg, g.plan.roster.order, start, limit)
	} else {
		matched := g.matching(a.emails)
		pg.total = len(matched)
		g.read(pg, matched, start, limit)
	}
	pg.close()
	pg.shape(g.hits, &g.sw.Paging)
	var scratch Person
	connection(g, s, pg, func(e *encoder, sel []selection, i int, slot int32) {
		person := g.plan.roster.at(slot, &scratch)
		switch {
		case i == pg.conflict:
			other := contradiction(person)
			person = &other
		case i == 0 && pg.noID:
			other := *person
			other.PsUserID = ""
			person = &other
		}
		object(e, sel, userFields, member{person, g.plan})
	})
	return nil
}

// member is a person in a plan.
type member struct {
	*Person
	plan *plan
}

// contradiction is the same user with other data.
func contradiction(p *Person) Person {
	c := *p
	c.FirstName += " II"
	c.Email = "other." + p.Email
	return c
}

// listed counts the rows of users.
func (g *graphQLCall) listed() int {
	if g.sw.Users.Removed == "dropped" {
		return g.plan.roster.listed - g.plan.roster.removed
	}
	return g.plan.roster.listed
}

// visible tells whether a slot is a row of users.
func (g *graphQLCall) visible(s int32) bool {
	dropRemoved := g.sw.Users.Removed == "dropped"
	if p := g.plan.roster.slots[s].person; p != nil {
		return !p.NeverLicensed && (!dropRemoved || p.IsOnAccount == Yes)
	}
	return !dropRemoved || !g.plan.roster.gen.removed(int(s))
}

// matching returns the people that a filter names, in the plan's order, nobody twice.
func (g *graphQLCall) matching(emails []string) []int32 {
	var out []int32
	var scratch Person
	for _, email := range emails {
		for _, s := range g.plan.roster.withEmail(email) {
			if g.visible(s) && g.filterMatches(g.plan.roster.at(s, &scratch), email) {
				out = append(out, s)
			}
		}
	}
	out = g.plan.roster.inOrder(out, -1)
	return slices.Compact(out)
}

func (g *graphQLCall) filterMatches(p *Person, email string) bool {
	equal := strings.EqualFold
	if g.sw.Users.EmailFilter == "exact" {
		equal = func(a, b string) bool { return a == b }
	}
	return equal(p.Email, email) || g.sw.Users.FilterAdditional &&
		slices.ContainsFunc(p.AdditionalEmails, func(x string) bool { return equal(x, email) })
}

// read fills the page with the visible people of source that come after start.
func (g *graphQLCall) read(pg *page[int32], source []int32, start cursor, limit int) {
	slots := g.plan.roster.slots
	from, skip := 0, int64(0)
	if start.kind == 'k' {
		from = sort.Search(len(source), func(i int) bool { return slots[source[i]].rank > start.place })
	} else {
		skip = start.place
	}
	pg.entries = make([]entry[int32], 0, min(limit, len(source)-from)+1) // one more, should a node be doubled
	seen := int64(0)
	for _, s := range source[from:] {
		if !g.visible(s) {
			continue
		}
		if seen++; seen <= skip {
			continue
		}
		if len(pg.entries) == limit {
			pg.hasNext = true
			return
		}
		place := slots[s].rank
		if start.kind == 'o' {
			place = seen
		}
		pg.entries = append(pg.entries, entry[int32]{value: s, place: place})
	}
}

// userFields writes each field of User.
var userFields = map[string]func(*encoder, *selection, member){
	"psUserId":             func(e *encoder, _ *selection, m member) { e.text(m.PsUserID) },
	"id":                   func(e *encoder, _ *selection, m member) { e.text(m.LegacyID) },
	"email":                func(e *encoder, _ *selection, m member) { e.text(m.Email) },
	"additionalEmails":     func(e *encoder, _ *selection, m member) { e.list(m.AdditionalEmails, e.string) },
	"firstName":            func(e *encoder, _ *selection, m member) { e.text(m.FirstName) },
	"lastName":             func(e *encoder, _ *selection, m member) { e.text(m.LastName) },
	"startedOn":            func(e *encoder, _ *selection, m member) { e.time(m.StartedOn) },
	"createdOn":            func(e *encoder, _ *selection, m member) { e.time(m.CreatedOn) },
	"note":                 func(e *encoder, _ *selection, m member) { e.text(m.Note) },
	"team":                 func(e *encoder, s *selection, m member) { m.firstTeam(e, s) },
	"teams":                func(e *encoder, s *selection, m member) { m.teamEdges(e, s) },
	"teamNames":            func(e *encoder, _ *selection, m member) { m.teamNames(e) },
	"isOnAccount":          func(e *encoder, _ *selection, m member) { e.raw(m.IsOnAccount.literal()) },
	"removedOn":            func(e *encoder, _ *selection, m member) { e.time(m.RemovedOn) },
	"lastLogin":            func(e *encoder, _ *selection, m member) { e.time(m.LastLogin) },
	"ssoIdentifiers":       func(e *encoder, _ *selection, m member) { e.list(m.SsoIdentifiers, e.string) },
	"currentSsoIdentifier": func(e *encoder, _ *selection, m member) { e.text(m.CurrentSsoIdentifier) },
	"ssoEnabled":           func(e *encoder, _ *selection, m member) { e.bool(m.SsoEnabled) },
	"planId":               func(e *encoder, _ *selection, m member) { e.text(m.plan.name) },
	"mfaEnabled":           func(e *encoder, _ *selection, m member) { e.bool(m.MfaEnabled) },
	"productIds":           func(e *encoder, _ *selection, m member) { m.products(e) },
}

func (m member) products(e *encoder) {
	if len(m.ProductIDs) == 0 && e.sw.Users.NoProducts == "null" {
		e.null()
		return
	}
	e.list(m.ProductIDs, e.id)
}

// seat is a team that a person sits in, or one above it.
type seat struct {
	Team
	direct bool
}

func (m member) seats(e *encoder) []seat {
	var out []seat
	for _, id := range m.Teams {
		out = append(out, seat{m.plan.team(id), true})
	}
	for i := range e.sw.Users.ExtraTeams {
		n := strconv.Itoa(i + 1)
		out = append(out, seat{Team{ID: "9" + n, Name: "Extra team " + n}, true})
	}
	if !e.sw.Users.AncestorTeams {
		return out
	}
	for _, id := range m.Teams {
		for _, above := range m.plan.lineage(id) {
			if !slices.ContainsFunc(out, func(s seat) bool { return s.ID == above.ID }) {
				out = append(out, seat{above, false})
			}
		}
	}
	return out
}

func (m member) firstTeam(e *encoder, s *selection) {
	if len(m.Teams) == 0 {
		e.null()
		return
	}
	object(e, s.sub, teamFields, placed{m.plan.team(m.Teams[0]), m.plan})
}

func (m member) teamNames(e *encoder) {
	var names []string
	for _, id := range m.Teams {
		names = append(names, m.plan.team(id).Name)
	}
	e.list(names, e.string)
}

func (m member) teamEdges(e *encoder, s *selection) {
	if e.sw.Users.NullTeams {
		e.null()
		return
	}
	object(e, s.sub, teamUserFields, m)
}

var teamUserFields = map[string]func(*encoder, *selection, member){
	"edges": func(e *encoder, s *selection, m member) {
		e.byte('[')
		for i, seat := range m.seats(e) {
			if i > 0 {
				e.byte(',')
			}
			object(e, s.sub, teamUserEdgeFields, seated{seat, m.plan})
		}
		e.byte(']')
	},
}

type seated struct {
	seat
	plan *plan
}

var teamUserEdgeFields = map[string]func(*encoder, *selection, seated){
	"isDirect": func(e *encoder, _ *selection, s seated) { e.bool(s.direct) },
	"node":     func(e *encoder, sel *selection, s seated) { object(e, sel.sub, teamFields, placed{s.Team, s.plan}) },
}

// placed is a team in its plan.
type placed struct {
	Team
	plan *plan
}

var teamFields = map[string]func(*encoder, *selection, placed){
	"id":           func(e *encoder, _ *selection, t placed) { e.id(t.ID) },
	"name":         func(e *encoder, _ *selection, t placed) { e.text(t.Name) },
	"description":  func(e *encoder, _ *selection, t placed) { e.text(t.Description) },
	"planId":       func(e *encoder, _ *selection, t placed) { e.text(t.plan.name) },
	"parentTeamId": func(e *encoder, _ *selection, t placed) { e.id(t.ParentID) },
}
