// Package productiv is the client of Productiv's developer push API: the list of people who hold a licence of one app.
//
// What flows in: pages of that list, and sealed bodies of people to add or remove. What flows out: the same over HTTP,
// with a typed fault (package fault) for everything that is not a confirmed success. Three rules make it safe to stand
// in front of other people's data:
//
//   - Success is a 2xx answer that is JSON and says "success": true. Anything less is a failure, because a proxy's page
//     and an empty object look like success too.
//   - A write asks its Guard three times: before each attempt, before the token is put on the wire again after a 401,
//     and at every write to the connection. A process that was frozen after it lost its lane can wake between any two
//     lines of code; it still cannot finish a request.
//   - The bearer token goes to BaseURL's host and nowhere else: redirects are never followed.
//
// Whatever a vendor or a person wrote stays out of every error and log line.
package productiv

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/policy"
)

// vendor is the name of the other side in logs and metrics.
const vendor = "productiv"

// Config says which app, with which credentials, and how patiently.
type Config struct {
	// BaseURL of the push API, without the path.
	BaseURL string
	// TokenURL is the whole URL of the OAuth token endpoint. Unused with AccessToken.
	TokenURL string
	// AppID of the app whose people these are; opaque.
	AppID string
	// ClientID and ClientSecret ask for tokens. The secret is read at each request for one.
	ClientID     string
	ClientSecret func() (string, error)
	// AccessToken is a ready bearer token, instead of ClientID and ClientSecret. It is read for each call.
	AccessToken func() (string, error)
	// AuthStyle is how the token endpoint gets the credentials: see the constants.
	AuthStyle AuthStyle
	// Retry is for every call: a repeated write has the effect of one. CallTimeout also bounds a request for a token.
	Retry config.Retry
	// UserAgent names the program and its version.
	UserAgent string
	// Guard says why nothing may be written now, or nil. It is called often, and must be fast and not block. A nil Guard
	// always agrees.
	Guard func() error
}

// Deps is what a program hands over.
type Deps struct {
	// Log is told of retries. Nil is silence.
	Log *slog.Logger
	// Registry gets seatwire_vendor_requests_total, shared by all vendors' clients. Nil is none.
	Registry prometheus.Registerer
	// Connection is the connection's name: a metric label.
	Connection string
}

// Client talks to Productiv for one app. It is safe for concurrent use.
type Client struct {
	cfg      Config
	log      *slog.Logger
	requests *policy.Requests
	usersURL string
	// reads is for calls that change nothing, writes for those that do: see newGuardedClient.
	reads, writes *http.Client
	tokens        tokenSource
	stop          context.CancelFunc

	pages    *policy.Executor[Page]
	adds     *policy.Executor[struct{}]
	removals *policy.Executor[Removed]
}

// tokenSource gives the bearer token for a call.
type tokenSource interface {
	// Token returns a token that is good as far as is known here.
	Token(ctx context.Context) (string, error)
	// Invalidate says that the API refused this token.
	Invalidate(token string)
}

// New returns a client. It makes no call and reads no secret; what is wrong with cfg shows at the first call.
func New(cfg Config, deps Deps) *Client {
	lifetime, stop := context.WithCancel(context.Background())
	c := &Client{
		cfg:      cfg,
		log:      deps.Log,
		usersURL: strings.TrimRight(cfg.BaseURL, "/") + "/services/push/v1/customer/apps/" + url.PathEscape(cfg.AppID) + "/users",
		reads:    newHTTPClient(),
		stop:     stop,
	}
	c.writes = newGuardedClient(c.guard)
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.log = c.log.With("vendor", vendor, "connection", deps.Connection)
	c.requests = policy.NewRequests(deps.Registry, c.log, vendor, deps.Connection)
	c.tokens = c.newTokenSource(lifetime)
	c.pages = policy.New[Page](cfg.Retry, c.onRetry)
	c.adds = policy.New[struct{}](cfg.Retry, c.onRetry)
	c.removals = policy.New[Removed](cfg.Retry, c.onRetry)
	return c
}

func (c *Client) newTokenSource(lifetime context.Context) tokenSource {
	if c.cfg.AccessToken != nil {
		return readyToken(c.cfg.AccessToken)
	}
	endpoint := &tokenEndpoint{client: c}
	return &cachedTokens{
		fetch:    endpoint.fetch,
		lifetime: lifetime,
		timeout:  cmp.Or(c.cfg.Retry.CallTimeout, 30*time.Second),
	}
}

// Close ends idle connections and a request for a token that is under way. Calls end with their own contexts.
func (c *Client) Close() {
	c.stop()
	c.reads.CloseIdleConnections()
	c.writes.CloseIdleConnections()
}

func (c *Client) onRetry(attempt int, err error, delay time.Duration) {
	c.log.Warn("calling Productiv again", "attempt", attempt, "reason", fault.ReasonOf(err), "delay", delay)
}

// Users returns one page of the people whom Productiv lists, the first one for "". Page.Next is "" on the last. The
// caller watches for tokens that come back.
func (c *Client) Users(ctx context.Context, pageToken string) (Page, error) {
	target := c.usersURL
	if pageToken != "" {
		target += "?" + url.Values{"nextPageToken": {pageToken}}.Encode()
	}
	return policy.Do(ctx, c.pages, func(ctx context.Context) (Page, error) {
		return exchange(ctx, c, call{operation: "users", method: http.MethodGet, url: target}, readPage)
	})
}

// Add posts an encoded body of people (see EncodeUsers). nil means that Productiv confirmed it. Adding somebody again
// changes nothing, so a failure that may have happened can be repeated.
func (c *Client) Add(ctx context.Context, body []byte) error {
	_, err := policy.Do(ctx, c.adds, func(ctx context.Context) (struct{}, error) {
		return exchange(ctx, c, call{operation: "add", method: http.MethodPost, url: c.usersURL, body: body}, readConfirmation)
	})
	return err
}

// Remove deletes an encoded body of people. Removed.All is false when Productiv did not know all of them, which after
// a repeated call is to be expected.
func (c *Client) Remove(ctx context.Context, body []byte) (Removed, error) {
	return policy.Do(ctx, c.removals, func(ctx context.Context) (Removed, error) {
		return exchange(ctx, c, call{operation: "remove", method: http.MethodDelete, url: c.usersURL, body: body}, readRemoval)
	})
}
