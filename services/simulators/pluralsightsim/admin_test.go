package pluralsightsim_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// do sends a request to the control API.
func (b *bench) do(method, path, body string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+"/_sim/"+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(req)
}

// control sends a request, wants a status and decodes the answer.
func control[T any](b *bench, method, path, body string, status int) T {
	b.t.Helper()
	var v T
	a := b.do(method, path, body)
	if a.err != nil || a.status != status {
		b.t.Fatalf("%s %s: %d %v %s", method, path, a.status, a.err, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		b.t.Fatalf("%s %s: %v in %s", method, path, err, a.body)
	}
	return v
}

func TestControlPeople(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	added := control[sim.Person](b, "POST", "people", `{"op":"add","plan":"acme","person":{"email":"n@acme.example.com","isOnAccount":null}}`, 200)
	if added.PsUserID == "" || added.IsOnAccount != sim.Null {
		t.Errorf("added %+v", added)
	}
	edited := control[sim.Person](b, "POST", "people", `{"op":"edit","plan":"acme","psUserId":"id-aa","person":{"lastName":"New","isOnAccount":true}}`, 200)
	b.want([]any{edited.LastName, edited.Email}, []any{"New", "aa@acme.example.com"})
	b.want(control[sim.Person](b, "POST", "people", `{"op":"remove","plan":"acme","psUserId":"id-aa"}`, 200).IsOnAccount, sim.No)
	b.want(control[sim.Person](b, "POST", "people", `{"op":"readd","plan":"acme","psUserId":"id-aa"}`, 200).IsOnAccount, sim.Yes)
	control[struct{}](b, "POST", "people", `{"op":"move-last","plan":"acme","psUserId":"id-aa"}`, 200)
	control[struct{}](b, "POST", "people", `{"op":"erase","plan":"acme","psUserId":"id-ab"}`, 200)
	all := control[[]sim.Person](b, "GET", "people?plan=acme&limit=5", "", 200)
	b.want([]string{all[0].PsUserID, all[1].PsUserID}, []string{added.PsUserID, "id-aa"})
	b.want(len(control[[]sim.Person](b, "GET", "people?plan=acme&email=N@acme.example.com", "", 200)), 1)
	b.want(len(control[[]sim.Person](b, "GET", "people?plan=acme&psUserId=id-aa", "", 200)), 1)

	history := control[[]sim.Change](b, "GET", "history?plan=acme&psUserId=id-aa&after=2", "", 200)
	var kinds []string
	for _, c := range history {
		kinds = append(kinds, c.Kind)
	}
	b.want(kinds, []string{"removed", "readded", "moved"})

	for body, status := range map[string]int{
		`{"op":"remove","plan":"acme","psUserId":"nobody"}`:                                 404,
		`{"op":"remove","plan":"nowhere","psUserId":"id-aa"}`:                               404,
		`{"op":"add","plan":"acme","person":{"psUserId":"id-aa"}}`:                          400,
		`{"op":"add","plan":"acme","person":{"emial":"x"}}`:                                 400,
		`{"op":"edit","plan":"acme","psUserId":"id-aa","person":{"isOnAccount":"perhaps"}}`: 400,
		`{"op":"explode"}`: 400, `{`: 400, `{} {}`: 400,
	} {
		b.want(b.do("POST", "people", body).status, status)
	}
}

func TestControlSwitchesAndFaults(t *testing.T) {
	t.Parallel()
	b := setup(t, people(3)...)
	sw := control[sim.Switches](b, "PUT", "switches?plan=acme", `{"paging":{"cap":1},"graphql":{"hidden":["User.note"]},"latency":"1ms"}`, 200)
	b.want([]any{sw.Paging.Cap, sw.Paging.Cursors, sw.GraphQL.Hidden}, []any{1, "keyset", []string{"User.note"}})
	b.want(len(b.page(nil).Nodes), 1)
	b.want(control[sim.Switches](b, "GET", "switches?plan=globex", "", 200).Paging.Cap, 1000)
	for _, bad := range []string{`{"paging":{"cap":"x"}}`, `{"paging":{"cups":1}}`, `{"users":{"removed":"x"}}`, `{"graphql":{"hidden":["No.such"]}}`} {
		b.want(b.do("PUT", "switches?plan=acme", bad).status, 400)
	}
	b.want(len(b.page(nil).Nodes), 1)

	ids := control[map[string][]string](b, "POST", "faults", `[{"match":{"times":1},"action":"answer","status":503},{"id":"mine","action":"null-node"}]`, 200)
	b.want(ids["ids"], []string{"f1", "mine"})
	control[struct{}](b, "POST", "faults", `{"action":"drip"}`, 200)
	b.want(b.raw(countQuery, nil).status, 503)
	b.want(control[[]sim.FaultState](b, "GET", "faults", "", 200)[0].Fired, 1)
	b.want(b.do("POST", "faults", `{"action":"melt"}`).status, 400)
	b.want(len(control[[]sim.FaultState](b, "DELETE", "faults", "", 200)), 0)
}

func TestControlState(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	b.configure(func(s *sim.Switches) { s.Deprovision.EffectDelay = sim.Duration(3_600_000_000_000) })
	b.deprovision(apply, header+rowA)
	b.want(control[[]sim.Job](b, "GET", "jobs?plan=acme", "", 200)[0].Done, false)
	control[struct{}](b, "POST", "advance", `{"by":"1h"}`, 200)
	b.want(control[[]sim.Job](b, "GET", "jobs?plan=acme", "", 200)[0].Done, true)
	state := control[sim.State](b, "GET", "state", "", 200)
	b.want([]any{state.Requests, state.Plans[0].Counts.Applied, state.Plans[1].Name}, []any{1, 1, "globex"})
	b.want(control[[]sim.Request](b, "GET", "requests?plan=acme", "", 200)[0].Deprovision.Applied, []string{"id-aa"})
	b.want(len(control[[]sim.Request](b, "GET", "requests?after=1", "", 200)), 0)
	control[struct{}](b, "POST", "key", `{"plan":"acme","key":"fresh"}`, 200)
	b.want(b.raw(countQuery, nil).status, 401)
	b.want(b.do("POST", "advance", `{"by":"-1h"}`).status, 400)
	control[struct{}](b, "POST", "reset", ``, 200)
	b.want(control[sim.State](b, "GET", "state", "", 200).Requests, 0)
	b.want(b.raw(countQuery, nil).status, 200)
}

func TestPage(t *testing.T) {
	t.Parallel()
	nasty := people(2)
	nasty[0].FirstName = `<script>alert(1)</script>`
	b := setup(t, nasty...)
	b.inject(sim.Fault{Action: sim.Delay, ID: "slow"})
	b.deprovision(apply, header+rowB)
	a := b.do("GET", "?plan=acme&error=%3Cb%3E", "")
	if a.status != 200 || strings.Contains(a.body, "<script>") || strings.Contains(a.body, "<b>") {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, want := range []string{"aa@acme.example.com", "slow", "deprovision request 1", "1 rows, dryRun=false: Completed Successfully"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if p := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(p, "default-src 'none'") || strings.Contains(p, "unsafe") {
		t.Errorf("policy %q", p)
	}
	b.want(b.do("GET", "page.css", "").header.Get("Content-Type"), "text/css; charset=utf-8")
}

func TestPageForms(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	post := func(act string, values url.Values) string {
		values.Set("plan", "acme")
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.url+"/_sim/page/"+act, strings.NewReader(values.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a := b.send(req)
		b.want(a.status, http.StatusSeeOther)
		return a.header.Get("Location")
	}
	b.want(post("person", url.Values{"op": {"remove"}, "psUserId": {"id-aa"}}), "/_sim/?plan=acme")
	b.want(b.off(), "aa")
	post("switches", url.Values{"json": {`{"paging":{"cap":1}}`}})
	b.want(len(b.page(nil).Nodes), 1)
	post("faults", url.Values{"json": {`{"action":"answer","status":500}`}})
	b.want(b.raw(countQuery, nil).status, 500)
	post("clear-faults", url.Values{})
	b.want(b.raw(countQuery, nil).status, 200)
	post("advance", url.Values{"by": {"1h"}})
	b.want(b.sim.Now().Sub(noon).Hours(), 1.0)
	if got := post("faults", url.Values{"json": {`{"action":"melt"}`}}); !strings.Contains(got, "error=") {
		t.Errorf("no error came back: %s", got)
	}
	post("reset", url.Values{})
	b.want(b.off(), "")
}

func TestOtherSitesCannotSteer(t *testing.T) {
	t.Parallel()
	b := setup(t, people(1)...)
	req, err := http.NewRequestWithContext(t.Context(), "POST", b.url+"/_sim/reset", io.NopCloser(strings.NewReader("")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://elsewhere.example")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	b.want(b.send(req).status, http.StatusForbidden)
}
