package pluralsight

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight/internal/wire"
	"github.com/seatwire/seatwire/pkg/policy"
)

// vendor is the name of the other side in logs and metrics.
const vendor = "pluralsight"

// Config says which plan, with which key, and how patiently.
type Config struct {
	// URL of the GraphQL endpoint.
	URL string
	// DeprovisionURL is the whole URL of the CSV endpoint, path included.
	DeprovisionURL string
	// Token returns the API key. It is called for each request, so that a changed file needs no restart.
	Token func() (string, error)
	// DeprovisionAuth is "basic" (user "pluralsight", the key as password), or anything else for bearer.
	DeprovisionAuth string
	// PageSize is how many people are asked for at once, 1 to 1000.
	PageSize int
	// Retry is for calls that change nothing. Its CallTimeout also bounds the one that does.
	Retry config.Retry
	// UserAgent names the program and its version.
	UserAgent string
}

// Deps is what a program hands over.
type Deps struct {
	// Log is told of retries and of fields that are given up. Nil is silence.
	Log *slog.Logger
	// Registry gets seatwire_vendor_requests_total, shared by all clients. Nil is none.
	Registry prometheus.Registerer
	// Connection is the connection's name: a metric label.
	Connection string
}

// Client talks to Pluralsight for one plan. It is safe for concurrent use.
type Client struct {
	cfg      Config
	log      *slog.Logger
	requests *policy.Requests
	// reads is for calls that change nothing, writes for the one that does: see newOneShotClient.
	reads, writes *http.Client
	optional      optional
	// pageSize is cfg.PageSize, or half of it once a page of that size was refused.
	pageSize atomic.Int64

	users   *policy.Executor[answered[wire.UsersPageResponse]]
	admins  *policy.Executor[answered[wire.PlanAdminsPageResponse]]
	plans   *policy.Executor[answered[wire.PlanInfoResponse]]
	dryRuns *policy.Executor[Answer]
}

// New returns a client. It makes no call and reads no token; what is wrong with cfg shows at the first call.
func New(cfg Config, deps Deps) *Client {
	c := &Client{
		cfg:      cfg,
		log:      deps.Log,
		reads:    newHTTPClient(),
		writes:   newOneShotClient(),
		optional: optional{probing: make(chan struct{}, 1)},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.log = c.log.With("vendor", vendor, "connection", deps.Connection)
	c.requests = policy.NewRequests(deps.Registry, c.log, vendor, deps.Connection)
	c.pageSize.Store(int64(max(1, cfg.PageSize)))
	c.users = policy.New[answered[wire.UsersPageResponse]](cfg.Retry, c.onRetry)
	c.admins = policy.New[answered[wire.PlanAdminsPageResponse]](cfg.Retry, c.onRetry)
	c.plans = policy.New[answered[wire.PlanInfoResponse]](cfg.Retry, c.onRetry)
	c.dryRuns = policy.New[Answer](cfg.Retry, c.onRetry)
	return c
}

// Close ends idle connections. Calls still under way go on.
func (c *Client) Close() {
	c.reads.CloseIdleConnections()
	c.writes.CloseIdleConnections()
}

// Degraded returns the optional fields that the client does without, because the API key may not ask for them.
func (c *Client) Degraded() []string { return c.optional.fields().names() }

func (c *Client) onRetry(attempt int, err error, delay time.Duration) {
	c.log.Warn("calling Pluralsight again", "attempt", attempt, "reason", fault.ReasonOf(err), "delay", delay)
}

// Users returns the page of users after the cursor, the first one for "".
func (c *Client) Users(ctx context.Context, after string) (UserPage, error) {
	return c.usersPage(ctx, usersAsk{operation: "users", after: after})
}

// usersPage asks for a page and, should that be refused for its size or for an optional field, for less.
func (c *Client) usersPage(ctx context.Context, ask usersAsk) (UserPage, error) {
	return sized(c, func(first int) (UserPage, error) {
		ask.first, ask.cut = first, c.optional.fields()
		got, err := c.askUsers(ctx, ask)
		if err != nil && c.degrade(ctx, ask.cut, err) {
			ask.cut = c.optional.fields()
			got, err = c.askUsers(ctx, ask)
		}
		if err != nil {
			return UserPage{}, err
		}
		return userPage(got.data, first, ask.cut, got.warnings)
	})
}

func (c *Client) askUsers(ctx context.Context, ask usersAsk) (answered[wire.UsersPageResponse], error) {
	return policy.Do(ctx, c.users, func(ctx context.Context) (answered[wire.UsersPageResponse], error) {
		x := &exchange{client: c, operation: ask.operation, cut: ask.cut, after: ask.after != ""}
		data, err := wire.UsersPage(ctx, x, ask.first, cursor(ask.after), ask.filter())
		return answered[wire.UsersPageResponse]{data, x.warnings}, err
	})
}

// Admins returns the page of plan admins after the cursor, the first one for "".
func (c *Client) Admins(ctx context.Context, after string) (AdminPage, error) {
	return sized(c, func(first int) (AdminPage, error) {
		got, err := policy.Do(ctx, c.admins, func(ctx context.Context) (answered[wire.PlanAdminsPageResponse], error) {
			x := &exchange{client: c, operation: "admins", after: after != ""}
			data, err := wire.PlanAdminsPage(ctx, x, first, cursor(after))
			return answered[wire.PlanAdminsPageResponse]{data, x.warnings}, err
		})
		if err != nil {
			return AdminPage{}, err
		}
		return adminPage(got.data, first, got.warnings)
	})
}

// Plan returns what is known about the plan. Nothing depends on it, and which query offers it is not documented, so
// Pluralsight's refusal of the query itself makes an empty plan with a warning. That Pluralsight cannot be reached or
// does not accept the key is an error here as everywhere.
func (c *Client) Plan(ctx context.Context) (Plan, error) {
	got, err := policy.Do(ctx, c.plans, func(ctx context.Context) (answered[wire.PlanInfoResponse], error) {
		x := &exchange{client: c, operation: "plan"}
		data, err := wire.PlanInfo(ctx, x)
		return answered[wire.PlanInfoResponse]{data, x.warnings}, err
	})
	switch {
	case err != nil && !withoutPlan(err):
		return Plan{}, err
	case err != nil || got.data.PlanInfo == nil:
		reason := "no-data"
		if err != nil {
			reason = fault.ReasonOf(err)
		}
		c.log.WarnContext(ctx, "the plan's own data could not be had; going on without it", "reason", reason)
		return Plan{Warnings: []string{WarnNoPlan + ": " + reason}}, nil
	}
	p := plan(got.data.PlanInfo)
	for _, raw := range got.warnings {
		p.Warnings = append(p.Warnings, warning(raw))
	}
	return p, nil
}

// withoutPlan reports whether err is about the planInfo query and about nothing else.
func withoutPlan(err error) bool {
	e, ok := errors.AsType[*responseErrors](err)
	if ok && e.status != http.StatusOK && e.status != http.StatusBadRequest && e.status != http.StatusUnprocessableEntity {
		return false
	}
	return refusal(err)
}

// maxLookup is how many addresses go into one question, and maxLookupPages how many pages of answers are turned.
const (
	maxLookup      = 100
	maxLookupPages = 100
)

// Lookup returns the users whom Pluralsight finds under the addresses: who is meant by which is the caller's to judge,
// by primary and additional addresses. Each address is asked for as given and in lower case, because whether
// Pluralsight minds the case is not known. No address, no question: an empty filter could mean everybody.
func (c *Client) Lookup(ctx context.Context, emails []string) ([]User, error) {
	var found []User
	seen := map[string]bool{}
	spellings := spellings(emails)
	for start := 0; start < len(spellings); start += maxLookup {
		users, err := c.lookup(ctx, spellings[start:min(start+maxLookup, len(spellings))])
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			if !seen[u.PsUserID] {
				seen[u.PsUserID] = true
				found = append(found, u)
			}
		}
	}
	return found, nil
}

// lookup turns the pages of one question to their end.
func (c *Client) lookup(ctx context.Context, emails []string) ([]User, error) {
	var found []User
	after := ""
	cursors := map[string]bool{}
	for range maxLookupPages {
		page, err := c.usersPage(ctx, usersAsk{operation: "lookup", after: after, emails: emails})
		if err != nil {
			return nil, err
		}
		found = append(found, page.Users...)
		if !page.HasNext {
			return found, nil
		}
		after = page.EndCursor
		if cursors[after] {
			return nil, fault.New(fault.Permanent, "repeated-cursor", "the look-up by address came back to an earlier page")
		}
		cursors[after] = true
	}
	return nil, fault.New(fault.Permanent, "too-many-pages", "the look-up by address does not end after %d pages", maxLookupPages)
}

// spellings returns each address once as given and once in lower case.
func spellings(emails []string) []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, e := range emails {
		e = strings.TrimSpace(e)
		for _, s := range []string{e, strings.ToLower(e)} {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

// sized asks for a page and, when Pluralsight refuses one of the configured size, for one of half that size. The
// smaller size stays, or every further page would be refused once; it is halved once only.
func sized[P any](c *Client, ask func(first int) (P, error)) (P, error) {
	first := c.pageSize.Load()
	page, err := ask(int(first))
	if fault.ReasonOf(err) != "payload-limit" || first < 2 || first < int64(c.cfg.PageSize) {
		return page, err
	}
	if c.pageSize.CompareAndSwap(first, first/2) {
		c.log.Warn("Pluralsight refused the page size; asking for half", "pageSize", first/2)
	}
	return ask(int(first / 2))
}

func cursor(after string) *string {
	if after == "" {
		return nil
	}
	return &after
}
