package pluralsightsim_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key      = "key-acme"
	otherKey = "key-globex"
)

// bench is a simulator on a real socket, with a clock that stands still.
type bench struct {
	t   *testing.T
	sim *sim.Sim
	url string
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func setup(t *testing.T, people ...sim.Person) *bench {
	t.Helper()
	return start(t, sim.Options{Seed: 1, Now: func() time.Time { return noon }, Plans: []sim.Plan{
		{Name: "acme", Key: key, People: people},
		sim.Plan{Name: "globex", Key: otherKey}.Generate(10, 2),
	}})
}

func start(t *testing.T, o sim.Options) *bench {
	t.Helper()
	s := sim.New(o)
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.Close()
		srv.Close()
	})
	return &bench{t: t, sim: s, url: srv.URL}
}

// people makes n people with addresses p0@acme.example.com and so on.
func people(n int) []sim.Person {
	out := make([]sim.Person, n)
	for i := range out {
		c := string(rune('a'+i/26)) + string(rune('a'+i%26))
		out[i] = sim.Person{
			PsUserID: "id-" + c, Email: c + "@acme.example.com", CurrentSsoIdentifier: "sso-" + c, ProductIDs: []string{"1"}, StartedOn: noon,
		}
	}
	return out
}

func (b *bench) configure(change func(*sim.Switches)) {
	b.t.Helper()
	if err := b.sim.Configure("acme", change); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) inject(f ...sim.Fault) {
	b.t.Helper()
	if _, err := b.sim.Inject(f...); err != nil {
		b.t.Fatal(err)
	}
}

// answer is an HTTP answer that was read to its end, or the error that kept it from being read.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func (b *bench) send(req *http.Request) answer {
	b.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body), err: err}
}

func (b *bench) post(path, key string, body []byte) *http.Request {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.url+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return req
}

// raw sends a query as it is.
func (b *bench) raw(query string, vars map[string]any) answer {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": vars})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.send(b.post("/graphql", key, body))
}

type user struct {
	PsUserID    *string         `json:"psUserId"`
	Email       *string         `json:"email"`
	FirstName   *string         `json:"firstName"`
	IsOnAccount *bool           `json:"isOnAccount"`
	RemovedOn   *string         `json:"removedOn"`
	StartedOn   *string         `json:"startedOn"`
	ProductIDs  json.RawMessage `json:"productIds"`
	Teams       json.RawMessage `json:"teams"`
}

type usersPage struct {
	TotalCount int
	Nodes      []*user
	PageInfo   struct {
		HasNextPage *bool
		EndCursor   *string
	}
}

type envelope struct {
	Data   map[string]json.RawMessage
	Errors []struct {
		Message    string
		Path       []any
		Extensions json.RawMessage
	}
	Extensions struct{ Warnings []json.RawMessage }
}

// query sends a query and wants a GraphQL envelope back.
func (b *bench) query(query string, vars map[string]any) envelope {
	b.t.Helper()
	a := b.raw(query, vars)
	if a.err != nil || a.status != http.StatusOK {
		b.t.Fatalf("query: status %d, error %v, body %.300s", a.status, a.err, a.body)
	}
	var e envelope
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		b.t.Fatalf("query: %v in %.300s", err, a.body)
	}
	return e
}

const usersQuery = `query U($first: Int, $after: String, $filter: UsersFilter) { users(first: $first, after: $after, filter: $filter) {
	totalCount nodes { psUserId email firstName isOnAccount removedOn startedOn productIds } pageInfo { hasNextPage endCursor } } }`

// page reads one page of users and wants no errors.
func (b *bench) page(vars map[string]any) usersPage {
	b.t.Helper()
	e := b.query(usersQuery, vars)
	if len(e.Errors) > 0 {
		b.t.Fatalf("page: %v", e.Errors)
	}
	var p usersPage
	if err := json.Unmarshal(e.Data["users"], &p); err != nil {
		b.t.Fatal(err)
	}
	return p
}

// sweep reads pages until hasNextPage is not true, limit at most, and returns the ids in order.
func (b *bench) sweep(first, limit int) []string {
	b.t.Helper()
	var ids []string
	vars := map[string]any{"first": first}
	for range limit {
		p := b.page(vars)
		ids = append(ids, p.ids()...)
		if p.PageInfo.HasNextPage == nil || !*p.PageInfo.HasNextPage || p.PageInfo.EndCursor == nil {
			break
		}
		vars["after"] = *p.PageInfo.EndCursor
	}
	return ids
}

func (p usersPage) ids() []string {
	var ids []string
	for _, n := range p.Nodes {
		switch {
		case n == nil:
			ids = append(ids, "null")
		case n.PsUserID == nil:
			ids = append(ids, "no id")
		default:
			ids = append(ids, strings.TrimPrefix(*n.PsUserID, "id-"))
		}
	}
	return ids
}

func (b *bench) want(got, want any) {
	b.t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		b.t.Errorf("got %s, want %s", g, w)
	}
}

func (b *bench) counts() sim.Counts {
	b.t.Helper()
	c, err := b.sim.Counts("acme")
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	b := start(t, sim.Options{Plans: []sim.Plan{sim.Plan{Name: "acme", Key: key}.Generate(500, 1)}})
	all, err := b.sim.People("acme", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 20 {
				id := all[w*20+i].PsUserID
				if err := b.sim.RemovePerson("acme", id); err != nil {
					t.Error(err)
				}
				if err := b.sim.Readd("acme", id); err != nil {
					t.Error(err)
				}
				b.page(map[string]any{"first": 50})
				_ = b.sim.Requests()
				_ = b.sim.History()
				b.configure(func(s *sim.Switches) { s.Paging.Cap = 10 + i })
				b.sim.Advance(time.Second)
			}
		})
	}
	wg.Wait()
	if got := len(b.sim.History()); got != 160 {
		t.Errorf("history has %d changes, want 160", got)
	}
	b.want(b.counts().Active, b.counts().People-b.counts().Removed)
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := setup(t, people(3)...)
	b.inject(sim.Fault{Action: sim.Answer, Status: 503, When: sim.Before})
	b.configure(func(s *sim.Switches) { s.Paging.Cap = 1 })
	if err := b.sim.ErasePerson("acme", "id-aa"); err != nil {
		t.Fatal(err)
	}
	b.sim.Advance(time.Hour)
	if err := b.sim.Reset(); err != nil {
		t.Fatal(err)
	}
	b.want(b.sweep(10, 5), []string{"aa", "ab", "ac"})
	b.want(len(b.sim.Requests()), 1)
	b.want(len(b.sim.History()), 0)
	b.want(b.sim.Now(), noon)
}

func TestSwitchesAreChecked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, change := range map[string]func(*sim.Switches){
		"a word that no switch knows": func(s *sim.Switches) { s.Deprovision.Effect = "ful" },
		"a field that is not there":   func(s *sim.Switches) { s.GraphQL.Hidden = []string{"User.emial"} },
		"a Beta field":                func(s *sim.Switches) { s.GraphQL.BetaFields = []string{"Usr.email"} },
		"a status":                    func(s *sim.Switches) { s.GraphQL.ValidationStatus = 500 },
	} {
		if err := b.sim.Configure("acme", change); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if _, err := b.sim.Inject(sim.Fault{Action: "explode"}); err == nil {
		t.Error("an unknown action was taken")
	}
	if _, err := b.sim.Counts("nobody"); err == nil {
		t.Error("an unknown plan was found")
	}
}
