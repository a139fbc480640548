package deprovisioner

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/roster"
)

// Pluralsight is what the deprovisioner asks of a plan; *pluralsight.Client is one.
type Pluralsight interface {
	// Lookup returns the users whose addresses these are, removed ones included.
	Lookup(ctx context.Context, emails []string) ([]pluralsight.User, error)
	// Users returns one page of all users.
	Users(ctx context.Context, after string) (pluralsight.UserPage, error)
	// Admins returns one page of the plan's admins.
	Admins(ctx context.Context, after string) (pluralsight.AdminPage, error)
	// Deprovision sends one file. An armed order is sent at most once.
	Deprovision(ctx context.Context, o pluralsight.Order) (pluralsight.Answer, error)
}

// maxPages ends a walk that goes in circles: a million people at a hundred a page.
const maxPages = 10_000

// vendor makes the calls that the book decides on, and turns what comes back into inputs.
type vendor struct {
	plan  Pluralsight
	rules rules
	// paused reads the operator's switch; an error counts as paused.
	paused func(ctx context.Context) (bool, error)
	now    func() time.Time
	// ids is shared by all looks at the plan.
	ids *identifiers
}

// do makes a call. It never fails: trouble is an input like any other.
func (v vendor) do(ctx context.Context, c call) input {
	switch c := c.(type) {
	case callResolve:
		failpoint.Hit(failpoint.D4)
		p, err := v.look(ctx, c.requests)
		return resolved{requests: c.requests, retain: c.retain, people: p, trouble: troubleOf(err)}
	case callDryRun:
		return v.dryRun(ctx, c)
	case callRecheck:
		return v.recheck(ctx, c)
	case callApply:
		return v.applyOrder(ctx, c)
	case callRead:
		return v.readBack(ctx, c)
	default:
		return ticked{}
	}
}

func troubleOf(err error) trouble {
	if err == nil {
		return trouble{}
	}
	after, _ := fault.RetryAfter(err)
	return trouble{reason: fault.ReasonOf(err), after: after}
}

// look finds whom the requests mean, and every admin. Nothing is remembered between looks.
func (v vendor) look(ctx context.Context, requests []deprovision.Request) (*people, error) {
	admins, err := v.admins(ctx)
	if err != nil {
		return nil, err
	}
	var emails []string
	for _, r := range requests {
		if r.Email != "" {
			emails = append(emails, r.Email)
		}
	}
	var users []pluralsight.User
	if len(emails) > 0 {
		if users, err = v.plan.Lookup(ctx, emails); err != nil {
			return nil, err
		}
	}
	p := newPeople(users, admins, v.now())
	var missing []deprovision.Request
	for _, r := range requests {
		if !p.knows(r) {
			missing = append(missing, r)
		}
	}
	if len(missing) > 0 {
		if err = v.walk(ctx, p, missing); err != nil {
			return nil, err
		}
	}
	if err := v.namesakes(ctx, p, emails); err != nil {
		return nil, err
	}
	return p, v.checkIdentifiers(ctx, p)
}

// checkIdentifiers marks identifiers that somebody else of the plan has too.
func (v vendor) checkIdentifiers(ctx context.Context, p *people) error {
	if len(p.sso) == 0 {
		return nil
	}
	shared, err := v.ids.among(ctx, v)
	if err != nil {
		return err
	}
	for id := range p.sso {
		if shared(id) {
			p.sso[id] = max(p.sso[id], 2)
		}
	}
	return nil
}

// namesakes adds whoever shares an address with somebody who was found in another way than by it: the row will carry
// that address and could hit either. Without it a batch would be sealed that the last look before sending, which asks
// for every row's address, dissolves again for ever.
func (v vendor) namesakes(ctx context.Context, p *people, asked []string) error {
	looked := map[string]bool{}
	for _, address := range asked {
		looked[roster.FoldEmail(address)] = true
	}
	var emails []string
	for _, id := range slices.Sorted(maps.Keys(p.byID)) {
		if u := p.byID[id]; u.Email != "" && !looked[roster.FoldEmail(u.Email)] {
			emails = append(emails, u.Email)
		}
	}
	if len(emails) == 0 {
		return nil
	}
	users, err := v.plan.Lookup(ctx, emails)
	for _, u := range users {
		p.add(u)
	}
	return err
}

// walk reads the whole plan for those whom the address filter did not find: requests that give only a psUserId, and
// addresses that are additional ones or spelt in another way, which nobody promises that the filter matches. Only
// people that somebody asked for are kept. It goes to the end, because a second match makes the first one ambiguous.
func (v vendor) walk(ctx context.Context, p *people, missing []deprovision.Request) error {
	return v.pages(ctx, func(users []pluralsight.User) {
		for _, u := range users {
			one := newPeople([]pluralsight.User{u}, nil, p.readAt)
			for _, r := range missing {
				if one.knows(r) {
					p.add(u)
					break
				}
			}
		}
	})
}

// everybody hands over each person's id and SSO identifier.
func (v vendor) everybody(ctx context.Context, see func(psUserID, sso string)) error {
	return v.pages(ctx, func(users []pluralsight.User) {
		for _, u := range users {
			see(u.PsUserID, u.CurrentSSOIdentifier)
		}
	})
}

// pages reads the whole plan, page by page.
func (v vendor) pages(ctx context.Context, see func([]pluralsight.User)) error {
	return toTheEnd(func(after string) (pluralsight.Page, error) {
		page, err := v.plan.Users(ctx, after)
		if err == nil {
			see(page.Users)
		}
		return page.Page, err
	})
}

func (v vendor) admins(ctx context.Context) (admins []pluralsight.Admin, err error) {
	if !v.rules.ProtectAdmins {
		return nil, nil
	}
	err = toTheEnd(func(after string) (pluralsight.Page, error) {
		page, err := v.plan.Admins(ctx, after)
		admins = append(admins, page.Admins...)
		return page.Page, err
	})
	if err != nil {
		return nil, err
	}
	return admins, nil
}

// toTheEnd reads a list page by page. A list that goes in circles is an error, not an end.
func toTheEnd(read func(after string) (pluralsight.Page, error)) error {
	seen, after := map[string]bool{}, ""
	for range maxPages {
		page, err := read(after)
		if err != nil {
			return err
		}
		if !page.HasNext {
			return nil
		}
		if seen[page.EndCursor] {
			return fault.New(fault.Transient, "repeated-cursor", "Pluralsight's pages go in circles")
		}
		seen[page.EndCursor], after = true, page.EndCursor
	}
	return fault.New(fault.Permanent, "too-many-pages", "the list has more than %d pages", maxPages)
}

func options(b deprovision.Batch) pluralsight.Options {
	return pluralsight.Options{ExitOnError: b.Strict, RetainPrivileges: b.Retain}
}

// dryRun asks what the sealed bytes would do. A refused file is taken apart by more dry runs, which change nothing.
func (v vendor) dryRun(ctx context.Context, c callDryRun) input {
	failpoint.Hit(failpoint.D5)
	answer, err := v.plan.Deprovision(ctx, pluralsight.DryRun(c.batch.CSV, options(c.batch)))
	failpoint.Hit(failpoint.D7)
	in := dryRan{batchID: c.batch.ID, answer: v.answerOf(answer, err), trouble: troubleOf(err)}
	if err != nil || accepts(answer) {
		return in
	}
	if !refuses(answer) {
		in.trouble = trouble{reason: string(answer.Status)}
		return in
	}
	bad, err := bisect(len(c.batch.Rows), func(rows []int) (bool, error) { return v.refusesRows(ctx, c.batch, rows) })
	if in.trouble = troubleOf(err); err == nil {
		for _, i := range bad {
			in.refused = append(in.refused, c.batch.Rows[i].PsUserID)
		}
	}
	return in
}

func (v vendor) refusesRows(ctx context.Context, b deprovision.Batch, rows []int) (bool, error) {
	part := make([]deprovision.Row, len(rows))
	for i, row := range rows {
		part[i] = b.Rows[row]
	}
	csv, err := csvOf(part)
	if err != nil {
		return false, err
	}
	answer, err := v.plan.Deprovision(ctx, pluralsight.DryRun(csv, options(b)))
	failpoint.Hit(failpoint.D16)
	if err == nil && !accepts(answer) && !refuses(answer) {
		err = fault.New(fault.Transient, string(answer.Status), "a dry run was neither accepted nor refused")
	}
	return refuses(answer), err
}

// accepts reports whether a dry run raised no objection. Processing counts: a dry run has nothing to read back.
func accepts(a pluralsight.Answer) bool {
	return a.HTTP < 300 && (a.Status == pluralsight.Successful || a.Status == pluralsight.Processing)
}

// refuses reports whether rows of the file are at fault.
func refuses(a pluralsight.Answer) bool {
	return a.Status == pluralsight.ValidationErrors || a.Status == pluralsight.CompletedWithErrors
}

// recheck is the last look before sending.
func (v vendor) recheck(ctx context.Context, c callRecheck) input {
	failpoint.Hit(failpoint.D8)
	in := rechecked{batchID: c.batch.ID, paused: true}
	paused, err := v.paused(ctx)
	if err != nil || paused {
		return in
	}
	in.people, err = v.look(ctx, asSealed(c))
	in.trouble = troubleOf(err)
	// Asked again after the look, which may have taken minutes.
	paused, pauseErr := v.paused(ctx)
	in.paused = paused || pauseErr != nil
	return in
}

// asSealed are the requests of the batch, and one for each row's own address: who was found by walking the plan is
// found by the filter this time.
func asSealed(c callRecheck) []deprovision.Request {
	requests := c.requests
	for _, row := range c.batch.Rows {
		requests = append(requests, deprovision.Request{Email: row.Email, PsUserID: row.PsUserID})
	}
	return requests
}

// applyOrder sends the sealed bytes in earnest. It is called once for each time that "sending" was saved.
func (v vendor) applyOrder(ctx context.Context, c callApply) input {
	failpoint.Hit(failpoint.D9)
	in := sent{batchID: c.batch.ID, unsent: true}
	if paused, err := v.paused(ctx); err != nil || paused {
		in.trouble = trouble{reason: "paused", after: pauseRecheck}
		return in
	}
	if at, ok := savedAt(ctx); ok && time.Since(at) > sendWindow {
		in.trouble = trouble{reason: "late"} // the process was frozen; the lane may be somebody else's by now
		return in
	}
	order, err := pluralsight.Apply(c.batch.CSV, options(c.batch), pluralsight.Approval{SHA256: c.approval.SHA256, By: c.approval.By})
	if err != nil {
		in.trouble = troubleOf(err)
		return in
	}
	answer, err := v.plan.Deprovision(ctx, order)
	class := fault.ClassOf(err)
	if err != nil && answer.HTTP == 0 && class == fault.Permanent || err != nil && (class == fault.Transient || class == fault.Throttled) {
		in.trouble = troubleOf(err)
		return in
	}
	return sent{batchID: c.batch.ID, answer: v.answerOf(answer, err)}
}

// answerOf is an answer as the ledger keeps it.
func (v vendor) answerOf(a pluralsight.Answer, err error) deprovision.Answer {
	out := deprovision.Answer{At: v.now(), HTTP: a.HTTP, Status: string(a.Status)}
	if err != nil {
		out.Fault = fault.ReasonOf(err)
	}
	out.Errored = a.HTTP >= 400
	out.Final = a.HTTP != 0 && a.HTTP < 500 && (out.Errored || a.Status == pluralsight.Successful)
	return out
}

// readBack asks for the people whose rows are not over. Whom their address does not find may have got another one, so
// the whole plan is asked before somebody counts as absent.
func (v vendor) readBack(ctx context.Context, c callRead) input {
	failpoint.Hit(failpoint.D12)
	emails := make([]string, len(c.rows))
	for i, row := range c.rows {
		emails[i] = row.Email
	}
	users, err := v.plan.Lookup(ctx, emails)
	failpoint.Hit(failpoint.D13)
	p := newPeople(users, nil, v.now())
	var missing []deprovision.Request
	for _, row := range c.rows {
		if _, found := p.byID[row.PsUserID]; !found {
			missing = append(missing, deprovision.Request{PsUserID: row.PsUserID})
		}
	}
	if err == nil && len(missing) > 0 {
		err = v.walk(ctx, p, missing)
	}
	return readBack{batchID: c.batch.ID, users: p.byID, readAt: p.readAt, trouble: troubleOf(err)}
}

type savedAtKey struct{}

// withSavedAt says since when what a call rests on is being saved, on this machine's monotonic clock.
func withSavedAt(ctx context.Context, at time.Time) context.Context {
	return context.WithValue(ctx, savedAtKey{}, at)
}

func savedAt(ctx context.Context) (time.Time, bool) {
	at, ok := ctx.Value(savedAtKey{}).(time.Time)
	return at, ok
}
