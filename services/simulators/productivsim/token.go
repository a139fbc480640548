package productivsim

import (
	"crypto/rand"
	"crypto/subtle"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const scopePrefix = "https://api.productiv.com/"

// The scopes that the simulated endpoints need.
const (
	// ScopeConnectorWrite is for reading and writing provisioned users.
	ScopeConnectorWrite = scopePrefix + "connector.write"
	// ScopeResultsRead is for the users of a workflow execution.
	ScopeResultsRead = scopePrefix + "elm.results.read"
	// ScopeWorkflowWrite is for resuming a workflow that waits.
	ScopeWorkflowWrite = scopePrefix + "aph.workflow.write"
)

// knownScopes are all that the documentation names.
var knownScopes = []string{
	ScopeConnectorWrite, ScopeResultsRead, ScopeWorkflowWrite,
	scopePrefix + "report.read", scopePrefix + "apps.read", scopePrefix + "users.read", scopePrefix + "elm.policy.read",
}

// grant is what a bearer token stands for.
type grant struct {
	// client is the customer's credential; for a ready token, app is the only app that it is good for when client is empty.
	client, app string
	scopes      []string
	// expires is zero for a ready token.
	expires time.Time
}

// covers reports whether the grant is of a's customer.
func (g grant) covers(a *app) bool {
	return g.app == a.id || g.client != "" && g.client == a.client
}

// tokens are the bearer tokens that are worth something. Expired ones stay until Reset: a run issues few.
type tokens struct {
	mu     sync.Mutex
	grants map[string]grant
}

func newTokens() *tokens { return &tokens{grants: map[string]grant{}} }

func (t *tokens) reset(apps []App) {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.grants)
	for _, a := range apps {
		scopes := a.Scopes
		if len(scopes) == 0 {
			scopes = knownScopes
		}
		for _, token := range a.AccessTokens {
			t.grants[token] = grant{client: a.ClientID, app: a.ID, scopes: scopes}
		}
	}
}

func (t *tokens) issue(g grant) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	token := rand.Text()
	t.grants[token] = g
	return token
}

func (t *tokens) find(token string, now time.Time) (grant, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, known := t.grants[token]
	return g, known && (g.expires.IsZero() || now.Before(g.expires))
}

func (t *tokens) revoke(a *app) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for token, g := range t.grants {
		if g.covers(a) {
			delete(t.grants, token)
		}
	}
}

// tokenAnswer is RFC 6749, section 5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   *int   `json:"expires_in,omitempty"`
}

// issueToken is the token endpoint: the client credentials flow of RFC 6749, section 4.4.
func (s *Sim) issueToken(c *call) answer {
	if c.Method != http.MethodPost {
		return refusal(http.StatusMethodNotAllowed, "method not allowed")
	}
	if kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return oauthError(http.StatusBadRequest, "invalid_request")
	}
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return oauthError(http.StatusBadRequest, "invalid_request")
	}
	creds := credentialsOf(c.Request, form)
	switch {
	case creds.inBody && creds.inHeader: // section 2.3: not more than one method in each request
		return oauthError(http.StatusBadRequest, "invalid_request")
	case !creds.acceptedBy(c.set.TokenAuth) || c.app == nil || !sameText(creds.secret, c.app.secret):
		return oauthError(c.set.InvalidClientStatus, "invalid_client")
	case form.Get("grant_type") != "client_credentials":
		return oauthError(http.StatusBadRequest, "unsupported_grant_type")
	}
	scopes := strings.Fields(form.Get("scope"))
	if len(scopes) == 0 {
		scopes = c.app.scopes
	}
	for _, scope := range scopes {
		if !slices.Contains(c.app.scopes, scope) {
			return oauthError(http.StatusBadRequest, "invalid_scope")
		}
	}
	return s.newToken(c, scopes)
}

func (s *Sim) newToken(c *call, scopes []string) answer {
	life := c.set.TokenLifetime.Std()
	token := s.tokens.issue(grant{client: c.app.client, scopes: scopes, expires: time.Now().Add(life)})
	said := tokenAnswer{AccessToken: token, TokenType: "Bearer"}
	if c.set.ExpiresIn > 0 {
		life = c.set.ExpiresIn.Std()
	}
	if !c.set.OmitExpiresIn {
		said.ExpiresIn = new(int(life.Seconds()))
	}
	c.entry.Applied = true
	a := ok(said)
	a.header.Set("Cache-Control", "no-store")
	return a
}

func oauthError(status int, code string) answer {
	a := ok(struct {
		Error string `json:"error"`
	}{code})
	a.status = status
	if status == http.StatusUnauthorized {
		a.header.Set("WWW-Authenticate", `Basic realm="productiv"`)
	}
	return a
}

// credentials are a client's, with where they were found.
type credentials struct {
	id, secret       string
	inBody, inHeader bool
}

func credentialsOf(r *http.Request, form url.Values) credentials {
	creds := credentials{id: form.Get("client_id"), secret: form.Get("client_secret"), inBody: form.Has("client_secret")}
	if id, secret, found := r.BasicAuth(); found {
		creds.inHeader = true
		// Section 2.3.1: both parts are form-encoded before they are joined.
		creds.id, creds.secret = unescape(id), unescape(secret)
	}
	return creds
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

func (c credentials) acceptedBy(style TokenAuth) bool {
	switch style {
	case TokenAuthBody:
		return c.inBody
	case TokenAuthBasic:
		return c.inHeader
	default:
		return c.inBody || c.inHeader
	}
}

// appOfClient is the first app, by id, of the customer who asks for a token.
func (s *Sim) appOfClient(c *call) *app {
	form, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil
	}
	client := credentialsOf(c.Request, form).id
	for _, id := range s.Apps() {
		if a := s.apps[id]; client != "" && a.client == client {
			return a
		}
	}
	return nil
}

func sameText(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// authorize returns the refusal that the call's token earns, if any. A token that is none is a 401, before it is known
// whether the app exists; a stranger's token is a 403.
func (s *Sim) authorize(c *call, scope string) *answer {
	g, valid := s.bearer(c)
	switch {
	case !valid:
		a := refuse(http.StatusUnauthorized, "token is missing, expired or revoked")
		a.header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		return a
	case c.app == nil:
		return refuse(http.StatusNotFound, "no such application")
	case !g.covers(c.app):
		return refuse(http.StatusForbidden, "application belongs to another customer")
	case !slices.Contains(g.scopes, scope):
		a := refuse(http.StatusForbidden, "token lacks the scope "+scope)
		a.header.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+scope+`"`)
		return a
	}
	return nil
}

func (s *Sim) bearer(c *call) (grant, bool) {
	scheme, token, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return grant{}, false
	}
	return s.tokens.find(strings.TrimSpace(token), time.Now())
}
