package seatwire

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// The second act: another system says who left, and gets the proof that each licence is free.

const (
	leaving = 12
	// askedTwice leavers come from a second system too, and every event of the first is sent again.
	askedTwice = 4
)

// leavers is what the second act is about.
type leavers struct {
	people []pluralsightsim.Person
	admin  pluralsightsim.Person
	batch  batchRow
}

// secondAct plays its scenes in order.
func (s *story) secondAct(ctx context.Context) error {
	l := &leavers{}
	for _, scene := range []func(context.Context, *leavers) error{s.hrPublishes, s.reviewed, s.proved, s.listedNoMore} {
		if err := scene(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) hrPublishes(ctx context.Context, l *leavers) (err error) {
	s.say("\n7  HR publishes %d leavers, each event twice; the identity provider names %d of them too. Among them an admin, and somebody unknown.", leaving, askedTwice)
	if l.people, err = s.some(leaving); err != nil {
		return err
	}
	l.admin, err = s.pluralsight.AddPerson(demoConnection, pluralsightsim.Person{
		Email: "boss@acme.example", FirstName: "Ada", LastName: "Boss", Admin: true, IsOnAccount: pluralsightsim.Yes, ProductIDs: []string{"1"},
	})
	if err != nil {
		return err
	}
	cfg, err := config.LoadFor(s.configFile, 0)
	if err != nil {
		return err
	}
	session, err := open(ctx, cfg)
	if err != nil {
		return err
	}
	defer session.close()
	for i, p := range l.people {
		if err := session.leaver(ctx, "hr", fmt.Sprintf("exit-%d", i), p.Email, 2); err != nil {
			return err
		}
		if i < askedTwice {
			if err := session.leaver(ctx, "idp", fmt.Sprintf("disabled-%d", i), strings.ToUpper(p.Email), 1); err != nil {
				return err
			}
		}
	}
	if err := session.leaver(ctx, "hr", "exit-admin", l.admin.Email, 1); err != nil {
		return err
	}
	return session.leaver(ctx, "hr", "exit-unknown", "nobody@acme.example", 1)
}

// leaver publishes one request event as another system would: binary mode, several times where times says so.
func (s *session) leaver(ctx context.Context, source, id, email string, times int) error {
	data, err := json.Marshal(events.DeprovisionRequested{Email: email, Reason: "left the company"})
	if err != nil {
		return err
	}
	header := map[string][]string{
		"ce-specversion": {"1.0"}, "ce-type": {events.DeprovisionRequestedType}, "ce-source": {"demo/" + source}, "ce-id": {id},
		"ce-time": {time.Now().UTC().Format(time.RFC3339)},
	}
	for i := range times {
		subject := events.Subject(events.DeprovisionRequestedSubject, demoConnection, source)
		if _, err := s.publisher.PublishMsg(ctx, subject, fmt.Sprintf("%s-%s-%d", source, id, i), header, data); err != nil {
			return err
		}
	}
	return nil
}

// until runs a list command again and again until ready says yes.
func until[T any](ctx context.Context, s *story, ready func([]T) bool, args ...string) ([]T, error) {
	s.say("   $ seatwire %s", strings.Join(args, " "))
	for {
		var rows []T
		out, _ := s.quietly(ctx, append(args, "-o", "json")...)
		if err := json.Unmarshal([]byte(out), &rows); err != nil {
			return nil, plain("%s printed no list", args[0])
		}
		if ready(rows) {
			return rows, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}

// calls sums up what the simulator was sent to /deprovision: dry runs, applied files, and rows in those.
func (s *story) calls() (dry, applied, rows int) {
	for _, r := range s.pluralsight.Requests() {
		switch d := r.Deprovision; {
		case d == nil:
		case d.DryRun:
			dry++
		default:
			applied++
			rows += len(d.Rows)
		}
	}
	return dry, applied, rows
}

func (s *story) reviewed(ctx context.Context, l *leavers) error {
	s.say("\n8  One row per person, dry-run at Pluralsight, held for a person to look at: apply is review.")
	batches, err := until(ctx, s, func(rows []batchRow) bool { return len(rows) > 0 && rows[0].State == "held" }, "deprovision", "list", "--batches")
	if err != nil {
		return err
	}
	l.batch = batches[0]
	dry, applied, _ := s.calls()
	s.say("   %s %s %s", l.batch.BatchID, l.batch.State, l.batch.Reason)
	return s.expectAll(
		figure{"people in the sealed file", l.batch.Rows, leaving},
		figure{"dry runs at Pluralsight", 1, dry},
		figure{"files applied", 0, applied},
	)
}

func (s *story) proved(ctx context.Context, l *leavers) error {
	s.say("\n9  A person approves exactly these bytes. Pluralsight applies them, and is read back until each one is proved gone.")
	if _, code := s.command(ctx, "deprovision", "approve", l.batch.BatchID, "--by", "you", "--sha256", l.batch.SHA256); code != 0 {
		return plain("approve was refused")
	}
	settled := func(rows []requestRow) bool {
		for _, r := range rows {
			if r.State != "settled" {
				return false
			}
		}
		return true
	}
	requests, err := until(ctx, s, settled, "deprovision", "list")
	if err != nil {
		return err
	}
	outcomes := map[string]int{}
	for _, r := range requests {
		outcomes[r.Outcome+" "+r.Reason]++
	}
	gone := 0
	for _, p := range l.people {
		now, err := s.pluralsight.Person(demoConnection, p.PsUserID)
		if err != nil {
			return err
		}
		if now.IsOnAccount == pluralsightsim.No {
			gone++
		}
	}
	_, applied, rows := s.calls()
	return s.expectAll(
		figure{"requests, each settled once", len(requests), leaving + askedTwice + 2},
		figure{"of them removed, with proof", outcomes["removed "], leaving + askedTwice},
		figure{"refused, because admin", outcomes["rejected admin"], 1},
		figure{"refused, because unknown", outcomes["rejected unknown-user"], 1},
		figure{"files applied at Pluralsight", 1, applied},
		figure{"rows in them", leaving, rows},
		figure{"people off the account", leaving, gone},
	)
}

func (s *story) listedNoMore(ctx context.Context, l *leavers) error {
	s.say("\n10 The next sync takes them off Productiv's list.")
	o, err := s.sync(ctx, events.OutcomePublished)
	if err != nil {
		return err
	}
	if err := s.agree(o); err != nil {
		return err
	}
	if err := s.expect("deleted at Productiv", o.Counts.Deleted, leaving); err != nil {
		return err
	}
	out, _ := s.command(ctx, "explain", l.people[0].Email)
	s.say("%s", out)
	return nil
}
