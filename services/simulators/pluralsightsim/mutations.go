package pluralsightsim

import (
	"fmt"
	"slices"
	"strings"
)

// mutations answers each root field of Mutation. They run one at a time, with the plan's state to themselves.
var mutations = map[string]func(*graphQLCall, *selection) *problem{
	"removeUser":    func(g *graphQLCall, s *selection) *problem { return g.removeUser(s, false) },
	"removeLicense": func(g *graphQLCall, s *selection) *problem { return g.removeUser(s, true) },
	"inviteMember":  inviteMember,
	"cancelInvite":  cancelInvite,
	"editUser":      editUser,
	"createUser":    createUser,
}

func (g *graphQLCall) cause(s *selection, kind string) Change {
	return Change{At: g.now, Kind: kind, Cause: fmt.Sprintf("%s request %d", s.name, g.line.Seq)}
}

// target finds the person that an input names.
func (g *graphQLCall) target(input map[string]any) (int32, *problem) {
	id := fmt.Sprint(input["psUserId"])
	slot, ok := g.plan.roster.find(id)
	if !ok {
		return 0, &problem{message: "User not found", code: "NOT_FOUND"}
	}
	return slot, nil
}

func text(input map[string]any, key string) string {
	s, _ := input[key].(string)
	return s
}

// payload writes the only member that most payloads have.
func (g *graphQLCall) payload(s *selection, name, value string) *problem {
	object(&g.enc, s.sub, map[string]func(*encoder, *selection, string){
		name: func(e *encoder, _ *selection, v string) { e.text(v) },
	}, value)
	return nil
}

func (g *graphQLCall) removeUser(s *selection, licenceOnly bool) *problem {
	slot, p := g.target(g.arguments(s).input)
	if p != nil {
		return p
	}
	r := removal{
		at: g.now, licenceOnly: licenceOnly, retainPrivileges: licenceOnly, keepProducts: g.sw.Deprovision.KeepProducts && !licenceOnly,
	}
	after := g.plan.edit(slot, g.cause(s, kindRemoved), func(person *Person) { person.remove(r) })
	return g.payload(s, "psUserId", after.PsUserID)
}

func inviteMember(g *graphQLCall, s *selection) *problem {
	in := g.arguments(s).input
	g.plan.serial++
	v := Invite{
		ID: fmt.Sprintf("invite-%d", g.plan.serial), Email: text(in, "email"), TeamIDs: texts(in, "teamIds"), Note: text(in, "note"),
	}
	if !strings.Contains(v.Email, "@") {
		return &problem{message: "email is not valid", code: "BAD_USER_INPUT"}
	}
	g.plan.invites = append(g.plan.invites, v)
	object(&g.enc, s.sub, map[string]func(*encoder, *selection, Invite){
		"planUserId": func(e *encoder, _ *selection, v Invite) { e.text("pu-" + v.ID) },
		"email":      inviteFields["email"],
		"teamIds":    inviteFields["teamIds"],
		"note":       inviteFields["note"],
	}, v)
	return nil
}

// cancelInvite works only while the invite is outstanding.
func cancelInvite(g *graphQLCall, s *selection) *problem {
	id := fmt.Sprint(g.arguments(s).input["inviteId"])
	i := slices.IndexFunc(g.plan.invites, func(v Invite) bool { return v.ID == id })
	if i < 0 {
		return &problem{message: "Invite not found", code: "NOT_FOUND"}
	}
	g.plan.invites = slices.Delete(slices.Clone(g.plan.invites), i, i+1)
	return g.payload(s, "inviteId", id)
}

func editUser(g *graphQLCall, s *selection) *problem {
	in := g.arguments(s).input
	slot, p := g.target(in)
	if p != nil {
		return p
	}
	after := g.plan.edit(slot, g.cause(s, kindEdited), func(person *Person) { person.apply(in) })
	return g.payload(s, "psUserId", after.PsUserID)
}

// apply changes what the input names. A new primary address demotes the old one to an additional one, unless these are
// to be removed.
func (p *Person) apply(in map[string]any) {
	if v, ok := in["firstName"].(string); ok {
		p.FirstName = v
	}
	if v, ok := in["lastName"].(string); ok {
		p.LastName = v
	}
	if v, ok := in["remoteUserId"].(string); ok {
		p.CurrentSsoIdentifier = v
	}
	if v, ok := in["email"].(string); ok && v != p.Email {
		p.AdditionalEmails = append(p.AdditionalEmails, p.Email)
		p.Email = v
	}
	if drop, _ := in["removeAdditionalEmails"].(bool); drop {
		p.AdditionalEmails = nil
	}
}

func createUser(g *graphQLCall, s *selection) *problem {
	in := g.arguments(s).input
	person, err := g.plan.insert(Person{
		Email: text(in, "email"), FirstName: text(in, "firstName"), LastName: text(in, "lastName"),
		CurrentSsoIdentifier: text(in, "remoteUserId"), StartedOn: g.now, CreatedOn: g.now, ProductIDs: g.plan.productIDs(1),
	}, false)
	if err != nil {
		return &problem{message: err.Error(), code: "BAD_USER_INPUT"}
	}
	g.plan.log(g.cause(s, kindAdded), &person)
	return g.payload(s, "psUserId", person.PsUserID)
}
