package pluralsightsim

import "slices"

// queries answers each root field of Query.
var queries = map[string]func(*graphQLCall, *selection) *problem{
	"users":              users,
	"planAdmins":         planAdmins,
	"teams":              teams,
	"teamManagers":       teamManagers,
	"memberInvites":      memberInvites,
	"planInfo":           planInfo,
	"planPermissionSets": planPermissionSets,
}

// listConnection serves a short list, of which a cursor holds an index whatever its kind.
func listConnection[T any](g *graphQLCall, s *selection, all []T, row rowWriter[T]) *problem {
	a := g.arguments(s)
	limit, p := g.limit(&a)
	if p != nil {
		return p
	}
	start, p := g.begin(&a)
	if p != nil {
		return p
	}
	from := int(min(max(start.place, 0), int64(len(all))))
	to := min(from+limit, len(all))
	pg := newPage[T](g, &a, start)
	pg.total, pg.hasNext = len(all), to < len(all)
	for i, v := range all[from:to] {
		pg.entries = append(pg.entries, entry[T]{value: v, place: int64(from + i + 1)})
	}
	pg.close()
	pg.shape(g.hits, &g.sw.Paging)
	connection(g, s, pg, row)
	return nil
}

func planAdmins(g *graphQLCall, s *selection) *problem {
	var scratch Person
	return listConnection(g, s, g.plan.roster.adminSlots(), func(e *encoder, sel []selection, _ int, slot int32) {
		object(e, sel, adminFields, member{g.plan.roster.at(slot, &scratch), g.plan})
	})
}

var adminFields = map[string]func(*encoder, *selection, member){
	"psUserId":             userFields["psUserId"],
	"email":                userFields["email"],
	"firstName":            userFields["firstName"],
	"lastName":             userFields["lastName"],
	"planId":               userFields["planId"],
	"planUserId":           func(e *encoder, _ *selection, m member) { e.text(m.PlanUserID) },
	"currentSsoIdentifier": userFields["currentSsoIdentifier"],
	"createdOn":            userFields["createdOn"],
	"note":                 userFields["note"],
	"userId":               userFields["id"],
}

func teams(g *graphQLCall, s *selection) *problem {
	list := g.plan.teams
	if ids := g.arguments(s).ids; ids != nil {
		list = slices.DeleteFunc(slices.Clone(list), func(t Team) bool { return !slices.Contains(ids, t.ID) })
	}
	return listConnection(g, s, list, func(e *encoder, sel []selection, _ int, t Team) {
		object(e, sel, teamFields, placed{t, g.plan})
	})
}

// manages is one person's management of one team.
type manages struct{ psUserID, teamID string }

func teamManagers(g *graphQLCall, s *selection) *problem {
	var list []manages
	for _, slot := range g.plan.roster.order {
		if p := g.plan.roster.slots[slot].person; p != nil { // generated people manage nothing
			for _, t := range p.ManagerOf {
				list = append(list, manages{p.PsUserID, t})
			}
		}
	}
	return listConnection(g, s, list, func(e *encoder, sel []selection, _ int, m manages) {
		object(e, sel, managerFields, m)
	})
}

var managerFields = map[string]func(*encoder, *selection, manages){
	"psUserId":        func(e *encoder, _ *selection, m manages) { e.text(m.psUserID) },
	"teamId":          func(e *encoder, _ *selection, m manages) { e.id(m.teamID) },
	"permissionSetId": func(e *encoder, _ *selection, _ manages) { e.text(permissionSets[0].id) },
}

func memberInvites(g *graphQLCall, s *selection) *problem {
	return listConnection(g, s, g.plan.invites, func(e *encoder, sel []selection, _ int, v Invite) {
		object(e, sel, inviteFields, v)
	})
}

// inviteFields lacks redeemedByPsUserId: an invite that was redeemed is no longer pending.
var inviteFields = map[string]func(*encoder, *selection, Invite){
	"inviteId": func(e *encoder, _ *selection, v Invite) { e.text(v.ID) },
	"email":    func(e *encoder, _ *selection, v Invite) { e.text(v.Email) },
	"teamIds":  func(e *encoder, _ *selection, v Invite) { e.list(v.TeamIDs, e.string) },
	"note":     func(e *encoder, _ *selection, v Invite) { e.text(v.Note) },
}

// planInfo is an object or a connection of one: which, is not documented.
func planInfo(g *graphQLCall, s *selection) *problem {
	if g.sw.Plan.Info != "connection" {
		object(&g.enc, s.sub, planFields, g)
		return nil
	}
	pg := &page[*graphQLCall]{total: 1, conflict: -1, next: cursor{kind: 'k', page: 2}, entries: []entry[*graphQLCall]{{value: g}}}
	pg.close()
	connection(g, s, pg, func(e *encoder, sel []selection, _ int, g *graphQLCall) { object(e, sel, planFields, g) })
	return nil
}

var planFields = map[string]func(*encoder, *selection, *graphQLCall){
	"planId": func(e *encoder, _ *selection, g *graphQLCall) { e.text(g.plan.name) },
	"name":   func(e *encoder, _ *selection, g *graphQLCall) { e.text("Plan " + g.plan.name) },
	"products": func(e *encoder, s *selection, g *graphQLCall) {
		e.byte('[')
		for i, p := range g.plan.products {
			if i > 0 {
				e.byte(',')
			}
			object(e, s.sub, productFields, g.counted(i, p))
		}
		e.byte(']')
	},
}

type counted struct {
	Product
	assigned int
}

// counted takes pending invites for assigned licences of the first product, as the vendor's web pages do.
func (g *graphQLCall) counted(i int, p Product) counted {
	c := counted{p, g.plan.roster.licences[p.ID]}
	if i == 0 && g.sw.Plan.PendingCounted {
		c.assigned += len(g.plan.invites)
	}
	return c
}

var productFields = map[string]func(*encoder, *selection, counted){
	"id":                    func(e *encoder, _ *selection, c counted) { e.id(c.ID) },
	"name":                  func(e *encoder, _ *selection, c counted) { e.text(c.Name) },
	"purchasedLicenseCount": func(e *encoder, _ *selection, c counted) { e.counter(c.Purchased) },
	"assignedLicenseCount":  func(e *encoder, _ *selection, c counted) { e.counter(c.assigned) },
	"remainingLicenseCount": func(e *encoder, _ *selection, c counted) {
		e.counter(c.Purchased - c.assigned + e.sw.Plan.RemainingOffset)
	},
}

func (e *encoder) counter(n int) {
	if e.sw.Plan.NullCounters {
		e.null()
		return
	}
	e.int(n)
}

type permissionSet struct {
	id, name  string
	isDefault bool
}

var permissionSets = []permissionSet{{"ps-manager", "Team manager", true}, {"ps-viewer", "Viewer", false}}

func planPermissionSets(g *graphQLCall, s *selection) *problem {
	g.enc.byte('[')
	for i, set := range permissionSets {
		if i > 0 {
			g.enc.byte(',')
		}
		object(&g.enc, s.sub, map[string]func(*encoder, *selection, permissionSet){
			"id":        func(e *encoder, _ *selection, p permissionSet) { e.text(p.id) },
			"planId":    func(e *encoder, _ *selection, _ permissionSet) { e.text(g.plan.name) },
			"name":      func(e *encoder, _ *selection, p permissionSet) { e.text(p.name) },
			"isDefault": func(e *encoder, _ *selection, p permissionSet) { e.bool(p.isDefault) },
		}, set)
	}
	g.enc.byte(']')
	return nil
}
