package productivsim_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

func (c *client) admin(method, path, body string) reply {
	c.t.Helper()
	return c.call(method, "/_sim/"+path, "", body)
}

func into[T any](c *client, r reply) (v T) {
	c.t.Helper()
	c.wantStatus(r, 200)
	if err := json.Unmarshal([]byte(r.Body), &v); err != nil {
		c.t.Fatal(err)
	}
	return v
}

func TestAdminSteersTheSimulator(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.wantStatus(c.admin("PUT", "apps/app-a/users", `[{"appUserId":"x","email":"x@y"}]`), 204)
	c.wantStatus(c.admin("PUT", "switches", `{"semantics":"replace","latency":"1ms"}`), 204)
	c.wantStatus(c.admin("POST", "faults", `{"kind":"status","status":500,"method":"POST"}`), 204)
	c.wantStatus(c.admin("POST", "faults", `[{"kind":"html"},{"kind":"reset"}]`), 204)
	if got := c.sim.Switches(); got.Semantics != "replace" || got.Key != "id" || len(c.sim.Faults()) != 3 {
		t.Errorf("switches are %+v", got)
	}
	c.wantStatus(c.post(user("ada")), 500)
	c.wantStatus(c.admin("DELETE", "faults", ""), 204)
	c.wantStatus(c.post(user("ada")), 200)

	if got := into[[]productivsim.User](c, c.admin("GET", "apps/app-a/users", "")); len(got) != 1 || got[0] != user("ada") {
		t.Errorf("users are %+v", got)
	}
	if got := into[[]productivsim.Request](c, c.admin("GET", "requests?since=1&app=app-a", "")); len(got) != 1 || got[0].Lost != 1 {
		t.Errorf("requests are %+v", got)
	}
	if got := into[[]productivsim.Change](c, c.admin("GET", "history?limit=1", "")); len(got) != 1 || got[0].After.AppUserID != "x" {
		t.Errorf("history is %+v", got)
	}
	st := into[productivsim.State](c, c.admin("GET", "state", ""))
	if len(st.Apps) != 2 || st.Apps[0].Counts.Users != 1 || st.Counts.Lost != 1 || st.Switches.Semantics != "replace" {
		t.Errorf("state is %+v", st)
	}
	c.wantStatus(c.admin("POST", "apps/app-a/revoke-tokens", ""), 204)
	c.wantStatus(c.post(user("ada")), 401)
	c.wantStatus(c.admin("POST", "reset", ""), 204)
	c.wantUsers()
	c.wantStatus(c.post(user("ada")), 200)
}

func TestAdminWorkflows(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.wantStatus(c.admin("PUT", "apps/app-a/workflow-users", `[{"Email":"a@b","Outcome":{"Action":"deprovisioned","IsSuggest":true}}]`), 204)
	if r := c.call(http.MethodGet, latestUsers, tokenA, ""); !strings.Contains(r.Body, "a@b") {
		t.Errorf("got %s", r.Body)
	}
	callback := into[map[string]string](c, c.admin("POST", "apps/app-a/callbacks", ""))["CallbackToken"]
	c.wantBody(c.call(http.MethodPost, "/workflows/resume", tokenA, `{"CallbackToken":"`+callback+`"}`), `{"result":"success"}`)
}

func TestAdminRefusesWhatItDoesNotUnderstand(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"PUT", "switches", `{"semantic":"replace"}`, 400},
		{"PUT", "switches", `{"semantics":"merge"}`, 400},
		{"PUT", "switches", `{} {}`, 400},
		{"POST", "faults", `{"kind":"explode"}`, 400},
		{"POST", "faults", `nonsense`, 400},
		{"PUT", "apps/app-a/users", `[{"appUserId":"x"}]`, 400},
		{"PUT", "apps/nobody/users", `[]`, 404},
		{"GET", "apps/nobody/users", ``, 404},
		{"GET", "requests?since=x", ``, 400},
		{"POST", "form/nothing", ``, 400},
		{"POST", "state", ``, 405},
	} {
		c.wantStatus(c.admin(tt.method, tt.path, tt.body), tt.status)
	}
}

func TestPageShowsStateWithoutSecretsOrScript(t *testing.T) {
	t.Parallel()
	o := options()
	o.Apps[0].ID = `<script>alert(1)</script>`
	c := start(t, o)
	c.inject(fault{Kind: "html", Times: 3})
	c.post(user("ada"))
	r := c.admin("GET", "", "")
	c.wantStatus(r, 200)
	if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") {
		t.Errorf("policy is %q", csp)
	}
	for _, forbidden := range []string{"<script", " style=", " onclick", secretA, tokenA} {
		if strings.Contains(r.Body, forbidden) {
			t.Errorf("page holds %q", forbidden)
		}
	}
	for _, wanted := range []string{"app-b", "POST users", "cut after the effect", "&#34;semantics&#34;", "under way"} {
		if has := strings.Contains(r.Body, wanted); has != (wanted != "under way") {
			t.Errorf("page holds %q: %v", wanted, has)
		}
	}
	c.wantStatus(c.admin("GET", "style.css", ""), 200)
}

func TestFormsDoWhatTheySay(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	send := func(form string, values url.Values, origin string) reply {
		r := c.request(http.MethodPost, "/_sim/form/"+form, "", values.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", origin)
		return c.do(r)
	}
	c.wantStatus(send("switches", url.Values{"json": {`{"key":"pair"}`}}, "same-origin"), 303)
	c.wantStatus(send("fault", url.Values{"json": {`{"kind":"reset"}`}}, "same-origin"), 303)
	c.wantStatus(send("preset", url.Values{"name": {"HTML page with 200"}, "app": {"app-b"}}, "same-origin"), 303)
	c.wantStatus(send("preset", url.Values{"name": {"unknown"}}, "same-origin"), 400)
	if f := c.sim.Faults(); c.sim.Switches().Key != "pair" || len(f) != 2 || f[1].Fault.App != "app-b" {
		t.Errorf("faults are %+v", f)
	}
	c.wantStatus(send("reset", nil, "cross-site"), 403)
	c.wantStatus(send("clear", nil, "same-origin"), 303)
	c.wantStatus(send("reset", nil, "same-origin"), 303)
	if c.sim.Switches().Key != "id" || len(c.sim.Faults()) != 0 {
		t.Error("reset did not reset")
	}
}

func TestOptionsThatMeanNothingPanic(t *testing.T) {
	t.Parallel()
	for name, apps := range map[string][]productivsim.App{
		"empty id": {{}}, "one id twice": {{ID: "a"}, {ID: "a"}}, "one user twice": {{ID: "a", Users: []productivsim.User{user("u"), user("u")}}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			productivsim.New(productivsim.Options{Apps: apps})
		})
	}
}
