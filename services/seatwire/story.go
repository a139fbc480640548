package seatwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// story is the demo's plot. Every figure it prints is compared with the simulators' own books before it is believed.
type story struct {
	*theatre
	c       *invocation
	began   time.Time
	checked int
}

func newStory(t *theatre, c *invocation) *story { return &story{theatre: t, c: c, began: time.Now()} }

// tell plays the scenes in order; the first figure that is wrong ends it.
func (s *story) tell(ctx context.Context) error {
	s.say("Seatwire demo: %d people at Pluralsight, nobody at Productiv yet.", s.people)
	scenes := []func(context.Context) error{
		s.freshStart, s.firstSync, s.nothingNew, s.peopleComeAndGo, s.brokenReading, s.massShrink, s.released,
		s.secondAct,
	}
	for _, scene := range scenes {
		if err := scene(ctx); err != nil {
			return err
		}
	}
	s.say("\nThe end after %s: %d figures, each equal to what the simulators recorded.", time.Since(s.began).Round(time.Millisecond), s.checked)
	return nil
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.c.env.Stdout, format+"\n", args...) }

// expect compares one figure of ours with one of theirs.
func (s *story) expect(what string, ours, theirs int) error {
	if ours != theirs {
		return plain("%s: Seatwire says %d, the simulators say %d", what, ours, theirs)
	}
	s.checked++
	s.say("   ✓ %-58s %7d", what, ours)
	return nil
}

// expectAll stops at the first figure that is wrong.
func (s *story) expectAll(figures ...figure) error {
	for _, f := range figures {
		if err := s.expect(f.what, f.ours, f.theirs); err != nil {
			return err
		}
	}
	return nil
}

type figure struct {
	what         string
	ours, theirs int
}

// command runs a command of ours as an operator would type it.
func (s *story) command(ctx context.Context, args ...string) (string, int) {
	s.say("   $ seatwire %s", strings.Join(args, " "))
	return s.quietly(ctx, args...)
}

// quietly runs a command without showing it.
func (s *story) quietly(ctx context.Context, args ...string) (string, int) {
	var out bytes.Buffer
	env := s.c.env
	env.Stdout = &out
	code := Main(ctx, append(args, "-config", s.configFile), env)
	return out.String(), code
}

// sync runs `seatwire sync --wait` and reads the outcome it prints.
func (s *story) sync(ctx context.Context, want string) (events.RosterPublished, error) {
	var o events.RosterPublished
	began := time.Now()
	out, _ := s.command(ctx, "sync", demoConnection, "--wait", "-o", "json")
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		return o, plain("sync gave no outcome")
	}
	s.say("   %s in %s %s", o.Outcome, time.Since(began).Round(time.Millisecond), o.Reason)
	if o.Outcome != want {
		return o, plain("the outcome is %s (%s), the story wants %s", o.Outcome, o.Reason, want)
	}
	return o, nil
}

// truth is what the simulators themselves say right now.
type truth struct {
	fetched, licensed, listed, same int
	writes                          int
}

func (s *story) truth() (truth, error) {
	people, err := s.pluralsight.People(demoConnection, 0, 0)
	if err != nil {
		return truth{}, err
	}
	var t truth
	licensed := map[string]string{}
	for _, p := range people {
		if p.NeverLicensed {
			continue
		}
		t.fetched++
		if p.IsOnAccount == pluralsightsim.Yes && p.Email != "" {
			licensed[p.PsUserID] = strings.ToLower(p.Email)
		}
	}
	for _, u := range s.productiv.Users(demoApp) {
		t.listed++
		if licensed[u.AppUserID] == u.Email {
			t.same++
		}
	}
	counts := s.productiv.AppCounts(demoApp)
	t.licensed, t.writes = len(licensed), counts.Posts+counts.Deletes
	return t, nil
}

// agree compares an outcome's people with the truth, and Productiv's list with both.
func (s *story) agree(o events.RosterPublished) error {
	t, err := s.truth()
	if err != nil {
		return err
	}
	return s.expectAll(
		figure{"people read from Pluralsight", o.Counts.Fetched, t.fetched},
		figure{"hold a licence", o.Counts.Active, t.licensed},
		figure{"on Productiv's list", o.Counts.Active, t.listed},
		figure{"of them with the right id and address", o.Counts.Active, t.same},
	)
}

// freshStart refuses a pipeline that has a past: the simulators begin with none, and the figures would be wrong.
func (s *story) freshStart(ctx context.Context) error {
	var rows []statusRow
	out, code := s.quietly(ctx, "status", "-o", "json")
	if code != 0 || json.Unmarshal([]byte(out), &rows) != nil || len(rows) != 1 || rows[0].Connection != demoConnection {
		return plain("the story needs a running pipeline with one connection, %s", demoConnection)
	}
	if rows[0].LastSweep != nil {
		return plain("this NATS has seen sweeps before, and the story begins with an empty one: docker compose down -v")
	}
	return nil
}

func (s *story) firstSync(ctx context.Context) error {
	s.say("\n1  The first sync reads the whole plan and brings Productiv's list to it.")
	o, err := s.sync(ctx, events.OutcomePublished)
	if err != nil {
		return err
	}
	pv := s.productiv.AppCounts(demoApp)
	pages := 0
	for _, r := range s.pluralsight.Requests() {
		if r.GraphQL != nil && slices.Contains(r.GraphQL.Fields, "users") {
			pages++
		}
	}
	if err := s.agree(o); err != nil {
		return err
	}
	return s.expectAll(
		figure{"pages of 100 asked from Pluralsight", (s.people + 99) / 100, pages},
		figure{"added at Productiv", o.Counts.Added, pv.Added},
		figure{"calls to add them, 1000 at a time", (o.Counts.Added + 999) / 1000, pv.Posts},
	)
}

func (s *story) nothingNew(ctx context.Context) error {
	s.say("\n2  Nothing changed: the same again writes nothing.")
	before := s.productiv.AppCounts(demoApp)
	o, err := s.sync(ctx, events.OutcomeUnchanged)
	if err != nil {
		return err
	}
	after := s.productiv.AppCounts(demoApp)
	return s.expectAll(
		figure{"writes at Productiv", o.Counts.Added + o.Counts.Changed + o.Counts.Deleted, after.Posts + after.Deletes - before.Posts - before.Deletes},
	)
}

func (s *story) peopleComeAndGo(ctx context.Context) error {
	s.say("\n3  40 people leave, 25 join, 10 change their address.")
	active, err := s.some(75)
	if err != nil {
		return err
	}
	for _, p := range active[:40] {
		if err := s.pluralsight.RemovePerson(demoConnection, p.PsUserID); err != nil {
			return err
		}
	}
	for _, p := range active[40:50] {
		err := s.pluralsight.EditPerson(demoConnection, p.PsUserID, func(p *pluralsightsim.Person) { p.Email = "new-" + p.Email })
		if err != nil {
			return err
		}
	}
	for i := range 25 {
		_, err := s.pluralsight.AddPerson(demoConnection, pluralsightsim.Person{
			PsUserID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Email: fmt.Sprintf("joiner-%d@acme.example", i),
			FirstName: "Joiner", IsOnAccount: pluralsightsim.Yes, ProductIDs: []string{"1"},
		})
		if err != nil {
			return err
		}
	}
	o, err := s.sync(ctx, events.OutcomePublished)
	if err != nil {
		return err
	}
	if err := s.agree(o); err != nil {
		return err
	}
	return s.expectAll(figure{"added", o.Counts.Added, 25}, figure{"changed", o.Counts.Changed, 10}, figure{"deleted", o.Counts.Deleted, 40})
}

// some returns n people with a licence.
func (s *story) some(n int) ([]pluralsightsim.Person, error) {
	people, err := s.pluralsight.People(demoConnection, 0, 0)
	if err != nil {
		return nil, err
	}
	people = slices.DeleteFunc(people, func(p pluralsightsim.Person) bool {
		return p.IsOnAccount != pluralsightsim.Yes || p.NeverLicensed || p.Admin || p.Email == ""
	})
	if len(people) < n {
		return nil, plain("the plan has only %d licensed people", len(people))
	}
	return people[:n], nil
}

func (s *story) brokenReading(ctx context.Context) error {
	s.say("\n4  A page comes with errors beside its data, three times in a row. A doubtful reading changes nothing.")
	before, err := s.truth()
	if err != nil {
		return err
	}
	_, err = s.pluralsight.Inject(pluralsightsim.Fault{
		Match: pluralsightsim.Match{Operation: "users", Page: 3, Times: 3}, Action: pluralsightsim.ErrorsPartial,
	})
	if err != nil {
		return err
	}
	if _, err := s.sync(ctx, events.OutcomeFailed); err != nil {
		return err
	}
	s.pluralsight.ClearFaults()
	after, err := s.truth()
	if err != nil {
		return err
	}
	return s.expectAll(
		figure{"writes at Productiv", 0, after.writes - before.writes},
		figure{"on Productiv's list, as before", before.listed, after.listed},
	)
}

func (s *story) massShrink(ctx context.Context) error {
	gone := s.people / 5
	s.say("\n5  %d people lose their licence overnight: more than the guards let through, so a person has to look.", gone)
	people, err := s.some(gone)
	if err != nil {
		return err
	}
	for _, p := range people {
		if err := s.pluralsight.RemovePerson(demoConnection, p.PsUserID); err != nil {
			return err
		}
	}
	before, err := s.truth()
	if err != nil {
		return err
	}
	if _, err := s.sync(ctx, events.OutcomeHeld); err != nil {
		return err
	}
	after, err := s.truth()
	if err != nil {
		return err
	}
	return s.expectAll(figure{"deleted at Productiv", 0, before.listed - after.listed})
}

func (s *story) released(ctx context.Context) error {
	s.say("\n6  It was no mistake. A person releases it by name; the list is read and planned afresh before anything is sent.")
	var list []publicationRow
	out, _ := s.command(ctx, "publications", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return plain("publications list printed no list")
	}
	held := slices.IndexFunc(list, func(r publicationRow) bool { return r.State == "held" })
	if held < 0 {
		return plain("nothing is held")
	}
	if _, code := s.command(ctx, "publications", "release", demoConnection, list[held].SweepID, "--by", "you"); code != 0 {
		return plain("release was refused")
	}
	row, err := s.decided(ctx, list[held].SweepID)
	if err != nil {
		return err
	}
	t, err := s.truth()
	if err != nil {
		return err
	}
	return s.expectAll(
		figure{"deleted", row.Counts.Deleted, s.people / 5},
		figure{"on Productiv's list", row.Counts.Active, t.listed},
		figure{"of them with the right id and address", row.Counts.Active, t.same},
	)
}

// decided waits until a released publication has come to its end.
func (s *story) decided(ctx context.Context, sweepID string) (row publicationRow, err error) {
	_, err = until(ctx, s, func(rows []publicationRow) bool {
		for _, r := range rows {
			if r.SweepID == sweepID && r.State != "held" && r.State != "released" {
				row = r
				return true
			}
		}
		return false
	}, "publications", "list")
	s.say("   %s %s", row.State, row.Reason)
	return row, err
}
