package pluralsight

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight/internal/wire"
)

var discardLog = log.New(io.Discard, "", 0)

func TestUsers_ConvertsEverything(t *testing.T) {
	t.Parallel()
	nodes := `[{"psUserId":" u1 ","email":"Ada@Example.com","additionalEmails":["a@b.c",null,""],"firstName":"Ada","lastName":null,
		"startedOn":"2021-02-01T00:00:00.000Z","createdOn":"2020-01-02T03:04:05+01:00","isOnAccount":false,"removedOn":"2024-05-06","lastLogin":"",
		"currentSsoIdentifier":"sso","ssoEnabled":true,"mfaEnabled":null,"productIds":["p1",7,null],
		"teams":{"edges":[{"isDirect":true,"node":{"id":5,"name":"Core"}},{"isDirect":null,"node":{"id":"t2","name":null}},null,{"node":null}]}},
		{"psUserId":2,"email":null,"lastLogin":"long ago","productIds":null,"teams":null}]`
	b := newBench(t, func(int, question) reply {
		return reply{body: strings.Replace(usersBody(nodes, `{"hasNextPage":true,"endCursor":"c1"}`), "{", `{"extensions":{"cost":3},`, 1)}
	}, func(c *Config) { c.PageSize = 2 })
	got, err := b.Users(t.Context(), "c0")
	if err != nil {
		t.Fatal(err)
	}
	date := func(y int, m time.Month, d, h, min, s int) time.Time {
		return time.Date(y, m, d, h, min, s, 0, time.UTC)
	}
	want := UserPage{
		Users: []User{{
			PsUserID: "u1", Email: "Ada@Example.com", AdditionalEmails: []string{"a@b.c"}, FirstName: "Ada", CurrentSSOIdentifier: "sso",
			StartedOn: date(2021, 2, 1, 0, 0, 0), CreatedOn: date(2020, 1, 2, 2, 4, 5), RemovedOn: date(2024, 5, 6, 0, 0, 0),
			OnAccount: new(false), SSOEnabled: new(true), ProductIDs: []string{"p1", "7"}, ProductsKnown: true,
			Teams: []Team{{ID: "5", Name: "Core", Direct: true}, {ID: "t2"}},
		}, {PsUserID: "2", ProductsKnown: true}},
		Page: Page{Asked: 2, TotalCount: 7, HasNext: true, EndCursor: "c1", Warnings: []string{"odd-date: 1 dates count as null"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	q := b.asked()[0]
	if q.after() != "c0" || q.Variables.First != 2 || q.Variables.Filter != nil {
		t.Errorf("asked with %+v", q.Variables)
	}
	for _, never := range []string{"userId", "note", "planUserId"} {
		if q.asks(never) {
			t.Errorf("the query selects %s", never)
		}
	}
	if strings.Count(q.Query, "\tid\n") != 1 {
		t.Errorf("id may be selected on teams only:\n%s", q.Query)
	}
}

func TestUsers_AnEmptyPlanIsAPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply {
		return reply{body: `{"data":{"users":{"totalCount":0,"nodes":[],"pageInfo":{"hasNextPage":false}}}}`}
	})
	got, err := b.Users(t.Context(), "")
	if err != nil || len(got.Users) != 0 || got.HasNext || len(got.Warnings) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestUsers_CursorRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after, want string
		reply       reply
	}{
		"by code":                {"c1", "cursor-refused", reply{body: graphqlError("no", "BAD_USER_INPUT")}},
		"by message":             {"c1", "cursor-refused", reply{body: graphqlError("Invalid cursor: c1", "")}},
		"by message, with a 400": {"c1", "cursor-refused", reply{status: 400, body: graphqlError("cursor expired", "")}},
		"without a cursor":       {"", "graphql-error", reply{body: graphqlError("no", "BAD_USER_INPUT")}},
		"something else":         {"c1", "graphql-error", reply{body: graphqlError("no", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(int, question) reply { return c.reply })
			if _, err := b.Users(t.Context(), c.after); fault.ReasonOf(err) != c.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestUsers_PayloadLimitHalvesOnce(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]reply{
		"413":     {status: 413},
		"by code": {body: graphqlError("m", "PAYLOAD_LIMIT_EXCEEDED")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := 50
			b := newBench(t, func(_ int, q question) reply {
				if q.Variables.First > limit {
					return refusal
				}
				return reply{body: usersBody(oneUser, lastPage)}
			})
			for range 2 {
				if got, err := b.Users(t.Context(), ""); err != nil || got.Asked != 50 {
					t.Fatalf("asked for %d: %v", got.Asked, err)
				}
			}
			if n := len(b.asked()); n != 3 {
				t.Errorf("%d calls for two pages; want 3", n)
			}
			limit = 10
			if _, err := b.Users(t.Context(), ""); fault.ReasonOf(err) != "payload-limit" || len(b.asked()) != 4 {
				t.Errorf("got %v after %d calls; it must not be halved again", err, len(b.asked()))
			}
		})
	}
}

func TestUsers_Warnings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		extensions, info string
		want             []string
	}{
		"a text":               {`{"warnings":"Your API key has expired"}`, lastPage, []string{"key-expired: Your API key has expired"}},
		"a list of texts":      {`{"warnings":["Page size reduced to 1","x"]}`, morePages, []string{"page-reduced: Page size reduced to 1", "vendor-warning: x"}},
		"an object":            {`{"warnings":{"code":"DEPRECATED","message":"teamNames is deprecated"}}`, lastPage, []string{"deprecated: DEPRECATED teamNames is deprecated"}},
		"an object, no text":   {`{"warnings":[{"kind": "odd"}]}`, lastPage, []string{`vendor-warning: {"kind":"odd"}`}},
		"extensions as a list": {`[{"warnings":["key expires"]},{}]`, lastPage, []string{"key-expired: key expires"}},
		"odd extensions":       {`"odd"`, lastPage, nil},
		"short without a word": {`{}`, morePages, []string{"page-short: 1 people of 100 asked for, and more to come"}},
		"an address":           {`{"warnings":["ada@example.com expired"]}`, lastPage, []string{"key-expired: [address] expired"}},
		"a key":                {`{"warnings":["key 0123456789abcdef0123456789 expired\n"]}`, lastPage, []string{"key-expired: key [redacted] expired "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(int, question) reply {
				body := usersBody(oneUser, c.info)
				return reply{body: body[:len(body)-1] + `,"extensions":` + c.extensions + `}`}
			})
			got, err := b.Users(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Warnings); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// closedFields answers like a key that may not ask for the fields: the whole call fails.
func closedFields(refuse func(field string) reply, fields ...string) func(int, question) reply {
	return func(_ int, q question) reply {
		for _, f := range fields {
			if q.asks(f) {
				return refuse(f)
			}
		}
		return reply{body: usersBody(oneUser, lastPage)}
	}
}

func TestUsers_DegradesOnClosedFields(t *testing.T) {
	t.Parallel()
	validation := func(f string) reply {
		return reply{body: graphqlError(fmt.Sprintf("Cannot query field %q on type \"User\".", f), "GRAPHQL_VALIDATION_FAILED")}
	}
	cases := map[string]struct {
		refuse func(string) reply
		fields []string
		calls  int // until the first page is there
	}{
		"one field, validation": {validation, []string{"productIds"}, 5},
		"two fields":            {validation, []string{"mfaEnabled", "teams"}, 5},
		"all of them":           {validation, []string{"productIds", "mfaEnabled", "teams"}, 6},
		"validation with a 400": {func(f string) reply { r := validation(f); r.status = 400; return r }, []string{"productIds"}, 5},
		"beta, field not named": {func(string) reply { return reply{body: graphqlError("This key cannot access Beta fields", "")} }, []string{"teams"}, 5},
		"beta, with a 403":      {func(f string) reply { return reply{status: 403, body: graphqlError(f+" is not for you", "FORBIDDEN")} }, []string{"teams"}, 5},
		"a path, and no code": {func(f string) reply {
			return reply{body: `{"errors":[{"message":"no","path":["users","nodes",0,"` + f + `"]}]}`}
		}, []string{"productIds"}, 3 + 3 + 2 + 1},
		"a shape that cannot be": {nil, []string{"teams"}, 5},
		"errors beside data, named": {func(f string) reply {
			return reply{body: `{"data":{"users":null},"errors":[{"message":"Cannot query field ` + f + `"}]}`}
		}, []string{"mfaEnabled"}, 5},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.refuse == nil {
				c.refuse = func(string) reply {
					return reply{body: usersBody(`[{"psUserId":"u1","teams":{"edges":"none"}}]`, lastPage)}
				}
			}
			b := newBench(t, closedFields(c.refuse, c.fields...))
			got, err := b.Users(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.fields, b.Degraded()); diff != "" {
				t.Error(diff)
			}
			if len(got.Warnings) != len(c.fields) || !strings.HasPrefix(got.Warnings[0], "degraded: "+c.fields[0]) {
				t.Errorf("warnings %q", got.Warnings)
			}
			if got.Users[0].ProductsKnown == (c.fields[0] == "productIds") {
				t.Errorf("ProductsKnown is %v", got.Users[0].ProductsKnown)
			}
			if n := len(b.asked()); n != c.calls {
				t.Errorf("%d calls; want %d", n, c.calls)
			}
			if _, err := b.Users(t.Context(), "c1"); err != nil || len(b.asked()) != c.calls+1 {
				t.Errorf("the next page: %v, %d calls; it must cost one", err, len(b.asked())-c.calls)
			}
		})
	}
}

func TestUsers_DoesNotDegradeWithoutProof(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		answer func(n int, q question) reply
		reason string
	}{
		"the probes find nothing": {func(_ int, q question) reply {
			if q.Variables.First == 1 {
				return reply{body: usersBody(oneUser, lastPage)}
			}
			return reply{body: graphqlError("productIds: no", "BAD_USER_INPUT")}
		}, "graphql-error"},
		"the probes cannot be made": {func(_ int, q question) reply {
			if q.Variables.First == 1 {
				return reply{status: 503}
			}
			return reply{body: graphqlError("productIds: no", "BAD_USER_INPUT")}
		}, "graphql-error"},
		"one probe cannot be made": {func(_ int, q question) reply {
			if q.Variables.First == 1 && !q.asks("teams") {
				return reply{body: usersBody(oneUser, lastPage)}
			}
			if q.Variables.First == 1 {
				return reply{status: 503}
			}
			return reply{body: graphqlError("productIds: no", "BAD_USER_INPUT")}
		}, "graphql-error"},
		"everything is refused": {func(int, question) reply {
			return reply{body: graphqlError("productIds: no", "BAD_USER_INPUT")}
		}, "graphql-error"},
		"the key dies meanwhile": {func(n int, _ question) reply {
			if n > 1 {
				return reply{status: 401}
			}
			return reply{body: graphqlError("productIds: no", "BAD_USER_INPUT")}
		}, "graphql-error"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, c.answer)
			if _, err := b.Users(t.Context(), ""); fault.ReasonOf(err) != c.reason || len(b.Degraded()) != 0 {
				t.Errorf("got %v, degraded %v", err, b.Degraded())
			}
		})
	}
}

func TestUsers_ManyCallersProbeOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, closedFields(func(f string) reply { return reply{body: graphqlError(`Cannot query field "`+f+`"`, "")} }, "teams"))
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if _, err := b.Users(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	probes := 0
	for _, q := range b.asked() {
		if q.Variables.First == 1 {
			probes++
		}
	}
	if probes != 3 {
		t.Errorf("%d probes; want 3", probes)
	}
}

func TestAdmins(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply {
		return reply{body: `{"data":{"planAdmins":{"totalCount":1,"nodes":[{"psUserId":"a1","email":"root@example.com","firstName":"R"}],"pageInfo":{"hasNextPage":false}}}}`}
	})
	got, err := b.Admins(t.Context(), "c9")
	want := AdminPage{Admins: []Admin{{PsUserID: "a1", Email: "root@example.com", FirstName: "R"}}, Page: Page{Asked: 100, TotalCount: 1}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if q := b.asked()[0]; q.OperationName != "PlanAdminsPage" || q.after() != "c9" {
		t.Errorf("asked %+v", q)
	}
}

func TestAdmins_NullRootIsAnError(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply { return reply{body: `{"data":{"planAdmins":null}}`} })
	if _, err := b.Admins(t.Context(), ""); fault.ReasonOf(err) != "no-data" {
		t.Errorf("got %v", err)
	}
}

func TestPlan(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply {
		return reply{body: `{"data":{"planInfo":{"planId":"pl","name":"Acme","products":[{"id":3,"name":"Skills","purchasedLicenseCount":10,"assignedLicenseCount":7,"remainingLicenseCount":null},null]}},
			"extensions":{"warnings":["key expired"]}}`}
	})
	got, err := b.Plan(t.Context())
	want := Plan{PlanID: "pl", Name: "Acme", Products: []Product{{ID: "3", Name: "Skills", Purchased: new(10), Assigned: new(7)}}, Warnings: []string{"key-expired: key expired"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
}

func TestPlan_IsOptionalButTheKeyIsNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reply  reply
		reason string // of the warning
		fails  bool
	}{
		"null":               {reply{body: `{"data":{"planInfo":null}}`}, "no-data", false},
		"no such query":      {reply{body: graphqlError(`Cannot query field "planInfo"`, "")}, "graphql-error", false},
		"the same, as a 400": {reply{status: 400, body: graphqlError(`Cannot query field "planInfo"`, "")}, "graphql-error", false},
		"another shape":      {reply{body: `{"data":{"planInfo":[]}}`}, "bad-shape", false},
		"for other keys":     {reply{body: graphqlError("no", "FORBIDDEN")}, "forbidden", false},
		"401":                {reply{status: 401}, "unauthorized", true},
		"by code":            {reply{body: graphqlError("no", "UNAUTHENTICATED")}, "unauthorized", true},
		"403":                {reply{status: 403, body: graphqlError("no", "")}, "forbidden", true},
		"503":                {reply{status: 503, body: graphqlError("no", "")}, "server-error", true},
		"429":                {reply{status: 429}, "rate-limited", true},
		"garbage":            {reply{body: "{}"}, "no-data", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(int, question) reply { return c.reply })
			got, err := b.Plan(t.Context())
			switch {
			case c.fails && fault.ReasonOf(err) != c.reason:
				t.Errorf("got %v; want %s", err, c.reason)
			case !c.fails && (err != nil || !cmp.Equal(got, Plan{Warnings: []string{"no-plan: " + c.reason}})):
				t.Errorf("got %+v, %v; want a warning of %s", got, err, c.reason)
			}
		})
	}
}

func TestLookup_AsksInPartsAndToTheEnd(t *testing.T) {
	t.Parallel()
	emails := []string{"", " ", "Ada@Example.com", "ada@example.com"}
	for i := range 120 {
		emails = append(emails, fmt.Sprintf("u%d@example.com", i))
	}
	b := newBench(t, func(_ int, q question) reply {
		if q.Variables.Filter == nil || len(q.Variables.Filter.Emails) == 0 || len(q.Variables.Filter.Emails) > 100 {
			t.Errorf("filter %+v", q.Variables.Filter)
		}
		if q.after() == "" {
			return reply{body: usersBody(oneUser, morePages)}
		}
		return reply{body: usersBody(fmt.Sprintf(`[{"psUserId":"x%d"}]`, len(q.Variables.Filter.Emails)), lastPage)}
	})
	got, err := b.Lookup(t.Context(), emails)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, u := range got {
		found = append(found, u.PsUserID)
	}
	// 122 spellings: two parts of two pages each; u1 comes twice and is told once.
	if diff := cmp.Diff([]string{"u1", "x100", "x22"}, found); diff != "" || len(b.asked()) != 4 {
		t.Errorf("%d calls; %s", len(b.asked()), diff)
	}
	if first := b.asked()[0].Variables.Filter.Emails[:2]; !cmp.Equal(first, []string{"Ada@Example.com", "ada@example.com"}) {
		t.Errorf("spellings %v", first)
	}
}

func TestLookup_NoAddressIsNoQuestion(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply { return reply{body: usersBody(oneUser, lastPage)} })
	if got, err := b.Lookup(t.Context(), []string{"", "  "}); err != nil || len(got) != 0 || len(b.asked()) != 0 {
		t.Errorf("got %d users, %v, with %d calls", len(got), err, len(b.asked()))
	}
}

func TestLookup_DoesNotGoRound(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply { return reply{body: usersBody(oneUser, morePages)} })
	if _, err := b.Lookup(t.Context(), []string{"ada@example.com"}); fault.ReasonOf(err) != "repeated-cursor" {
		t.Errorf("got %v", err)
	}
	endless := newBench(t, func(n int, _ question) reply {
		return reply{body: usersBody(oneUser, fmt.Sprintf(`{"hasNextPage":true,"endCursor":"c%d"}`, n))}
	})
	if _, err := endless.Lookup(t.Context(), []string{"ada@example.com"}); fault.ReasonOf(err) != "too-many-pages" {
		t.Errorf("got %v", err)
	}
}

func TestLookup_FailureIsNotHalfAnAnswer(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(_ int, q question) reply {
		if q.after() == "" {
			return reply{body: usersBody(oneUser, morePages)}
		}
		return reply{status: http.StatusForbidden}
	})
	if got, err := b.Lookup(t.Context(), []string{"ada@example.com"}); fault.ReasonOf(err) != "forbidden" || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestOptional_WithoutKeepsTheQueryValid(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	schema := loadSchema(t)
	for cut := fieldSet(0); cut <= allOptional; cut++ {
		text, err := b.optional.without(wire.UsersPage_Operation, cut)
		if err != nil {
			t.Fatal(err)
		}
		checkQuery(t, schema, text)
		for _, f := range optionalFields {
			if got := (question{Query: text}).asks(f.name); got == cut.has(f.set) {
				t.Errorf("cut %v: asks for %s: %v", cut.names(), f.name, got)
			}
		}
	}
}
