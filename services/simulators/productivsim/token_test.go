package productivsim_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

func form(pairs ...string) url.Values {
	values := url.Values{"grant_type": {"client_credentials"}}
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return values
}

func inBody() url.Values { return form("client_id", "client-a", "client_secret", secretA) }

func (c *client) token(values url.Values, change ...func(*http.Request)) reply {
	c.t.Helper()
	r := c.request(http.MethodPost, "/oauth2/token", "", values.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, f := range change {
		f(r)
	}
	return c.do(r)
}

func basic(id, secret string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) }
}

func accessToken(t *testing.T, r reply) string {
	t.Helper()
	var got struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(r.Body), &got); err != nil || got.AccessToken == "" || got.TokenType != "Bearer" {
		t.Fatalf("no token in %d %s", r.Status, r.Body)
	}
	return got.AccessToken
}

func TestTokenIsGoodForItsOwnApps(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	token := accessToken(t, c.token(inBody()))
	c.wantStatus(c.call(http.MethodGet, usersA, token, ""), 200)
	c.wantStatus(c.call(http.MethodGet, "/services/push/v1/customer/apps/app-b/users", token, ""), 403)
	c.wantStatus(c.call(http.MethodGet, "/services/push/v1/customer/apps/app-c/users", token, ""), 404)
	c.wantStatus(c.call(http.MethodGet, usersA, tokenB, ""), 403)
	c.wantStatus(c.call(http.MethodGet, usersA, "", ""), 401)
	c.wantStatus(c.call(http.MethodGet, usersA, "guess", ""), 401)
	if err := c.sim.RevokeTokens("app-a"); err != nil {
		t.Fatal(err)
	}
	c.wantStatus(c.call(http.MethodGet, usersA, token, ""), 401)
	c.wantStatus(c.call(http.MethodGet, usersA, tokenA, ""), 401)
	c.wantStatus(c.call(http.MethodGet, usersA, accessToken(t, c.token(inBody())), ""), 200)
}

func TestTokenAuthStyles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		accepted     productivsim.TokenAuth
		body, header int
	}{
		{productivsim.TokenAuthBody, 200, 401},
		{productivsim.TokenAuthBasic, 401, 200},
		{productivsim.TokenAuthEither, 200, 200},
	} {
		c := with(t, func(s *switches) { s.TokenAuth = tt.accepted })
		c.wantStatus(c.token(inBody()), tt.body)
		c.wantStatus(c.token(form(), basic("client-a", secretA)), tt.header)
		c.wantStatus(c.token(inBody(), basic("client-a", secretA)), 400)
	}
}

func TestTokenRefusals(t *testing.T) {
	t.Parallel()
	o := options()
	o.Apps[0].Scopes = []string{productivsim.ScopeConnectorWrite}
	c := start(t, o)
	scoped := func(scope string) url.Values {
		values := inBody()
		values.Set("scope", scope)
		return values
	}
	wrongGrant := inBody()
	wrongGrant.Set("grant_type", "password")
	for name, tt := range map[string]struct {
		values url.Values
		status int
		code   string
	}{
		"wrong secret":   {form("client_id", "client-a", "client_secret", "x"), 401, "invalid_client"},
		"unknown client": {form("client_id", "nobody", "client_secret", ""), 401, "invalid_client"},
		"nothing":        {form(), 401, "invalid_client"},
		"wrong grant":    {wrongGrant, 400, "unsupported_grant_type"},
		"scope not granted": {
			scoped(productivsim.ScopeConnectorWrite + " " + productivsim.ScopeResultsRead), 400, "invalid_scope"},
		"granted scope": {scoped(productivsim.ScopeConnectorWrite), 200, ""},
	} {
		r := c.token(tt.values)
		if r.Status != tt.status || !strings.Contains(r.Body, tt.code) {
			t.Errorf("%s: got %d %s", name, r.Status, r.Body)
		}
	}
	r := c.token(inBody(), func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
	c.wantStatus(r, 400)
	for _, q := range c.sim.Requests() {
		if q.BodySHA256 != "" {
			t.Error("the ledger keeps a trace of a secret")
		}
	}
}

func TestInvalidClientCanBe400(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.InvalidClientStatus = 400 })
	c.wantStatus(c.token(form("client_id", "client-a", "client_secret", "x")), 400)
}

func TestTokenOfAnotherScopeIsForbidden(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	values := inBody()
	values.Set("scope", productivsim.ScopeResultsRead)
	token := accessToken(t, c.token(values))
	r := c.call(http.MethodGet, usersA, token, "")
	c.wantStatus(r, 403)
	if !strings.Contains(r.Header.Get("WWW-Authenticate"), productivsim.ScopeConnectorWrite) {
		t.Error("the missing scope is not named")
	}
}

func TestExpiresIn(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*switches){
		`"expires_in":3600`: func(*switches) {},
		`"expires_in":5`:    func(s *switches) { s.TokenLifetime = productivsim.Duration(5 * time.Second) },
		`"expires_in":9`:    func(s *switches) { s.ExpiresIn = productivsim.Duration(9 * time.Second) },
		`"Bearer"}`:         func(s *switches) { s.OmitExpiresIn = true },
	} {
		c := with(t, change)
		if r := c.token(inBody()); !strings.Contains(r.Body, want) {
			t.Errorf("got %s, want %s", r.Body, want)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := productivsim.New(options()).Handler()
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(inBody().Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		token := accessToken(t, reply{Status: w.Code, Body: w.Body.String()})
		status := func() int {
			r := httptest.NewRequest(http.MethodGet, usersA, nil)
			r.Header.Set("Authorization", "Bearer "+token)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code
		}
		<-time.After(time.Hour - 1)
		if got := status(); got != 200 {
			t.Errorf("just before the end: %d", got)
		}
		<-time.After(1)
		if got := status(); got != 401 {
			t.Errorf("at the end: %d", got)
		}
	})
}
