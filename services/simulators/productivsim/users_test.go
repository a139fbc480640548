package productivsim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type switches = productivsim.Switches

func TestPostAddsAndUpdates(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.wantBody(c.post(user("ada"), user("bob")), `{"success":true}`)
	ada := user("ada")
	ada.License = "Enterprise"
	c.wantBody(c.post(ada, user("cy")), `{"success":true}`)
	c.wantUsers("ada", "bob", "cy")
	if got := c.sim.Users("app-a")[0].License; got != "Enterprise" {
		t.Errorf("license is %q", got)
	}
	n := c.sim.AppCounts("app-a")
	if n.Added != 3 || n.Changed != 1 || n.Unchanged != 0 || n.Lost != 0 || n.Posts != 2 {
		t.Errorf("counts are %+v", n)
	}
	if len(c.sim.Users("app-b")) != 0 {
		t.Error("the other app changed")
	}
}

func TestDeleteRemovesAndCounts(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.post(user("ada"), user("bob"))
	c.wantBody(c.remove(user("ada")), `{"numUsersDeleted":1,"success":true}`)
	c.wantBody(c.remove(user("ada"), user("bob")), `{"numUsersDeleted":1,"success":false}`)
	c.wantUsers()
	if n := c.sim.AppCounts("app-a"); n.Deleted != 2 || n.Absent != 1 {
		t.Errorf("counts are %+v", n)
	}
}

func TestAbsentDeleteCanBeASuccess(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.AbsentDelete = productivsim.Accept })
	c.wantBody(c.remove(user("ada")), `{"numUsersDeleted":0,"success":true}`)
}

func TestReplaceDropsTheUnnamedAndCountsThemLost(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) {
		s.Semantics = productivsim.SemanticsReplace
		s.EmptyArray = productivsim.Accept
	})
	c.post(user("ada"), user("bob"))
	c.post(user("bob"), user("cy"))
	if n := c.sim.Counts(); n.Lost != 1 || n.Added != 3 || n.Unchanged != 1 || n.Users != 2 {
		t.Errorf("counts are %+v", n)
	}
	h := c.sim.History()
	if last := h[len(h)-1]; last.Kind != productivsim.ChangeLost || last.Before.AppUserID != "ada" || last.Request != 2 {
		t.Errorf("last change is %+v", last)
	}
	c.wantBody(c.call(http.MethodPost, usersA, tokenA, `{"provisionedUsers":[]}`), `{"success":true}`)
	c.wantUsers()
}

func TestKeyDecidesWhoIsTheSame(t *testing.T) {
	t.Parallel()
	first := productivsim.User{AppUserID: "1", Email: "ada@example.com"}
	for _, tt := range []struct {
		key    productivsim.Key
		second productivsim.User
		want   int
	}{
		{productivsim.KeyID, productivsim.User{AppUserID: "1", Email: "new@example.com"}, 1},
		{productivsim.KeyID, productivsim.User{AppUserID: "2", Email: "ada@example.com"}, 2},
		{productivsim.KeyEmail, productivsim.User{AppUserID: "2", Email: "ADA@example.com"}, 1},
		{productivsim.KeyEmail, productivsim.User{AppUserID: "1", Email: "new@example.com"}, 2},
		{productivsim.KeyPair, productivsim.User{AppUserID: "1", Email: "new@example.com"}, 2},
		{productivsim.KeyPair, productivsim.User{AppUserID: "2", Email: "ada@example.com"}, 2},
		{productivsim.KeyPair, productivsim.User{AppUserID: "1", Email: "Ada@example.com"}, 1},
	} {
		c := with(t, func(s *switches) { s.Key = tt.key })
		c.post(first)
		c.post(tt.second)
		if got := c.sim.Users("app-a"); len(got) != tt.want || got[len(got)-1] != tt.second {
			t.Errorf("key %s, second %+v: list is %+v", tt.key, tt.second, got)
		}
	}
}

func TestExistingKeepIgnoresChanges(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.Existing = productivsim.ExistingKeep })
	c.post(user("ada"))
	changed := user("ada")
	changed.Username = "al"
	c.post(changed)
	if got := c.sim.Users("app-a")[0]; got != user("ada") {
		t.Errorf("ada is %+v", got)
	}
}

func TestKeyChangesWithAListInPlace(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.post(productivsim.User{AppUserID: "1", Email: "ada@example.com"}, productivsim.User{AppUserID: "2", Email: "Ada@example.com"})
	sw := c.sim.Switches()
	sw.Key = productivsim.KeyEmail
	if c.sim.SetSwitches(sw) == nil || c.sim.Switches().Key != productivsim.KeyID {
		t.Fatal("two people became one")
	}
	c.remove(productivsim.User{AppUserID: "2", Email: "x"})
	if err := c.sim.SetSwitches(sw); err != nil {
		t.Fatal(err)
	}
	c.wantBody(c.remove(productivsim.User{AppUserID: "other", Email: "ADA@example.com"}), `{"numUsersDeleted":1,"success":true}`)
}

func TestStrictness(t *testing.T) {
	t.Parallel()
	const ada = `{"appUserId":"1","email":"ada@example.com"}`
	for name, tt := range map[string]struct {
		method, body string
		status       int
	}{
		"1000 users":               {"POST", body(people(1000)), 200},
		"1001 users":               {"POST", body(people(1001)), 400},
		"1001 users deleted":       {"DELETE", body(people(1001)), 400},
		"empty array":              {"POST", `{"provisionedUsers":[]}`, 400},
		"empty array deleted":      {"DELETE", `{"provisionedUsers":[]}`, 400},
		"no body":                  {"POST", ``, 400},
		"no body on DELETE":        {"DELETE", ``, 400},
		"no array":                 {"POST", `{}`, 400},
		"null array":               {"POST", `{"provisionedUsers":null}`, 400},
		"null user":                {"POST", `{"provisionedUsers":[null]}`, 400},
		"array alone":              {"POST", `[` + ada + `]`, 400},
		"key of the other OpenAPI": {"POST", `{"users":[` + ada + `]}`, 400},
		"unknown user member":      {"POST", `{"provisionedUsers":[{"appUserId":"1","email":"a@b","role":"x"}]}`, 400},
		"unknown nested member":    {"POST", `{"provisionedUsers":[{"appUserId":"1","email":"a@b","x":{"email":"y"}}]}`, 400},
		"user member in the body":  {"POST", `{"provisionedUsers":[` + ada + `],"email":"a@b"}`, 400},
		"member in another case":   {"POST", `{"provisionedUsers":[{"appUserID":"1","email":"a@b"}]}`, 400},
		"repeated user member":     {"POST", `{"provisionedUsers":[{"appUserId":"1","email":"a@b","email":"c@d"}]}`, 400},
		"repeated array":           {"POST", `{"provisionedUsers":[` + ada + `],"provisionedUsers":[` + ada + `]}`, 400},
		"name as a value":          {"POST", `{ "provisionedUsers" : [ {"appUserId" : "role", "email":"x\":y", "license":"\\"} ] }`, 200},
		"missing e-mail":           {"POST", `{"provisionedUsers":[` + ada + `,{"appUserId":"2"}]}`, 400},
		"null e-mail":              {"POST", `{"provisionedUsers":[{"appUserId":"2","email":null}]}`, 400},
		"blank id":                 {"POST", `{"provisionedUsers":[{"appUserId":" ","email":"a@b"}]}`, 400},
		"missing id on DELETE":     {"DELETE", `{"provisionedUsers":[{"email":"a@b"}]}`, 400},
		"id that is a number":      {"POST", `{"provisionedUsers":[{"appUserId":1,"email":"a@b"}]}`, 400},
		"two values":               {"POST", `{"provisionedUsers":[` + ada + `]} {}`, 400},
		"half":                     {"POST", `{"provisionedUsers":[{"appUserId":`, 400},
		"not UTF-8":                {"POST", "{\"provisionedUsers\":[{\"appUserId\":\"\xff\",\"email\":\"a@b\"}]}", 400},
		"GET with a body":          {"GET", `{}`, 400},
		"PUT":                      {"PUT", `{"provisionedUsers":[` + ada + `]}`, 405},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t, options())
			c.wantStatus(c.call(tt.method, usersA, tokenA, tt.body), tt.status)
			if changed := len(c.sim.Users("app-a")) > 0; changed != (tt.status == 200) {
				t.Errorf("status %d and list changed: %v", tt.status, changed)
			}
		})
	}
}

func TestContentTypeIsRequired(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	for contentType, status := range map[string]int{
		"": 415, "text/plain": 415, "application/json; charset=utf-8": 200, "application/json": 200,
	} {
		r := c.request(http.MethodPost, usersA, tokenA, body(people(1)))
		r.Header.Set("Content-Type", contentType)
		c.wantStatus(c.do(r), status)
	}
	r := c.request(http.MethodPost, usersA, tokenA, body(people(1)))
	r.Header.Set("Content-Encoding", "gzip")
	c.wantStatus(c.do(r), 415)
}

func TestUnknownMembersCanBeAccepted(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.UnknownMembers = productivsim.Accept })
	c.wantStatus(c.call(http.MethodPost, usersA, tokenA, `{"x":1,"provisionedUsers":[{"appUserId":"1","email":"a@b","y":{}}]}`), 200)
	c.wantUsers("1")
}

func TestPoisonRefusesTheWholeChunk(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.Poison = []string{"bob", "Cy@Example.com"} })
	c.wantStatus(c.post(user("ada"), user("bob")), 400)
	c.wantStatus(c.post(user("ada"), user("cy")), 400)
	c.wantUsers()
	c.wantStatus(c.post(user("ada"), user("dee")), 200)
}

func TestBodyCap(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.MaxBodyBytes = int64(len(body(people(3)))) })
	c.wantStatus(c.post(people(3)...), 200)
	c.wantStatus(c.post(people(100)...), 413)
	if got := c.sim.Requests()[1]; got.BodyBytes != len(body(people(100))) || got.Applied {
		t.Errorf("ledger says %+v", got)
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	want := people(2500)
	if err := c.sim.Seed("app-a", want); err != nil {
		t.Fatal(err)
	}
	var got []productivsim.User
	var token string
	for _, size := range []int{1000, 1000, 500} {
		r, p := c.get(token)
		if !p.Success || p.NumUsers != size || len(p.ProvisionedUsers) != size {
			t.Fatalf("page has %d users: %.100s", len(p.ProvisionedUsers), r.Body)
		}
		got = append(got, p.ProvisionedUsers...)
		if p.NextPageToken == nil {
			if !strings.Contains(r.Body, `"nextPageToken":null`) {
				t.Error("the end is not null")
			}
			break
		}
		token = *p.NextPageToken
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("user %d is %+v", i, got[i])
		}
	}
}

func TestPagesStandStillWhileTheListMoves(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.PageSize = 2 })
	c.post(user("a"), user("b"), user("c"), user("d"))
	_, first := c.get("")
	c.remove(user("a")) // had the place shifted, c would be in no page
	_, second := c.get(*first.NextPageToken)
	if got := second.ProvisionedUsers; len(got) != 2 || got[0].AppUserID != "c" {
		t.Errorf("second page is %+v", got)
	}
}

func TestPageTokensAreOurs(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.PageSize = 1 })
	c.post(people(2)...)
	_, p := c.get("")
	c.wantStatus(c.call(http.MethodGet, "/services/push/v1/customer/apps/app-b/users?nextPageToken="+*p.NextPageToken, tokenB, ""), 400)
	c.wantStatus(c.call(http.MethodGet, usersA+"?nextPageToken=MQ", tokenA, ""), 400)
	c.wantStatus(c.call(http.MethodGet, usersA+"?nextPageToken=", tokenA, ""), 400)
	again := "nextPageToken=" + *p.NextPageToken
	c.wantStatus(c.call(http.MethodGet, usersA+"?"+again, tokenA, ""), 200)
	c.wantStatus(c.call(http.MethodGet, usersA+"?"+again+"&"+again, tokenA, ""), 400)
	c.wantStatus(c.call(http.MethodGet, usersA+"?page=2", tokenA, ""), 400)
}

func TestUnsoundPaging(t *testing.T) {
	t.Parallel()
	c := with(t, func(s *switches) { s.PageSize, s.PageTokens = 1, productivsim.PageTokensLoop })
	c.post(people(2)...)
	_, first := c.get("")
	_, last := c.get(*first.NextPageToken)
	_, again := c.get(*last.NextPageToken)
	if again.ProvisionedUsers[0] != first.ProvisionedUsers[0] || *again.NextPageToken != *first.NextPageToken {
		t.Errorf("no loop: %+v", again)
	}

	c = with(t, func(s *switches) { s.PageSize, s.PageTokens = 1, productivsim.PageTokensRepeat })
	c.post(people(3)...)
	_, first = c.get("")
	_, second := c.get(*first.NextPageToken)
	if *second.NextPageToken != *first.NextPageToken {
		t.Errorf("no repetition: %+v", second)
	}
}

func TestEndToken(t *testing.T) {
	t.Parallel()
	for end, want := range map[productivsim.EndToken]string{
		productivsim.EndTokenEmpty:   `{"success":true,"provisionedUsers":[],"numUsers":0,"nextPageToken":""}`,
		productivsim.EndTokenMissing: `{"success":true,"provisionedUsers":[],"numUsers":0}`,
		productivsim.EndTokenNull:    `{"success":true,"provisionedUsers":[],"numUsers":0,"nextPageToken":null}`,
	} {
		c := with(t, func(s *switches) { s.EndToken = end })
		r, _ := c.get("")
		c.wantBody(r, want)
	}
}

func TestSuccessSwitch(t *testing.T) {
	t.Parallel()
	for success, want := range map[productivsim.Success]string{
		productivsim.SuccessFalse:   `{"success":false}`,
		productivsim.SuccessMissing: `{}`,
		productivsim.SuccessNull:    `{"success":null}`,
		productivsim.SuccessText:    `{"success":"true"}`,
	} {
		c := with(t, func(s *switches) { s.Success = success })
		c.wantBody(c.post(user("ada")), want)
		c.wantUsers("ada")
	}
}

func TestForeignUsersAreThereFromTheStart(t *testing.T) {
	t.Parallel()
	o := options()
	o.Apps[0].Users = people(3)
	c := start(t, o)
	if _, p := c.get(""); p.NumUsers != 3 {
		t.Errorf("page is %+v", p)
	}
	c.remove(people(1)...)
	if err := c.sim.Reset(); err != nil || len(c.sim.Users("app-a")) != 3 || len(c.sim.Requests()) != 0 {
		t.Errorf("reset left %d users and %d requests (%v)", len(c.sim.Users("app-a")), len(c.sim.Requests()), err)
	}
}

// The clock of the bubble stands still while anything can move, so the times below are exact.
func TestStaleReadsAndLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		o := options()
		sw := productivsim.DefaultSwitches()
		sw.StaleReads, sw.Latency = productivsim.Duration(time.Minute), productivsim.Duration(time.Second)
		o.Switches = &sw
		o.Apps[0].Users = []productivsim.User{user("old"), user("gone")}
		h := productivsim.New(o).Handler()
		began := time.Now()
		serve(h, http.MethodPost, body([]productivsim.User{user("new")}))
		serve(h, http.MethodDelete, body([]productivsim.User{user("gone")}))
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("two calls took %v", took)
		}
		has := func(names ...string) {
			t.Helper()
			page := serve(h, http.MethodGet, "").Body.String()
			for _, name := range []string{"old", "gone", "new"} {
				want := strings.Contains(strings.Join(names, " "), name)
				if strings.Contains(page, name+"@") != want {
					t.Errorf("%v after the start, %s is wrong in %s", time.Since(began), name, page)
				}
			}
		}
		has("old", "gone")             // 3 s: nothing is seen
		<-time.After(57 * time.Second) // the next GET reads at 61 s: the POST of 1 s is seen, the DELETE of 2 s is not
		has("old", "gone", "new")
		has("old", "new")
	})
}

func serve(h http.Handler, method, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, usersA, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+tokenA)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
