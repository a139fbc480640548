package composetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// The demo's tenant.
const (
	plan = "acme"
	app  = "demo-app"
)

// vendors are the simulators in the demo's container, by their control pages.
type vendors struct{ pluralsight, productiv string }

// call sends body, nil for none, and decodes the answer into out, nil for none.
func call(t *testing.T, method, url string, body, out any) {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %v\n%s", method, url, answer.Status, err, content)
	}
	if out != nil {
		if err := json.Unmarshal(content, out); err != nil {
			t.Fatalf("%s %s: %v\n%s", method, url, err, content)
		}
	}
}

// latency makes every call to both vendors last.
func (v vendors) latency(t *testing.T, d time.Duration) {
	t.Helper()
	for _, url := range []string{v.pluralsight + "/_sim/switches?plan=" + plan, v.productiv + "/_sim/switches"} {
		call(t, http.MethodPut, url, map[string]string{"latency": d.String()}, nil)
	}
}

// licensed are the people whom Productiv should list, some of them without any role or oddity.
func (v vendors) licensed(t *testing.T) (emails map[string]string, plain []pluralsightsim.Person) {
	t.Helper()
	var people []pluralsightsim.Person
	call(t, http.MethodGet, v.pluralsight+"/_sim/people?limit=100000&plan="+plan, nil, &people)
	emails = map[string]string{}
	for _, p := range people {
		if p.NeverLicensed || p.IsOnAccount != pluralsightsim.Yes || p.Email == "" {
			continue
		}
		emails[p.PsUserID] = strings.ToLower(p.Email)
		if !p.Admin && len(p.ManagerOf) == 0 {
			plain = append(plain, p)
		}
	}
	return emails, plain
}

// agree says how Productiv's list differs from Pluralsight's licensed people.
func (v vendors) agree(t *testing.T) error {
	t.Helper()
	want, _ := v.licensed(t)
	var users []productivsim.User
	call(t, http.MethodGet, v.productiv+"/_sim/apps/"+app+"/users", nil, &users)
	got := map[string]string{}
	for _, u := range users {
		got[u.AppUserID] = u.Email
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("Productiv lists %d people, Pluralsight licenses %d, or some differ", len(got), len(want))
	}
	return nil
}

func (v vendors) order(t *testing.T, op, id string, person any) {
	t.Helper()
	call(t, http.MethodPost, v.pluralsight+"/_sim/people", map[string]any{"op": op, "plan": plan, "psUserId": id, "person": person}, nil)
}

// pages and applied are Pluralsight's calls so far: GraphQL ones, and files that were sent in earnest.
func (v vendors) pages(t *testing.T) int {
	t.Helper()
	var state pluralsightsim.State
	call(t, http.MethodGet, v.pluralsight+"/_sim/state", nil, &state)
	return state.Counts["/graphql"]
}

func (v vendors) applied(t *testing.T) (calls []*pluralsightsim.DeprovisionCall) {
	t.Helper()
	var requests []pluralsightsim.Request
	call(t, http.MethodGet, v.pluralsight+"/_sim/requests?plan="+plan, nil, &requests)
	for _, r := range requests {
		if r.Deprovision != nil && !r.Deprovision.DryRun {
			calls = append(calls, r.Deprovision)
		}
	}
	return calls
}

// writes are Productiv's calls so far that change the list.
func (v vendors) writes(t *testing.T) (n int) {
	t.Helper()
	var requests []productivsim.Request
	call(t, http.MethodGet, v.productiv+"/_sim/requests?app="+app, nil, &requests)
	for _, r := range requests {
		if r.Method == http.MethodPost || r.Method == http.MethodDelete {
			n++
		}
	}
	return n
}

// nothingTwice fails when two writes overlapped, somebody was lost, or somebody's licence was taken or sent for twice.
func (v vendors) nothingTwice(t *testing.T) {
	t.Helper()
	var state productivsim.State
	call(t, http.MethodGet, v.productiv+"/_sim/state", nil, &state)
	if state.Overlaps != 0 || state.Counts.OverlappingWrites != 0 || state.Counts.Lost != 0 || state.Counts.OverLimit != 0 {
		t.Errorf("Productiv: %d overlaps, %+v", state.Overlaps, state.Counts)
	}
	taken := map[string]int{}
	for _, c := range v.applied(t) {
		for _, id := range c.Applied {
			taken[id]++
		}
		if len(c.Planned) > len(c.Applied) {
			t.Logf("a file of %d rows took %d people: the call was cut", len(c.Planned), len(c.Applied))
		}
	}
	for id, n := range taken {
		if n > 1 {
			t.Errorf("%s was deprovisioned %d times", id, n)
		}
	}
}
