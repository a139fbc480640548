package pluralsight

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight/internal/wire"
)

// TestUsers_NothingPassesAsAnEmptyPage is the whole table of answers that are not a page. Each costs the calls that
// its class allows, and ends as its reason; none ends as a page.
func TestUsers_NothingPassesAsAnEmptyPage(t *testing.T) {
	t.Parallel()
	page := usersBody(oneUser, lastPage)
	cases := map[string]struct {
		reply  reply
		class  fault.Class
		reason string
	}{
		"an empty object":            {reply{body: `{}`}, fault.Transient, "no-data"},
		"null":                       {reply{body: `null`}, fault.Permanent, "bad-shape"},
		"an array":                   {reply{body: `[` + page + `]`}, fault.Permanent, "bad-shape"},
		"a foreign error":            {reply{body: `{"error":"unauthorized"}`}, fault.Transient, "no-data"},
		"null data":                  {reply{body: `{"data":null}`}, fault.Transient, "no-data"},
		"data of a wrong type":       {reply{body: `{"data":"none"}`}, fault.Permanent, "bad-shape"},
		"members in capitals":        {reply{body: strings.Replace(page, "data", "DATA", 1)}, fault.Transient, "no-data"},
		"a null root":                {reply{body: `{"data":{"users":null}}`}, fault.Permanent, "no-data"},
		"a missing root":             {reply{body: `{"data":{}}`}, fault.Permanent, "no-data"},
		"no nodes":                   {reply{body: `{"data":{"users":{"totalCount":0,"pageInfo":` + lastPage + `}}}`}, fault.Permanent, "missing-nodes"},
		"null nodes":                 {reply{body: usersBody("null", lastPage)}, fault.Permanent, "missing-nodes"},
		"null pageInfo":              {reply{body: usersBody(oneUser, "null")}, fault.Permanent, "missing-page-info"},
		"no hasNextPage":             {reply{body: usersBody(oneUser, `{"endCursor":"c"}`)}, fault.Permanent, "missing-has-next-page"},
		"null hasNextPage":           {reply{body: usersBody(oneUser, `{"hasNextPage":null}`)}, fault.Permanent, "missing-has-next-page"},
		"no totalCount":              {reply{body: `{"data":{"users":{"nodes":[],"pageInfo":` + lastPage + `}}}`}, fault.Permanent, "missing-total-count"},
		"a null node":                {reply{body: usersBody(`[{"psUserId":"u1"},null]`, lastPage)}, fault.Permanent, "null-node"},
		"no psUserId":                {reply{body: usersBody(`[{"email":"ada@example.com"}]`, lastPage)}, fault.Permanent, "missing-id"},
		"an empty psUserId":          {reply{body: usersBody(`[{"psUserId":" "}]`, lastPage)}, fault.Permanent, "missing-id"},
		"more, with a null cursor":   {reply{body: usersBody(oneUser, `{"hasNextPage":true,"endCursor":null}`)}, fault.Permanent, "null-cursor"},
		"more, with an empty cursor": {reply{body: usersBody(oneUser, `{"hasNextPage":true,"endCursor":""}`)}, fault.Permanent, "null-cursor"},
		"more, but nobody":           {reply{body: usersBody(`[]`, morePages)}, fault.Permanent, "empty-page"},
		"a wrong type":               {reply{body: usersBody(`[{"psUserId":"u1","isOnAccount":"yes"}]`, lastPage)}, fault.Permanent, "bad-shape"},
		"an id that is an object":    {reply{body: usersBody(`[{"psUserId":{}}]`, lastPage)}, fault.Permanent, "bad-shape"},
		"errors beside data":         {reply{body: page[:len(page)-1] + `,"errors":[{"message":"partial"}]}`}, fault.Transient, "errors-with-data"},
		"errors before data":         {reply{body: `{"errors":[{"message":"partial"}],` + page[1:]}, fault.Transient, "errors-with-data"},
		"errors as a text":           {reply{body: page[:len(page)-1] + `,"errors":"odd"}`}, fault.Transient, "errors-with-data"},
		"errors as an object":        {reply{body: page[:len(page)-1] + `,"errors":{"message":"odd"}}`}, fault.Transient, "errors-with-data"},
		"odd locations":              {reply{body: `{"errors":[{"message":"m","locations":"odd","path":7}]}`}, fault.Transient, "graphql-error"},
		"extensions as an array":     {reply{body: `{"errors":[{"message":"m","extensions":[{"code":"BAD_USER_INPUT"}]}]}`}, fault.Permanent, "graphql-error"},
		"an internal error":          {reply{body: graphqlError("m", "INTERNAL_SERVER_ERROR")}, fault.Transient, "graphql-error"},
		"no code":                    {reply{body: graphqlError("something", "")}, fault.Transient, "graphql-error"},
		"a validation error":         {reply{body: graphqlError(`Cannot query field "firstName" on type "User".`, "")}, fault.Permanent, "graphql-error"},
		"unauthenticated":            {reply{body: graphqlError("m", "UNAUTHENTICATED")}, fault.Permanent, "unauthorized"},
		"forbidden by code":          {reply{body: graphqlError("m", "FORBIDDEN")}, fault.Permanent, "forbidden"},
		"throttled by code":          {reply{body: graphqlError("m", "RATE_LIMITED")}, fault.Throttled, "rate-limited"},
		"HTML":                       {reply{kind: "text/html", body: "<html>log in</html>"}, fault.Transient, "not-json"},
		"HTML that says JSON":        {reply{body: "<html>log in</html>"}, fault.Transient, "not-json"},
		"JSON that says HTML":        {reply{kind: "text/html", body: page}, fault.Transient, "not-json"},
		"a byte order mark":          {reply{body: "\ufeff" + page}, fault.Transient, "not-json"},
		"trailing garbage":           {reply{body: page + "x"}, fault.Transient, "not-json"},
		"a second answer":            {reply{body: page + page}, fault.Transient, "not-json"},
		"no body":                    {reply{body: ""}, fault.Transient, "truncated"},
		"half a body":                {reply{body: page[:len(page)/2]}, fault.Transient, "truncated"},
		"a body without its brace":   {reply{body: page[:len(page)-1]}, fault.Transient, "truncated"},
		"a broken connection":        {reply{serve: cut(page[:40])}, fault.Transient, "truncated"},
		"a whole body, then broken":  {reply{serve: cut(page)}, fault.Transient, "truncated"},
		"broken before the headers":  {reply{serve: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}, fault.Transient, "connection"},
		"too large":                  {reply{body: usersBody(`[{"psUserId":"`+strings.Repeat("x", maxBody)+`"}]`, lastPage)}, fault.Permanent, "too-large"},
		"a flood of empty objects":   {reply{body: usersBody(`[`+strings.Repeat(`{},`, maxObjects)+`{}]`, lastPage)}, fault.Permanent, "too-large"},
		"a flood of errors":          {reply{body: `{"errors":[` + strings.Repeat(`1,`, 1<<20) + `1]}`}, fault.Transient, "graphql-error"},
		"too large once inflated":    {reply{headers: map[string]string{"Content-Encoding": "gzip"}, body: zipped(strings.Repeat(" ", 2*maxBody) + page)}, fault.Permanent, "too-large"},
		"half a gzip":                {reply{headers: map[string]string{"Content-Encoding": "gzip"}, body: zipped(page)[:40]}, fault.Transient, "truncated"},
		"201":                        {reply{status: 201, body: page}, fault.Permanent, "unexpected-status"},
		"204":                        {reply{status: 204}, fault.Permanent, "unexpected-status"},
		"302":                        {reply{status: 302, headers: map[string]string{"Location": "/login"}}, fault.Permanent, "redirected"},
		"307":                        {reply{status: 307, headers: map[string]string{"Location": "/login"}}, fault.Permanent, "redirected"},
		"400":                        {reply{status: 400, body: `{"message":"ada@example.com is wrong"}`}, fault.Permanent, "bad-request"},
		"400 with GraphQL errors":    {reply{status: 400, body: graphqlError("m", "")}, fault.Permanent, "graphql-error"},
		"401":                        {reply{status: 401, body: `{"error":"AuthenticationError: Invalid API Key"}`}, fault.Permanent, "unauthorized"},
		"401 without a body":         {reply{status: 401}, fault.Permanent, "unauthorized"},
		"403":                        {reply{status: 403, kind: "text/html", body: "<html>"}, fault.Permanent, "forbidden"},
		"404":                        {reply{status: 404}, fault.Permanent, "bad-request"},
		"408":                        {reply{status: 408}, fault.Transient, "refused-early"},
		"429":                        {reply{status: 429, headers: map[string]string{"Retry-After": "0"}}, fault.Throttled, "rate-limited"},
		"500":                        {reply{status: 500, body: graphqlError("m", "")}, fault.Transient, "server-error"},
		"502":                        {reply{status: 502, kind: "text/html", body: "<html>bad gateway</html>"}, fault.Transient, "server-error"},
		"503":                        {reply{status: 503}, fault.Transient, "server-error"},
		"504":                        {reply{status: 504}, fault.Transient, "server-error"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(int, question) reply { return c.reply })
			got, err := b.Users(t.Context(), "")
			if fault.ReasonOf(err) != c.reason || fault.ClassOf(err) != c.class {
				t.Fatalf("got %v (%v), %d users; want %s (%v)", err, fault.ClassOf(err), len(got.Users), c.reason, c.class)
			}
			if text := err.Error(); strings.Contains(text, "@") || strings.Contains(text, "html") {
				t.Errorf("the error quotes the body: %s", text)
			}
			want := 1
			if c.class != fault.Permanent {
				want = 3
			}
			if n := countUsers(b.asked()); n != want {
				t.Errorf("%d calls; want %d", n, want)
			}
		})
	}
}

// countUsers counts questions for whole pages, and not those about optional fields.
func countUsers(asked []question) int {
	n := 0
	for _, q := range asked {
		if q.Variables.First == 100 {
			n++
		}
	}
	return n
}

func zipped(s string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return out.String()
}

func TestUsers_RecoversFromWhatPasses(t *testing.T) {
	t.Parallel()
	page := reply{body: usersBody(oneUser, lastPage)}
	for name, first := range map[string]reply{
		"a broken connection": {serve: cut(page.body[:40])},
		"a 502":               {status: 502},
		"a 429":               {status: 429},
		"errors beside data":  {body: page.body[:len(page.body)-1] + `,"errors":[{"message":"partial"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(n int, _ question) reply {
				if n == 1 {
					return first
				}
				return page
			})
			got, err := b.Users(t.Context(), "")
			if err != nil || len(got.Users) != 1 || len(b.asked()) != 2 {
				t.Errorf("got %d users, %v, after %d calls", len(got.Users), err, len(b.asked()))
			}
			if !strings.Contains(b.logs.String(), "calling Pluralsight again") {
				t.Error("the retry is not in the log")
			}
		})
	}
}

func TestUsers_GzipIsFine(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(int, question) reply {
		return reply{headers: map[string]string{"Content-Encoding": "gzip"}, body: zipped(usersBody(oneUser, lastPage))}
	})
	if got, err := b.Users(t.Context(), ""); err != nil || len(got.Users) != 1 {
		t.Errorf("got %d users, %v", len(got.Users), err)
	}
}

func TestUsers_AttemptTimeoutCoversTheBody(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]http.HandlerFunc{
		"no headers": hang,
		"a stalled body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"data":{`)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, func(int, question) reply { return reply{serve: serve} }, func(c *Config) {
				c.Retry.CallTimeout, c.Retry.MaxAttempts = 700*time.Millisecond, 2
			})
			_, err := b.Users(t.Context(), "")
			if fault.ReasonOf(err) != "timeout" || fault.ClassOf(err) != fault.Transient || len(b.asked()) != 2 {
				t.Errorf("got %v after %d calls", err, len(b.asked()))
			}
		})
	}
}

func TestUsers_CallerCancels(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b := newBench(t, func(int, question) reply {
		return reply{serve: func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) }}
	})
	if _, err := b.Users(ctx, ""); !errors.Is(err, context.Canceled) || len(b.asked()) != 1 {
		t.Errorf("got %v after %d calls", err, len(b.asked()))
	}
}

func TestUsers_RedirectsGetNoToken(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed; Authorization %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	b := newBench(t, func(int, question) reply {
		return reply{status: 307, headers: map[string]string{"Location": other.URL}}
	})
	if _, err := b.Users(t.Context(), ""); fault.ReasonOf(err) != "redirected" {
		t.Errorf("got %v", err)
	}
}

func TestUsers_UntrustedCertificateIsFinal(t *testing.T) {
	t.Parallel()
	b := &bench{registry: prometheus.NewRegistry(), logs: &syncBuffer{}, server: httptest.NewUnstartedServer(http.NotFoundHandler())}
	b.server.Config.ErrorLog = discardLog
	b.server.StartTLS()
	b.start(t, b.server.URL)
	_, err := b.Users(t.Context(), "")
	if fault.ReasonOf(err) != "untrusted-certificate" || fault.ClassOf(err) != fault.Permanent {
		t.Errorf("got %v", err)
	}
}

func TestUsers_NobodyListens(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.server.Close()
	_, err := b.Users(t.Context(), "")
	if fault.ReasonOf(err) != "connection" || fault.ClassOf(err) != fault.Transient || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("got %v", err)
	}
}

func TestUsers_TokenIsReadForEachCall(t *testing.T) {
	t.Parallel()
	var token string
	var failure error
	b := newBench(t, func(int, question) reply { return reply{body: usersBody(oneUser, lastPage)} }, func(c *Config) {
		c.Token = func() (string, error) { return token, failure }
	})
	for _, bad := range []string{"", "two words", "line\nfeed"} {
		token = bad
		if _, err := b.Users(t.Context(), ""); fault.ReasonOf(err) != "no-token" || fault.ClassOf(err) != fault.Permanent {
			t.Errorf("token %q: got %v", bad, err)
		}
	}
	token, failure = testToken, errors.New("open /run/secrets/x: no such file")
	if _, err := b.Users(t.Context(), ""); fault.ReasonOf(err) != "no-token" || strings.Contains(err.Error(), "/run") {
		t.Errorf("got %v", err)
	}
	failure = nil
	if _, err := b.Users(t.Context(), ""); err != nil {
		t.Errorf("with a token: %v", err)
	}
}

func TestClient_CountsRequests(t *testing.T) {
	t.Parallel()
	replies := []reply{{status: 503}, {status: 429}, {body: usersBody(oneUser, lastPage)}, {status: 401}}
	b := newBench(t, func(n int, _ question) reply { return replies[n-1] })
	// A second client shares the counter; anything else would panic or lose counts.
	twin := New(Config{}, Deps{Registry: b.registry, Connection: "other"})
	twin.requests.Count("users", nil)
	if _, err := b.Users(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Users(t.Context(), ""); err == nil {
		t.Fatal("a 401 passed")
	}
	want := `
# HELP seatwire_vendor_requests_total HTTP requests to vendors by what became of them: ok, or the class of the failure.
# TYPE seatwire_vendor_requests_total counter
seatwire_vendor_requests_total{class="ok",connection="acme",operation="users",vendor="pluralsight"} 1
seatwire_vendor_requests_total{class="ok",connection="other",operation="users",vendor="pluralsight"} 1
seatwire_vendor_requests_total{class="permanent",connection="acme",operation="users",vendor="pluralsight"} 1
seatwire_vendor_requests_total{class="throttled",connection="acme",operation="users",vendor="pluralsight"} 1
seatwire_vendor_requests_total{class="transient",connection="acme",operation="users",vendor="pluralsight"} 1
`
	if err := testutil.GatherAndCompare(b.registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestStatusFault_RetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for status, want := range map[int]time.Duration{429: 7 * time.Second, 503: 7 * time.Second, 500: 7 * time.Second, 401: 0, 404: 0} {
		for _, header := range []string{"7", "Mon, 23 Nov 2026 12:00:07 GMT"} {
			if f := statusFault(status, http.Header{"Retry-After": {header}}, now); f.RetryAfter != want {
				t.Errorf("%d with %q: %v; want %v", status, header, f.RetryAfter, want)
			}
		}
	}
}

// FuzzDecodeEnvelope: any bytes are a page, or a classified failure that quotes nothing. What people are shown of a
// vendor's warning holds no address and no key.
func FuzzDecodeEnvelope(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"data":null}`, `{"data":{"users":null}}`, usersBody(oneUser, lastPage), usersBody("[null]", morePages),
		graphqlError("canary@example.com", "CODE"), `{"errors":[{"extensions":[{"code":"X"}],"path":["users",0,"teams"]}]}`,
		`{"data":{},"extensions":{"warnings":["a canary@example.com expired",{"message":"b"}]}}`, `{"data":{},"errors":"x"}`,
		usersBody(oneUser, lastPage) + "canary", `{"data":{"planAdmins":{"totalCount":1,"nodes":[{"psUserId":7}],"pageInfo":` + lastPage + `}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var users wire.UsersPageResponse
		env, err := decodeEnvelope(body, &users)
		if checkUnquoted(t, err); err != nil {
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q passed as JSON", body)
		}
		if len(env.errors) > 0 {
			checkUnquoted(t, errorsFault(&responseErrors{http.StatusOK, env.errors}, env.hasData, true))
		}
		for _, w := range env.warnings {
			if text := warning(w); addressText.MatchString(text) || len([]rune(text)) > maxWarning+40 {
				t.Fatalf("a warning shows %q", text)
			}
		}
		if !env.hasData {
			return // whatever stands under "DATA": the exchange refuses it
		}
		page, err := userPage(&users, 100, 0, env.warnings)
		checkUnquoted(t, err)
		checkPage(t, page.Page, len(page.Users), err)
		var admins wire.PlanAdminsPageResponse
		if _, err := decodeEnvelope(body, &admins); err == nil {
			page, err := adminPage(&admins, 100, env.warnings)
			checkPage(t, page.Page, len(page.Admins), err)
		}
	})
}

func checkPage(t *testing.T, page Page, people int, err error) {
	t.Helper()
	if err == nil && page.HasNext && (people == 0 || page.EndCursor == "") {
		t.Fatalf("not a page: %+v", page)
	}
}

// checkUnquoted wants a failure to be classified, and to say nothing of what the vendor wrote.
func checkUnquoted(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*fault.Error](err); !ok || strings.Contains(err.Error()+fault.Text(err), "canary") {
		t.Fatalf("unclassified, or quoting: %v", err)
	}
}
