package productiv

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seatwire/seatwire/pkg/fault"
)

// bearer answers 401 to all but one token.
func bearer(token *atomic.Pointer[string], then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer "+*token.Load() {
			reply(401, "")(w, req)
			return
		}
		then(w, req)
	}
}

func TestClient_RefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	var good atomic.Pointer[string]
	good.Store(new("t1"))
	r := newRig(t, bearer(&good, reply(200, `{"success":true,"provisionedUsers":[]}`)), nil)
	var minted atomic.Int32
	mint := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		reply(200, fmt.Sprintf(`{"access_token":"t%d","expires_in":3600}`, minted.Add(1)))(w, req)
	})
	r.token.Store(&mint)
	if err := r.client.Add(t.Context(), encode(t, adaUser)); err != nil {
		t.Fatal(err)
	}
	good.Store(new("t2")) // t1 was revoked
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.client.Users(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := minted.Load(); n != 2 {
		t.Errorf("%d tokens for 20 calls refused together; want 2 in all", n)
	}
	good.Store(new("none")) // and now it is the credentials
	before := len(r.requests())
	checkFault(t, "add", r.client.Add(t.Context(), encode(t, adaUser)), fault.Permanent, "unauthorized")
	if n := len(r.requests()) - before; n != 2 || minted.Load() != 3 {
		t.Errorf("%d requests and %d tokens; want one replay with one new token", n, minted.Load())
	}
}

func TestClient_ReadyTokenIsReadForEachCall(t *testing.T) {
	t.Parallel()
	var good, file atomic.Pointer[string]
	good.Store(new("a"))
	file.Store(new("a"))
	r := newRig(t, bearer(&good, reply(200, `{"success":true}`)), func(c *Config) {
		c.ClientSecret = nil
		c.AccessToken = func() (string, error) {
			token := *file.Load()
			if token == "" {
				return "", errors.New("file /run/x is empty")
			}
			return token, nil
		}
	})
	add := func() error { return r.client.Add(t.Context(), encode(t, adaUser)) }
	checkFault(t, "first", add(), 0, "")
	good.Store(new("b"))
	file.Store(new("b"))
	checkFault(t, "rotated", add(), 0, "")
	good.Store(new("c"))
	before := len(r.requests())
	checkFault(t, "refused", add(), fault.Permanent, "unauthorized")
	if n := len(r.requests()) - before; n != 1 {
		t.Errorf("a token that had not changed was sent %d times", n)
	}
	file.Store(new(""))
	checkFault(t, "empty", add(), fault.Transient, "no-credentials")
	file.Store(new("a\nb"))
	checkFault(t, "two lines", add(), fault.Permanent, "no-credentials")
}

// TestClient_ReadyTokenReplacedMeanwhile: the file changed between our reading it and Productiv's refusal.
func TestClient_ReadyTokenReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	var good atomic.Pointer[string]
	good.Store(new("new"))
	var reads atomic.Int32
	r := newRig(t, bearer(&good, reply(200, `{"success":true}`)), func(c *Config) {
		c.AccessToken = func() (string, error) {
			if reads.Add(1) == 1 {
				return "old", nil
			}
			return "new", nil
		}
	})
	if err := r.client.Add(t.Context(), encode(t, adaUser)); err != nil || len(r.requests()) != 2 {
		t.Errorf("%v after %d requests", err, len(r.requests()))
	}
}

// credentialsDesk is a token endpoint that checks what it is asked, and answers by the way the credentials came.
type credentialsDesk struct {
	t               *testing.T
	ifBasic, ifBody http.HandlerFunc
	basic, body     atomic.Int32
}

func (d *credentialsDesk) serve(w http.ResponseWriter, req *http.Request) {
	id, key, isBasic := req.BasicAuth()
	if req.Method != http.MethodPost || req.PostFormValue("grant_type") != "client_credentials" || req.PostFormValue("scope") != scope {
		d.t.Errorf("asked by %s with %d fields", req.Method, len(req.PostForm))
	}
	if isBasic == req.PostForm.Has("client_secret") {
		d.t.Error("the credentials came both ways, or neither")
	}
	if isBasic {
		d.basic.Add(1)
		d.ifBasic(w, req)
	} else {
		d.body.Add(1)
		id, key = req.PostFormValue("client_id"), req.PostFormValue("client_secret")
		d.ifBody(w, req)
	}
	if id != "id" || key != secret {
		d.t.Error("other credentials came")
	}
}

// TestClient_TokenEndpoint is how credentials are sent, and what its refusals mean.
func TestClient_TokenEndpoint(t *testing.T) {
	t.Parallel()
	type asked struct{ basic, body int }
	for name, c := range map[string]struct {
		style  AuthStyle
		body   http.HandlerFunc // answer to credentials in the body
		basic  http.HandlerFunc // answer to credentials in the header
		class  fault.Class
		reason string
		asked  asked // by two calls
	}{
		"auto, body works":       {style: AuthAuto, body: good, asked: asked{0, 1}},
		"auto, basic works":      {style: AuthAuto, body: reply(400, `{"error":"invalid_client"}`), basic: good, asked: asked{1, 1}},
		"auto, basic after 401":  {style: AuthAuto, body: reply(401, `no`), basic: good, asked: asked{1, 1}},
		"auto, neither":          {style: AuthAuto, body: reply(401, ""), basic: reply(401, ""), class: fault.Permanent, reason: "client-refused", asked: asked{2, 2}},
		"auto, wrong scope":      {style: AuthAuto, body: reply(400, `{"error":"invalid_scope","error_description":"ada@example.com"}`), class: fault.Permanent, reason: "token-refused", asked: asked{0, 2}},
		"auto, forbidden":        {style: AuthAuto, body: reply(403, "ada"), class: fault.Permanent, reason: "token-refused", asked: asked{0, 2}},
		"auto, down":             {style: AuthAuto, body: reply(502, ""), class: fault.Transient, reason: "server-error", asked: asked{0, 2}},
		"auto, throttled":        {style: AuthAuto, body: reply(429, ""), class: fault.Throttled, reason: "rate-limited", asked: asked{0, 2}},
		"auto, garbage":          {style: AuthAuto, body: reply(200, "<html>ada"), class: fault.Transient, reason: "token-malformed", asked: asked{0, 2}},
		"body only":              {style: AuthBody, body: reply(401, ""), basic: good, class: fault.Permanent, reason: "client-refused", asked: asked{0, 2}},
		"basic only":             {style: AuthBasic, basic: good, asked: asked{1, 0}},
		"basic only, and it not": {style: AuthBasic, basic: reply(400, `{"error":"invalid_client"}`), body: good, class: fault.Permanent, reason: "client-refused", asked: asked{2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, reply(200, `{"success":true,"provisionedUsers":[]}`), func(cfg *Config) { cfg.AuthStyle = c.style })
			desk := &credentialsDesk{t: t, ifBasic: c.basic, ifBody: c.body}
			r.token.Store(new(http.HandlerFunc(desk.serve)))
			for range 2 {
				_, err := r.client.Users(t.Context(), "")
				checkFault(t, name, err, c.class, c.reason)
				r.client.tokens.Invalidate("none") // the two calls share a token if there is one
			}
			if got := (asked{int(desk.basic.Load()), int(desk.body.Load())}); got != c.asked {
				t.Errorf("asked %+v; want %+v", got, c.asked)
			}
			if strings.Contains(r.log.String(), "hunter2") {
				t.Errorf("log:\n%s", &r.log)
			}
		})
	}
}

var good = reply(200, `{"access_token":"t1","token_type":"Bearer","expires_in":3600}`)

func TestClient_BasicIsRememberedForLaterTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t, reply(200, `{"success":true,"provisionedUsers":[]}`), nil)
	var asked []bool // basic?
	endpoint := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _, basic := req.BasicAuth()
		asked = append(asked, basic)
		if !basic {
			reply(400, `{"error":"invalid_client"}`)(w, req)
			return
		}
		good(w, req)
	})
	r.token.Store(&endpoint)
	for range 2 {
		if _, err := r.client.Users(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		r.client.tokens.Invalidate("t1")
	}
	if diff := cmp.Diff([]bool{false, true, true}, asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if strings.Count(r.log.String(), "Authorization header only") != 1 {
		t.Errorf("log:\n%s", &r.log)
	}
}
