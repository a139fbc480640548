package deprovisioner

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// testPlan is a small stateful Pluralsight: users, admins, and an endpoint that takes licences back. The full simulator
// lives in another module, which this one must not know.
type testPlan struct {
	*httptest.Server
	mu     sync.Mutex
	people []*testPerson
	// log is every file and every look-up by address, in order.
	log []testCall
	// react is asked about every file: it may apply rows of its own choice and answers. Nil applies all and succeeds.
	react func(p *testPlan, c testCall) (status int, text string, drop bool)
	// inFlight counts armed files under way, most is its largest value.
	inFlight, most int
	// arrived is told of every armed file.
	arrived chan testCall
}

type testPerson struct {
	ID, Email, SSO string
	Additional     []string
	Started        time.Time
	On, Admin      bool
	Removals       int
}

type testCall struct {
	at     time.Time
	dryRun bool
	strict bool
	retain bool
	rows   [][]string // of a file
	emails []string   // of a look-up
}

func newTestPlan(t *testing.T, people int) *testPlan {
	p := &testPlan{arrived: make(chan testCall, 1000)}
	for n := range people {
		p.people = append(p.people, &testPerson{ID: fmt.Sprintf("ps-%d", n), Email: fmt.Sprintf("p%d@corp.example", n), On: true,
			Started: time.Now().Add(-1000 * time.Hour)})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /graphql", p.graphql)
	mux.HandleFunc("POST /deprovision", p.deprovision)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *testPlan) graphql(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Query     string
		Variables struct {
			First  int
			After  string
			Filter *struct{ Emails []string }
		}
	}
	if json.NewDecoder(r.Body).Decode(&q) != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	root, nodes := "users", []any{}
	var matching []*testPerson
	switch {
	case strings.Contains(q.Query, "planAdmins"):
		root = "planAdmins"
		for _, person := range p.people {
			if person.Admin {
				matching = append(matching, person)
			}
		}
	case q.Variables.Filter != nil:
		p.log = append(p.log, testCall{at: time.Now(), emails: q.Variables.Filter.Emails})
		for _, person := range p.people {
			if slices.Contains(q.Variables.Filter.Emails, person.Email) {
				matching = append(matching, person)
			}
		}
	default:
		matching = p.people
	}
	from, _ := strconv.Atoi(q.Variables.After)
	to := min(len(matching), from+q.Variables.First)
	for _, person := range matching[from:to] {
		nodes = append(nodes, person.node())
	}
	page := map[string]any{"totalCount": len(matching), "nodes": nodes,
		"pageInfo": map[string]any{"hasNextPage": to < len(matching), "endCursor": strconv.Itoa(to)}}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{root: page}})
}

func (t *testPerson) node() map[string]any {
	n := map[string]any{"psUserId": t.ID, "email": t.Email, "additionalEmails": t.Additional, "isOnAccount": t.On,
		"startedOn": t.Started.UTC().Format(time.RFC3339), "productIds": []string{"1"}, "firstName": "Ada", "lastName": "Of"}
	if t.SSO != "" {
		n["currentSsoIdentifier"] = t.SSO
	}
	if !t.On {
		n["removedOn"] = time.Now().UTC().Format(time.RFC3339)
	}
	return n
}

func (p *testPlan) deprovision(w http.ResponseWriter, r *http.Request) {
	rows, err := csv.NewReader(r.Body).ReadAll()
	if err != nil || strings.Join(rows[0], ",") != "id,email,first_name,last_name" {
		http.Error(w, `{"status":"No files"}`, http.StatusBadRequest)
		return
	}
	q := r.URL.Query()
	c := testCall{at: time.Now(), dryRun: q.Get("dryRun") != "false", strict: q.Get("exitOnError") == "true",
		retain: q.Get("reatinPrivileges") == "true", rows: rows[1:]}
	status, text, drop := p.handle(c)
	if drop {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status": "%s"}`, text)
}

func (p *testPlan) handle(c testCall) (status int, text string, drop bool) {
	p.mu.Lock()
	p.log = append(p.log, c)
	react := p.react
	if !c.dryRun {
		p.inFlight++
		p.most = max(p.most, p.inFlight)
	}
	p.mu.Unlock()
	status, text = http.StatusOK, "Completed Successfully"
	if react != nil {
		status, text, drop = react(p, c)
	} else if !c.dryRun {
		p.remove(c.rows)
	}
	if !c.dryRun {
		p.mu.Lock()
		p.inFlight--
		p.mu.Unlock()
		p.arrived <- c
	}
	return status, text, drop
}

// remove takes people off the account, as the rows say.
func (p *testPlan) remove(rows [][]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, row := range rows {
		for _, person := range p.people {
			if (row[0] == person.ID || person.SSO != "" && row[0] == person.SSO) && person.On {
				person.On = false
				person.Removals++
			}
		}
	}
}

// files are the files that were sent, dry runs or the others.
func (p *testPlan) files(dryRun bool) (files []testCall) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.log {
		if c.rows != nil && c.dryRun == dryRun {
			files = append(files, c)
		}
	}
	return files
}

// removed is who is off the account, and how often each was removed.
func (p *testPlan) removed() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := map[string]int{}
	for _, person := range p.people {
		if person.Removals > 0 {
			gone[person.ID] = person.Removals
		}
	}
	return gone
}
