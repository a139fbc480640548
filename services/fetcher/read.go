package fetcher

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/roster"
)

// readAhead is vendor pages between reading and storing, 70 KB each: reading goes on while a checkpoint waits for the
// broker's disk.
const readAhead = 32

// vendorPage is one page of either list, ready to be emitted.
type vendorPage struct {
	kind     string
	facts    pageFacts
	users    []roster.FetchedUser
	warnings []string
}

// read walks the plan in its order: plan, admins, users. Reading and storing run side by side, the storing side owns
// the checkpoint.
func (l *lane) read(ctx context.Context, r *record) error {
	if r.Checkpoint.Stage == "" {
		if err := l.plan(ctx, r); err != nil {
			return err
		}
	}
	if r.Checkpoint.Stage == roster.Whole {
		return nil // a crash came between the last checkpoint and the manifest
	}
	from := r.Checkpoint
	pages := make(chan vendorPage, readAhead)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(pages)
		return l.walk(ctx, from, pages)
	})
	group.Go(func() error { return l.emit(ctx, r, pages) })
	return group.Wait()
}

// plan reads the licence counters and moves on to the first stage.
func (l *lane) plan(ctx context.Context, r *record) error {
	plan, err := l.deps.Plans[l.connection.Name].Plan(ctx)
	if err != nil {
		return l.vendorError(ctx, err)
	}
	for _, p := range plan.Products {
		r.Checkpoint.Licenses += orZero(p.Purchased)
		r.Checkpoint.Assigned += orZero(p.Assigned)
	}
	r.Checkpoint.Stage = roster.Admins
	r.Checkpoint.Warnings = warn(r.Checkpoint.Warnings, plan.Warnings)
	return nil
}

func orZero(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

// maxWarnings bounds what a vendor can make us remember.
const maxWarnings = 20

func warn(known, more []string) []string {
	for _, w := range more {
		if len(known) < maxWarnings && !slices.Contains(known, w) {
			known = append(known, w)
		}
	}
	return known
}

// vendorError ends the sweep, unless it is our own shutdown: the client has spent its attempts.
func (l *lane) vendorError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &readError{err}
}

// walk reads what follows the checkpoint, list by list, and hands over each page that is in order.
func (l *lane) walk(ctx context.Context, from roster.Checkpoint, out chan<- vendorPage) error {
	plans := l.deps.Plans[l.connection.Name]
	lists := []struct {
		kind string
		page func(context.Context, string) (vendorPage, error)
	}{
		{roster.Admins, func(ctx context.Context, after string) (vendorPage, error) { return adminPage(ctx, plans, after) }},
		{roster.Users, func(ctx context.Context, after string) (vendorPage, error) { return l.userPage(ctx, plans, after) }},
	}
	for _, list := range lists {
		if from.Stage == roster.Users && list.kind == roster.Admins {
			continue
		}
		after, o := "", &order{}
		if from.Stage == list.kind {
			after = from.After
			o = &order{total: from.Total, nodes: from.Nodes, firstID: from.FirstID}
		}
		if err := l.list(ctx, o, after, list.page, out); err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) list(ctx context.Context, o *order, after string, page func(context.Context, string) (vendorPage, error), out chan<- vendorPage) error {
	for {
		p, err := page(ctx, after)
		if err != nil {
			return l.vendorError(ctx, err)
		}
		if err := o.add(p.facts); err != nil {
			return err
		}
		failpoint.Hit(failpoint.F3)
		select {
		case out <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !p.facts.hasNext {
			return nil
		}
		after = p.facts.next
	}
}

func adminPage(ctx context.Context, plans Plans, after string) (vendorPage, error) {
	page, err := plans.Admins(ctx, after)
	if err != nil {
		return vendorPage{}, err
	}
	p := vendorPage{kind: roster.Admins, warnings: page.Warnings, facts: pageFacts{
		after: after, next: page.EndCursor, hasNext: page.HasNext, total: page.TotalCount,
	}}
	for _, a := range page.Admins {
		p.facts.ids = append(p.facts.ids, a.PsUserID)
		p.users = append(p.users, roster.FetchedUser{
			PsUserID: a.PsUserID, Email: a.Email, FirstName: a.FirstName, LastName: a.LastName, SSOID: a.CurrentSSOIdentifier,
		})
	}
	return p, nil
}

// userPage reads one page of users. Without product ids nobody is known to be billable, so a connection that
// publishes only billable people must not go on: it would drop everybody.
func (l *lane) userPage(ctx context.Context, plans Plans, after string) (vendorPage, error) {
	page, err := plans.Users(ctx, after)
	if err != nil {
		return vendorPage{}, err
	}
	p := vendorPage{kind: roster.Users, warnings: page.Warnings, facts: pageFacts{
		after: after, next: page.EndCursor, hasNext: page.HasNext, total: page.TotalCount,
	}}
	billable := l.connection.Productiv != nil && l.connection.Productiv.Include == "billable"
	for _, u := range page.Users {
		if billable && !u.ProductsKnown {
			return vendorPage{}, fault.New(fault.Permanent, "products-unknown",
				"Pluralsight does not give this key product ids, so include: billable cannot be decided; set include: on-account")
		}
		p.facts.ids = append(p.facts.ids, u.PsUserID)
		p.users = append(p.users, fetched(u))
	}
	return p, nil
}

func fetched(u pluralsight.User) roster.FetchedUser {
	f := roster.FetchedUser{
		PsUserID: u.PsUserID, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName,
		OnAccount: u.OnAccount, RemovedOn: u.RemovedOn, LastLogin: u.LastLogin, StartedOn: u.StartedOn,
		SSOID: u.CurrentSSOIdentifier, SSO: u.SSOEnabled, MFA: u.MFAEnabled, Products: u.ProductIDs,
	}
	for _, t := range u.Teams {
		if t.Direct {
			f.Teams = append(f.Teams, t.Name)
		}
	}
	return f
}
