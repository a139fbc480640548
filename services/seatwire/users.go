package seatwire

import (
	"context"
	"flag"
	"slices"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// userRow is one person of the roster as last swept.
type userRow struct {
	PsUserID  string `json:"psUserId"`
	Email     string `json:"email"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	// State is active, removed, or none for an admin who was never licensed.
	State      string     `json:"state"`
	Admin      bool       `json:"admin"`
	Billable   *bool      `json:"billable"`
	Licences   []string   `json:"licences"`
	Teams      []string   `json:"teams"`
	SSOEnabled *bool      `json:"ssoEnabled"`
	MFAEnabled *bool      `json:"mfaEnabled"`
	LastLogin  *time.Time `json:"lastLogin"`
	RemovedOn  *time.Time `json:"removedOn"`
}

func users(ctx context.Context, c *invocation) error {
	email := ""
	return withSession(ctx, c, func(fs *flag.FlagSet) { fs.StringVar(&email, "email", "", "") }, onConnection(func(s *session, name string) error {
		rows, err := readUsers(ctx, s, name, func(p roster.Person) bool {
			return email == "" || roster.FoldEmail(p.Email) == roster.FoldEmail(email)
		})
		if err != nil {
			return err
		}
		return printUsers(c, rows)
	}))
}

// readUsers joins the users and the admins of the last sound sweep. It holds only what wanted keeps.
func readUsers(ctx context.Context, s *session, connectionName string, wanted func(roster.Person) bool) ([]userRow, error) {
	var sweep roster.Sweep
	if _, err := s.state.Get(ctx, roster.SweepKey(connectionName), &sweep); err != nil {
		return nil, err
	}
	if sweep.Sound == nil {
		return nil, plain("%s was never read whole; seatwire sync %s --wait reads it", connectionName, connectionName)
	}
	admins := map[string]roster.Person{}
	for people, err := range roster.Read[roster.Person](ctx, streams.At(s.conn.JS()), *sweep.Sound, roster.Admins) {
		if err != nil {
			return nil, err
		}
		for _, p := range people {
			admins[p.PsUserID] = p
		}
	}
	rows, seen := []userRow{}, map[string]bool{}
	for people, err := range roster.Read[roster.Person](ctx, streams.At(s.conn.JS()), *sweep.Sound, roster.Users) {
		if err != nil {
			return nil, err
		}
		for _, p := range people {
			_, admin := admins[p.PsUserID]
			if admin {
				delete(admins, p.PsUserID)
				seen[p.PsUserID] = true
			}
			if wanted(p) {
				rows = append(rows, rowOf(p, admin || seen[p.PsUserID]))
			}
		}
	}
	for _, p := range admins {
		if wanted(p) {
			row := rowOf(p, true)
			row.State = roster.None
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b userRow) int { return strings.Compare(a.Email+a.PsUserID, b.Email+b.PsUserID) })
	return slices.CompactFunc(rows, func(a, b userRow) bool { return a.PsUserID == b.PsUserID }), nil
}

func rowOf(p roster.Person, admin bool) userRow {
	row := userRow{
		PsUserID: p.PsUserID, Email: p.Email, FirstName: p.FirstName, LastName: p.LastName, State: roster.Active,
		Admin: admin, Billable: p.Billable, Licences: p.Products, Teams: p.Teams, SSOEnabled: p.SSO, MFAEnabled: p.MFA,
		LastLogin: orNull(p.LastLogin), RemovedOn: orNull(p.RemovedOn),
	}
	if p.Disposition == roster.Removed {
		row.State = roster.Removed
	}
	if row.Licences == nil {
		row.Licences = []string{}
	}
	if row.Teams == nil {
		row.Teams = []string{}
	}
	return row
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func printUsers(c *invocation, rows []userRow) error {
	if c.json {
		return printJSON(c.env.Stdout, rows)
	}
	var table [][]any
	for _, r := range rows {
		table = append(table, []any{r.Email, r.FirstName + " " + r.LastName, r.State, yes(&r.Admin), yes(r.Billable), strings.Join(r.Licences, ","), strings.Join(r.Teams, ","), r.PsUserID})
	}
	return printTable(c.env.Stdout, "email\tname\tstate\tadmin\tbillable\tlicences\tteams\tpsUserId", table)
}

// yes prints a flag that may be unknown.
func yes(b *bool) string {
	switch {
	case b == nil:
		return "?"
	case *b:
		return "yes"
	default:
		return "no"
	}
}
