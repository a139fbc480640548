package pluralsightsim_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, people(2)...)
	query := []byte(`{"query":"{ users { totalCount nodes { planId } } }"}`)

	for _, bad := range []string{"", "wrong"} {
		a := b.send(b.post("/graphql", bad, query))
		b.want([]any{a.status, a.body}, []any{401, `{"error":"AuthenticationError: Invalid API Key"}`})
	}
	acme, globex := b.send(b.post("/graphql", key, query)), b.send(b.post("/GraphQL", otherKey, query))
	if !strings.Contains(acme.body, `"totalCount":2`) || strings.Contains(acme.body, "globex") {
		t.Errorf("acme's key saw %s", acme.body)
	}
	if !strings.Contains(globex.body, `"totalCount":10`) || strings.Contains(globex.body, "acme") {
		t.Errorf("globex's key saw %s", globex.body)
	}
	if err := b.sim.SetKey("acme", "new"); err != nil {
		t.Fatal(err)
	}
	b.want(b.send(b.post("/graphql", key, query)).status, 401)
	b.want(b.send(b.post("/graphql", "new", query)).status, 200)
	for _, r := range b.sim.Requests() {
		if text, _ := json.Marshal(r); strings.Contains(string(text), key) || strings.Contains(string(text), "wrong") {
			t.Errorf("the ledger holds a key: %s", text)
		}
	}
}

func TestKeyStates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*sim.Switches)
		query  string
		status int
		body   string
	}{
		{"an expired key works, with a warning", func(s *sim.Switches) { s.Auth.Expired = true },
			"{ users { totalCount } }", 200, `{"data":{"users":{"totalCount":2}},"extensions":{"warnings":["API key is expired. Create a new key."]}}`},
		{"a warning can be an object", func(s *sim.Switches) { s.GraphQL.Warnings = []string{"a", "b"}; s.GraphQL.WarningForm = "object" },
			"{ users { totalCount } }", 200, `"extensions":{"warnings":[{"code":"NOTICE","message":"a"},{"code":"NOTICE","message":"b"}]}`},
		{"a deleted key is unknown", func(s *sim.Switches) { s.Auth.Deleted = true }, "{ users { totalCount } }", 401, `AuthenticationError`},
		{"in HTML", func(s *sim.Switches) { s.Auth.Deleted = true; s.Auth.Unauthorized = "html" }, "{ users { totalCount } }", 401, `<h1>401`},
		{"with no body", func(s *sim.Switches) { s.Auth.Deleted = true; s.Auth.Unauthorized = "empty" }, "{ users { totalCount } }", 401, ``},
		{"a read-only key reads", func(s *sim.Switches) { s.Auth.ReadOnly = true }, "{ users { totalCount } }", 200, `"totalCount":2`},
		{"a read-only key changes nothing, by status", func(s *sim.Switches) { s.Auth.ReadOnly = true },
			`mutation { removeUser(input: {psUserId: "id-aa"}) { psUserId } }`, 403, `{"error":"AuthorizationError`},
		{"a read-only key changes nothing, by errors", func(s *sim.Switches) { s.Auth.ReadOnly = true; s.Auth.Forbidden = "errors" },
			`mutation { removeUser(input: {psUserId: "id-aa"}) { psUserId } }`, 200, `{"data":null,"errors":[{"message":"API Key lacks`},
		{"one path only", func(s *sim.Switches) { s.GraphQL.Paths = "upper" }, "{ users { totalCount } }", 404, "404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, people(2)...)
			b.configure(tc.change)
			a := b.raw(tc.query, nil)
			if a.status != tc.status || !strings.Contains(a.body, tc.body) || tc.body == "" && a.body != "" {
				t.Errorf("got %d %s, want %d %s", a.status, a.body, tc.status, tc.body)
			}
			b.want(b.counts().Active, 2)
		})
	}
}

func TestQueriesAreValidated(t *testing.T) {
	t.Parallel()
	b := setup(t, people(1)...)
	for _, tc := range []struct{ query, message string }{
		{"{ users { nodes { emial } } }", `Cannot query field \"emial\" on type \"User\"`},
		{"{ users { nodes { id } } }", `Cannot query field \"id\" on type \"User\"`},
		{"{ planAdmins { nodes { userId } } }", `Cannot query field \"userId\" on type \"PlanAdmin\"`},
		{"{ users(last: 5) { totalCount } }", `Unknown argument \"last\"`},
		{"{ users(first: true) { totalCount } }", `Int cannot represent`},
		{"{ users(first: 99999999999999999999) { totalCount } }", `Int cannot represent`},
		{"{ users { nodes { psUserId } ", `Expected Name, found \u003cEOF\u003e`},
		{"query Q($n: Int!) { users(first: $n) { totalCount } }", `must be defined`},
		{"query A { __typename } query B { __typename }", `Must provide operation name`},
		{"{ __schema { types { name } } }", `introspection is not allowed`},
		{"{ users { ...F } } fragment F on UserConnection { nope }", `Cannot query field \"nope\"`},
		{"", "Must provide query string"},
	} {
		a := b.raw(tc.query, nil)
		want := strings.ReplaceAll(strings.ReplaceAll(tc.message, `\u003c`, "<"), `\u003e`, ">")
		if a.status != 200 || !strings.HasPrefix(a.body, `{"data":null,"errors":[{"message":`) || !strings.Contains(a.body, want) {
			t.Errorf("%s\n got %d %s\nwant %s", tc.query, a.status, a.body, tc.message)
		}
	}
	b.want(b.raw("{ users(first: -1) { totalCount } }", nil).body,
		`{"data":{"users":null},"errors":[{"message":"Argument \"first\" must not be negative","path":["users"],"extensions":[{"code":"BAD_USER_INPUT"}]}]}`)
	if a := b.raw(usersQuery, map[string]any{"first": "100"}); !strings.Contains(a.body, "Int cannot represent") {
		t.Errorf("a number in quotes was taken: %s", a.body)
	}
	b.configure(func(s *sim.Switches) { s.GraphQL.ValidationStatus = 400 })
	b.want(b.raw("{ nope }", nil).status, 400)
}

func TestExecution(t *testing.T) {
	t.Parallel()
	all := people(2)
	all[0].FirstName, all[0].Teams, all[0].Admin = "A \"quoted\"\n\u2028\x01 ü", []string{"11"}, true
	b := setup(t, all...)
	for _, tc := range []struct{ name, query, want string }{
		{"aliases and two roots", `{ a: users(first: 1) { totalCount } b: planAdmins { totalCount nodes { planId } } }`,
			`{"data":{"a":{"totalCount":2},"b":{"totalCount":1,"nodes":[{"planId":"acme"}]}}}`},
		{"fragments merge", `{ users(first: 1) { ...F ... on UserConnection { nodes { email } } } } fragment F on UserConnection { nodes { psUserId } }`,
			`{"data":{"users":{"nodes":[{"psUserId":"id-aa","email":"aa@acme.example.com"}]}}}`},
		{"__typename", `{ __typename users(first: 1) { __typename nodes { __typename } } }`,
			`{"data":{"__typename":"Query","users":{"__typename":"UserConnection","nodes":[{"__typename":"User"}]}}}`},
		{"edges", `{ users(first: 1) { edges { node { psUserId } } pageInfo { hasNextPage } } }`,
			`{"data":{"users":{"edges":[{"node":{"psUserId":"id-aa"}}],"pageInfo":{"hasNextPage":true}}}}`},
		{"strings are escaped", `{ users(first: 1) { nodes { firstName } } }`,
			`{"data":{"users":{"nodes":[{"firstName":"A \"quoted\"\n` + "\u2028" + `\u0001 ü"}]}}}`},
		{"teams, the ones above not direct", `{ users(first: 2) { nodes { teams { edges { isDirect node { id name parentTeamId } } } } } }`,
			`{"data":{"users":{"nodes":[{"teams":{"edges":[{"isDirect":true,"node":{"id":"11","name":"Platform","parentTeamId":"10"}},` +
				`{"isDirect":false,"node":{"id":"10","name":"Engineering","parentTeamId":null}}]}},{"teams":{"edges":[]}}]}}}`},
		{"planInfo", `{ planInfo { planId products { id assignedLicenseCount remainingLicenseCount purchasedLicenseCount } } }`,
			`{"data":{"planInfo":{"planId":"acme","products":[{"id":"1","assignedLicenseCount":2,"remainingLicenseCount":108,"purchasedLicenseCount":110},` +
				`{"id":"2","assignedLicenseCount":0,"remainingLicenseCount":25,"purchasedLicenseCount":25}]}}}`},
		{"teams of the plan", `{ teams(filter: {teamIds: ["20"]}) { totalCount nodes { name } } }`,
			`{"data":{"teams":{"totalCount":1,"nodes":[{"name":"Finance"}]}}}`},
		{"permission sets", `{ planPermissionSets { id isDefault } }`,
			`{"data":{"planPermissionSets":[{"id":"ps-manager","isDefault":true},{"id":"ps-viewer","isDefault":false}]}}`},
		{"a deprecated field warns", `{ users(first: 1) { nodes { team { name } } } }`,
			`{"data":{"users":{"nodes":[{"team":{"name":"Platform"}}]}},"extensions":{"warnings":["Field 'User.team' is deprecated: use teams"]}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if a := b.raw(tc.query, nil); a.status != 200 || a.body != tc.want {
				t.Errorf("\n got %s\nwant %s", a.body, tc.want)
			}
		})
	}
	query := `query ($no: Boolean!) { users(first: 1) { totalCount @skip(if: $no) nodes @include(if: $no) { psUserId } } }`
	b.want(b.raw(query, map[string]any{"no": true}).body, `{"data":{"users":{"nodes":[{"psUserId":"id-aa"}]}}}`)
	b.want(b.raw(query, map[string]any{"no": false}).body, `{"data":{"users":{"totalCount":2}}}`)
}

func TestSchemaSwitches(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(*sim.Switches)
		query  string
		want   string
	}{
		{"a hidden field", func(s *sim.Switches) { s.GraphQL.Hidden = []string{"User.productIds"} },
			"{ users { nodes { productIds } } }", `Cannot query field \"productIds\" on type \"User\"`},
		{"a renamed field", func(s *sim.Switches) { s.GraphQL.Renamed = map[string]string{"User.email": "mail"} },
			"{ users { nodes { mail } } }", `{"data":{"users":{"nodes":[{"mail":"aa@acme.example.com"}]}}}`},
		{"its old name", func(s *sim.Switches) { s.GraphQL.Renamed = map[string]string{"User.email": "mail"} },
			"{ users { nodes { email } } }", `Cannot query field \"email\"`},
		{"a Beta field fails everything", func(s *sim.Switches) { s.GraphQL.BetaFields = []string{"User.productIds"} },
			"{ planInfo { planId } users { nodes { productIds } } }", `{"data":null,"errors":[{"message":"Field 'User.productIds' is in Beta`},
		{"but not with a Beta key", func(s *sim.Switches) { s.GraphQL.BetaFields = []string{"User.productIds"}; s.Auth.Beta = true },
			"{ users { nodes { productIds } } }", `{"data":{"users":{"nodes":[{"productIds":["1"]}]}}}`},
		{"legacy ids", func(s *sim.Switches) { s.GraphQL.LegacyIDs = true },
			"{ users { nodes { id } } }", `{"data":{"users":{"nodes":[{"id":"legacy-id-aa"}]}}}`},
		{"error extensions as an object", func(s *sim.Switches) { s.GraphQL.ErrorExtensions = "object" },
			"{ nope }", `"extensions":{"code":"GRAPHQL_VALIDATION_FAILED"}}]}`},
		{"error extensions as documented", func(*sim.Switches) {}, "{ nope }", `"extensions":[{"code":"GRAPHQL_VALIDATION_FAILED"}]}]}`},
		{"numeric ids", func(s *sim.Switches) { s.Users.NumericIDs = true },
			"{ users { nodes { psUserId productIds } } }", `[{"psUserId":"id-aa","productIds":[1]}]`},
		{"planInfo as a connection", func(s *sim.Switches) { s.Plan.Info = "connection" },
			"{ planInfo { totalCount nodes { planId } } }", `{"data":{"planInfo":{"totalCount":1,"nodes":[{"planId":"acme"}]}}}`},
		{"no planInfo", func(s *sim.Switches) { s.Plan.Info = "missing" }, "{ planInfo { planId } }", `Cannot query field \"planInfo\"`},
		{"null counters", func(s *sim.Switches) { s.Plan.NullCounters = true },
			"{ planInfo { products { assignedLicenseCount } } }", `[{"assignedLicenseCount":null},{"assignedLicenseCount":null}]`},
		{"a remainder that does not add up", func(s *sim.Switches) { s.Plan.RemainingOffset = 5 },
			"{ planInfo { products { remainingLicenseCount } } }", `[{"remainingLicenseCount":114}`},
		{"long team lists", func(s *sim.Switches) { s.Users.ExtraTeams = 2 },
			"{ users { nodes { teams { edges { node { id } } } } } }", `{"edges":[{"node":{"id":"91"}},{"node":{"id":"92"}}]}`},
		{"null teams", func(s *sim.Switches) { s.Users.NullTeams = true }, "{ users { nodes { teams { edges { isDirect } } } } }", `{"teams":null}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, people(1)...)
			b.configure(tc.change)
			if a := b.raw(tc.query, nil); !strings.Contains(a.body, tc.want) {
				t.Errorf("\n got %s\nwant %s", a.body, tc.want)
			}
		})
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	odd := people(3)
	odd[0].IsOnAccount, odd[0].RemovedOn = sim.Yes, noon
	odd[1].IsOnAccount, odd[1].ProductIDs, odd[1].Email = sim.Null, nil, ""
	odd[2].IsOnAccount = sim.No
	b := setup(t, odd...)
	query := `{ users { nodes { email isOnAccount removedOn productIds } } }`
	b.want(b.raw(query, nil).body, `{"data":{"users":{"nodes":[`+
		`{"email":"aa@acme.example.com","isOnAccount":true,"removedOn":"2026-11-23T12:00:00.000Z","productIds":["1"]},`+
		`{"email":null,"isOnAccount":null,"removedOn":null,"productIds":[]},`+
		`{"email":"ac@acme.example.com","isOnAccount":false,"removedOn":null,"productIds":["1"]}]}}}`)
	b.configure(func(s *sim.Switches) { s.Users.NoProducts = "null"; s.Users.EmptyDates = true })
	if a := b.raw(query, nil); !strings.Contains(a.body, `{"email":null,"isOnAccount":null,"removedOn":"","productIds":null}`) {
		t.Error(a.body)
	}
	for form, want := range map[string]string{
		"seconds": "2026-11-23T12:00:00Z", "nanos": "2026-11-23T12:00:00.000000000Z", "offset": "2026-11-23T05:00:00.000-07:00", "date": "2026-11-23",
	} {
		b.configure(func(s *sim.Switches) { s.Users.DateForm = form })
		if p := b.page(map[string]any{"first": 1}); *p.Nodes[0].RemovedOn != want {
			t.Errorf("%s is %s, want %s", form, *p.Nodes[0].RemovedOn, want)
		}
	}
}

func TestMillisIsTheDocumentedForm(t *testing.T) {
	t.Parallel()
	p := people(1)
	for _, at := range []time.Time{noon, time.Date(2001, 2, 3, 4, 5, 6, 7_000_000, time.UTC), time.Date(1999, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", 3600))} {
		p[0].StartedOn = at
		b := setup(t, p...)
		b.want(*b.page(nil).Nodes[0].StartedOn, at.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
}

func TestMutations(t *testing.T) {
	t.Parallel()
	start := people(3)
	start[1].Teams, start[1].Admin = []string{"10"}, true
	b := setup(t, start...)
	for _, tc := range []struct{ query, want string }{
		{`mutation { removeUser(input: {psUserId: "id-aa"}) { psUserId } }`, `{"data":{"removeUser":{"psUserId":"id-aa"}}}`},
		{`mutation { removeLicense(input: {psUserId: "id-ab"}) { psUserId } }`, `{"data":{"removeLicense":{"psUserId":"id-ab"}}}`},
		{`mutation { editUser(input: {psUserId: "id-ac", email: "new@acme.example.com", lastName: "New"}) { psUserId } }`,
			`{"data":{"editUser":{"psUserId":"id-ac"}}}`},
		{`mutation { inviteMember(input: {email: "i@acme.example.com", note: "n"}) { email note } }`,
			`{"data":{"inviteMember":{"email":"i@acme.example.com","note":"n"}}}`},
		{`{ memberInvites { totalCount nodes { inviteId } } planInfo { products { assignedLicenseCount } } }`,
			`{"data":{"memberInvites":{"totalCount":1,"nodes":[{"inviteId":"invite-4"}]},"planInfo":{"products":[{"assignedLicenseCount":2},{"assignedLicenseCount":0}]}}}`},
		{`mutation { cancelInvite(input: {inviteId: "invite-4"}) { inviteId } }`, `{"data":{"cancelInvite":{"inviteId":"invite-4"}}}`},
		{`mutation { cancelInvite(input: {inviteId: "invite-4"}) { inviteId } }`,
			`{"data":{"cancelInvite":null},"errors":[{"message":"Invite not found","path":["cancelInvite"],"extensions":[{"code":"NOT_FOUND"}]}]}`},
	} {
		if a := b.raw(tc.query, nil); a.body != tc.want {
			t.Errorf("\n got %s\nwant %s", a.body, tc.want)
		}
	}
	all, err := b.sim.People("acme", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p := all[0]; p.IsOnAccount != sim.No || p.RemovedOn != noon || p.ProductIDs != nil {
		t.Errorf("removeUser left %+v", p)
	}
	if p := all[1]; p.IsOnAccount != sim.No || p.ProductIDs != nil || len(p.Teams) != 1 || !p.Admin {
		t.Errorf("removeLicense left %+v", p)
	}
	b.want([]any{all[2].Email, all[2].AdditionalEmails}, []any{"new@acme.example.com", []string{"ac@acme.example.com"}})
	var causes []string
	for _, c := range b.sim.History() {
		causes = append(causes, c.Kind+" by "+c.Cause)
	}
	b.want(causes, []string{"removed by removeUser request 1", "removed by removeLicense request 2", "edited by editUser request 3"})
}

func TestLedger(t *testing.T) {
	t.Parallel()
	b := setup(t, people(3)...)
	req := b.post("/graphql", key, []byte(`{"query":"query Roster { users(first: 2) { pageInfo { endCursor } } }"}`))
	req.Header.Set("User-Agent", "seatwire/1")
	b.send(req)
	b.page(map[string]any{"filter": map[string]any{"emails": []string{"aa@acme.example.com"}}})
	b.send(b.post("/deprovision", "", nil))

	all := b.sim.Requests()
	b.want(len(all), 3)
	first := all[0]
	b.want([]any{first.Seq, first.Plan, first.Status, first.AuthScheme, first.Headers["User-Agent"], len(first.BodySHA256), first.End},
		[]any{1, "acme", 200, "Bearer", "seatwire/1", 64, noon})
	b.want(*first.GraphQL, sim.GraphQLCall{Operation: "Roster", Fields: []string{"users"}, First: 2, Page: 1})
	b.want(all[1].GraphQL.Emails, []string{"aa@acme.example.com"})
	b.want([]any{all[2].Status, all[2].Plan}, []any{401, ""})
	b.want(b.sim.RequestCounts()["/graphql 200"], 2)
}

func TestLedgerOfABenchmark(t *testing.T) {
	t.Parallel()
	b := start(t, sim.Options{LedgerLimit: sim.CountsOnly, Plans: []sim.Plan{{Name: "acme", Key: key, People: people(1)}}})
	b.page(nil)
	b.page(nil)
	b.want(len(b.sim.Requests()), 0)
	b.want(b.sim.RequestCounts(), map[string]int{"/graphql": 2, "/graphql 200": 2})

	b = start(t, sim.Options{LedgerLimit: 2, Plans: []sim.Plan{{Name: "acme", Key: key}}})
	for range 5 {
		b.page(nil)
	}
	last := b.sim.Requests()
	b.want([]int{len(last), last[1].Seq}, []int{2, 5})
}

// A client that leaves while sending asked for nothing, and the ledger says so.
func TestARequestThatIsCutShort(t *testing.T) {
	t.Parallel()
	b := setup(t, people(1)...)
	req := httptest.NewRequest(http.MethodPost, "/deprovision?"+apply, io.MultiReader(strings.NewReader(header), iotest.ErrReader(io.ErrUnexpectedEOF)))
	req.Header.Set("Authorization", "Bearer "+key)
	func() {
		defer func() {
			aborted, _ := recover().(error)
			b.want(errors.Is(aborted, http.ErrAbortHandler), true)
		}()
		b.sim.Handler().ServeHTTP(httptest.NewRecorder(), req)
	}()
	r := b.sim.Requests()[0]
	b.want([]any{r.Status, r.Outcome, r.Deprovision, b.off()}, []any{0, "incomplete", nil, ""})
}

// The copy must not drift from the schema that the client is generated from.
func TestSchemaIsTheClients(t *testing.T) {
	t.Parallel()
	theirs, err := os.ReadFile("../../../pkg/pluralsight/schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile("schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(ours, theirs) {
		t.Error("schema.graphql differs from pkg/pluralsight/schema.graphql")
	}
}

func TestOnlyPost(t *testing.T) {
	t.Parallel()
	b := setup(t)
	req := b.post("/graphql", key, nil)
	req.Method = http.MethodGet
	b.want(b.send(req).status, http.StatusMethodNotAllowed)
}
