package productivsim_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

const latestUsers = "/pull/v1/provisioning-workflows/application-instances/app-a-2/executions/latest/users"

func TestWorkflowUsers(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.PageSize = 1 })
	c.wantBody(c.call(http.MethodGet, latestUsers, tokenA, ""), `{"Users":[]}`)
	err := c.sim.SetWorkflowUsers("app-a", []productivsim.WorkflowUser{
		{Email: "ada@example.com", Outcome: productivsim.WorkflowOutcome{Action: "deprovisioned", IsSuggest: true}},
		{Email: "bob@example.com", Outcome: productivsim.WorkflowOutcome{Action: "deprovisioned"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := c.call(http.MethodGet, latestUsers, tokenA, "")
	c.wantStatus(first, 200)
	prefix := `{"Users":[{"Email":"ada@example.com","Outcome":{"Action":"deprovisioned","IsSuggest":true}}],"nextPageToken":"`
	token, found := strings.CutPrefix(first.Body, prefix)
	if !found {
		t.Fatalf("first page is %s", first.Body)
	}
	c.wantBody(c.call(http.MethodGet, latestUsers+"?pageToken="+strings.TrimSuffix(token, `"}`), tokenA, ""),
		`{"Users":[{"Email":"bob@example.com","Outcome":{"Action":"deprovisioned","IsSuggest":false}}]}`)
	c.wantStatus(c.call(http.MethodGet, latestUsers+"?pageToken=guess", tokenA, ""), 400)
	c.wantStatus(c.call(http.MethodGet, strings.Replace(latestUsers, "latest", "17", 1), tokenA, ""), 400)
	c.wantStatus(c.call(http.MethodGet, latestUsers, tokenB, ""), 403)
	c.wantStatus(c.call(http.MethodGet, strings.Replace(latestUsers, "app-a-2", "app-a", 1), tokenA, ""), 404)
}

func TestResumeIsASuccessAndThenADuplicate(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	token, err := c.sim.IssueCallback("app-a")
	if err != nil {
		t.Fatal(err)
	}
	sent := `{"CallbackToken":"` + token + `"}`
	c.wantStatus(c.call(http.MethodPost, "/workflows/resume", "", sent), 401)
	c.wantStatus(c.call(http.MethodPost, "/workflows/resume", tokenB, sent), 403)
	c.wantStatus(c.call(http.MethodPost, "/workflows/resume", tokenA, `{"CallbackToken":"guess"}`), 400)
	if c.sim.Resumed(token) {
		t.Fatal("resumed by nobody")
	}
	c.wantBody(c.call(http.MethodPost, "/workflows/resume", tokenA, sent), `{"result":"success"}`)
	c.wantBody(c.call(http.MethodPost, "/workflows/resume", tokenA, sent), `{"result":"duplicate"}`)
	if !c.sim.Resumed(token) {
		t.Error("not resumed")
	}
	if got := c.sim.Requests()[3]; got.App != "app-a" || got.Endpoint != productivsim.EndpointResume {
		t.Errorf("ledger says %+v", got)
	}
}
