package pluralsight

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	wholeYes = `{"status":"Completed Successfully"}`
	someRows = "id,email,first_name,last_name\n1,ada@example.com,Ada,L\n"
)

// newOrders starts a server for orders and counts what reaches it.
func newOrders(t *testing.T, answer http.HandlerFunc, change ...func(*Config)) (*bench, *atomic.Int64) {
	t.Helper()
	b := &bench{registry: prometheus.NewRegistry(), logs: &syncBuffer{}}
	calls := new(atomic.Int64)
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		answer(w, r)
	}))
	b.start(t, "", append([]func(*Config){func(c *Config) { c.DeprovisionURL = b.server.URL + "/deprovision" }}, change...)...)
	return b, calls
}

func armed(t *testing.T, opts Options) Order {
	t.Helper()
	o, err := Apply([]byte(someRows), opts, Approval{SHA256: DryRun([]byte(someRows), opts).SHA256(), By: "grace"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestDeprovision_Request(t *testing.T) {
	t.Parallel()
	dry := func(o Options) Order { return DryRun([]byte(someRows), o) }
	cases := map[string]struct {
		order Order
		basic bool
		query string
	}{
		"a dry run":         {dry(Options{}), false, "dryRun=true&exitOnError=false&reatinPrivileges=false"},
		"a strict dry run":  {dry(Options{true, true}), true, "dryRun=true&exitOnError=true&reatinPrivileges=true"},
		"the real thing":    {armed(t, Options{}), false, "dryRun=false&exitOnError=false&reatinPrivileges=false"},
		"keeping rights":    {armed(t, Options{RetainPrivileges: true}), true, "dryRun=false&exitOnError=false&reatinPrivileges=true"},
		"strict, for real":  {armed(t, Options{ExitOnError: true}), false, "dryRun=false&exitOnError=true&reatinPrivileges=false"},
		"an order of ours?": {Order{csv: []byte(someRows)}, false, "dryRun=true&exitOnError=false&reatinPrivileges=false"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, calls := newOrders(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				user, password, basic := r.BasicAuth()
				if basic != c.basic || basic && (user != "pluralsight" || password != testToken) || !basic && r.Header.Get("Authorization") != "Bearer "+testToken {
					t.Errorf("Authorization %q", r.Header.Get("Authorization"))
				}
				got := []any{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"), r.Header.Get("Content-Disposition"), r.ContentLength, string(body), r.Proto, r.Header.Get("Idempotency-Key")}
				want := []any{"POST", "/deprovision", c.query, "text/csv", `attachment; filename="deprovision.csv"`, int64(len(someRows)), someRows, "HTTP/1.1", ""}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				_, _ = io.WriteString(w, wholeYes)
			}, func(cfg *Config) {
				if c.basic {
					cfg.DeprovisionAuth = "basic"
				}
			})
			got, err := b.Deprovision(t.Context(), c.order)
			if err != nil || got.Status != Successful || got.HTTP != 200 || len(got.BodySHA256) != 64 || calls.Load() != 1 {
				t.Errorf("got %+v, %v, after %d calls", got, err, calls.Load())
			}
		})
	}
}

func TestDeprovisionURL_OverridesWhatTheBaseSays(t *testing.T) {
	t.Parallel()
	got, err := deprovisionURL("https://h/deprovision?dryRun=false&removeUsers=false", DryRun(nil, Options{}))
	if want := "https://h/deprovision?dryRun=true&exitOnError=false&reatinPrivileges=false&removeUsers=false"; got != want || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestApply_NeedsAnApprovalOfTheseBytes(t *testing.T) {
	t.Parallel()
	file := []byte(someRows)
	hash := DryRun(file, Options{}).SHA256()
	for name, c := range map[string]struct {
		file     []byte
		approval Approval
		reason   string
	}{
		"none":            {file, Approval{}, "not-approved"},
		"of nobody":       {file, Approval{SHA256: hash}, "not-approved"},
		"of nothing":      {file, Approval{By: "grace"}, "not-approved"},
		"of another file": {append([]byte(nil), file[:len(file)-2]...), Approval{hash, "grace"}, "not-approved"},
		"no file":         {nil, Approval{DryRun(nil, Options{}).SHA256(), "grace"}, "csv-foreign"},
		"a foreign file":  {[]byte("x"), Approval{DryRun([]byte("x"), Options{}).SHA256(), "grace"}, "csv-foreign"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if o, err := Apply(c.file, Options{}, c.approval); fault.ReasonOf(err) != c.reason || o.Armed() {
				t.Errorf("armed %v: %v", o.Armed(), err)
			}
		})
	}
	o, err := Apply(file, Options{}, Approval{strings.ToUpper(hash), "grace"})
	if err != nil || !o.Armed() || o.SHA256() != hash {
		t.Fatalf("armed %v: %v", o.Armed(), err)
	}
}

func TestApply_KeepsTheBytesThatWereApproved(t *testing.T) {
	t.Parallel()
	file := []byte(someRows)
	hash := DryRun(file, Options{}).SHA256()
	dry := DryRun(file, Options{})
	o, err := Apply(file, Options{}, Approval{hash, "grace"})
	if err != nil {
		t.Fatal(err)
	}
	file[len(file)-3] = 'X'
	if o.SHA256() != hash || dry.SHA256() != hash {
		t.Error("an order changed after it was made")
	}
}

func TestDeprovision_RefusesTheZeroOrder(t *testing.T) {
	t.Parallel()
	b, calls := newOrders(t, func(http.ResponseWriter, *http.Request) {})
	if _, err := b.Deprovision(t.Context(), Order{}); fault.ClassOf(err) != fault.Permanent || calls.Load() != 0 {
		t.Errorf("got %v after %d calls", err, calls.Load())
	}
}

// TestDeprovision_Failures is the whole table of what can go wrong once the order has a connection: its class for the
// real thing, its class for a dry run, and that the real thing is sent once.
func TestDeprovision_Failures(t *testing.T) {
	t.Parallel()
	const transient, permanent, throttled, unknown = fault.Transient, fault.Permanent, fault.Throttled, fault.Unknown
	says := func(status int, body string, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	cases := map[string]struct {
		serve      http.HandlerFunc
		armed, dry fault.Class
		reason     string // of the armed one
	}{
		"reset before an answer":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, unknown, transient, "no-answer"},
		"read, then reset":         {func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body); panic(http.ErrAbortHandler) }, unknown, transient, "no-answer"},
		"half an answer":           {cut(`{"status":`), unknown, transient, "no-answer"},
		"a stalled answer":         {hang, unknown, transient, "no-answer"},
		"200, not JSON":            {says(200, "<html>"), unknown, transient, "unreadable-answer"},
		"200, empty":               {says(200, ""), unknown, transient, "unreadable-answer"},
		"200, another status":      {says(200, `{"status":"Queued"}`), unknown, transient, "unreadable-answer"},
		"204":                      {says(204, ""), unknown, transient, "unreadable-answer"},
		"302":                      {says(302, "", "Location", "/login"), unknown, permanent, "no-answer"},
		"307":                      {says(307, "", "Location", "/deprovision"), unknown, permanent, "no-answer"},
		"400, not JSON":            {says(400, "<html>"), unknown, transient, "unreadable-answer"},
		"400 that claims success":  {says(400, wholeYes), unknown, transient, "unreadable-answer"},
		"401":                      {says(401, `{"error":"AuthenticationError: Invalid API Key"}`), permanent, permanent, "unauthorized"},
		"403":                      {says(403, ""), permanent, permanent, "forbidden"},
		"404":                      {says(404, ""), permanent, permanent, "bad-request"},
		"408":                      {says(408, ""), transient, transient, "refused-early"},
		"409":                      {says(409, ""), throttled, throttled, "conflict"},
		"413":                      {says(413, ""), permanent, permanent, "payload-limit"},
		"421":                      {says(421, ""), transient, transient, "refused-early"},
		"422":                      {says(422, ""), permanent, permanent, "bad-request"},
		"425":                      {says(425, ""), transient, transient, "refused-early"},
		"429":                      {says(429, ""), throttled, throttled, "rate-limited"},
		"429 with Retry-After":     {says(429, "", "Retry-After", "0"), throttled, throttled, "rate-limited"},
		"500":                      {says(500, wholeYes), unknown, transient, "no-answer"},
		"502":                      {says(502, "<html>"), unknown, transient, "no-answer"},
		"503":                      {says(503, ""), unknown, transient, "no-answer"},
		"503 with Retry-After":     {says(503, "", "Retry-After", "0"), throttled, throttled, "unavailable"},
		"503 with odd Retry-After": {says(503, "", "Retry-After", "soon"), unknown, transient, "no-answer"},
		"504":                      {says(504, ""), unknown, transient, "no-answer"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, calls := newOrders(t, c.serve, func(cfg *Config) {
				if name == "a stalled answer" {
					cfg.Retry.CallTimeout = 700 * time.Millisecond
				}
			})
			_, err := b.Deprovision(t.Context(), armed(t, Options{}))
			if fault.ClassOf(err) != c.armed || fault.ReasonOf(err) != c.reason || calls.Load() != 1 {
				t.Errorf("armed: %v (%v) after %d calls; want %s (%v) after one", err, fault.ClassOf(err), calls.Load(), c.reason, c.armed)
			}
			calls.Store(0)
			_, err = b.Deprovision(t.Context(), DryRun([]byte(someRows), Options{}))
			want := int64(3)
			if c.dry == permanent {
				want = 1
			}
			if fault.ClassOf(err) != c.dry || calls.Load() != want {
				t.Errorf("dry run: %v (%v) after %d calls; want %v after %d", err, fault.ClassOf(err), calls.Load(), c.dry, want)
			}
		})
	}
}

func TestDeprovision_CancelledOnItsWayIsUnknown(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	b, calls := newOrders(t, func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
	if _, err := b.Deprovision(ctx, armed(t, Options{})); fault.ClassOf(err) != fault.Unknown || calls.Load() != 1 {
		t.Errorf("got %v", err)
	}
	if _, err := b.Deprovision(ctx, armed(t, Options{})); fault.ReasonOf(err) != "not-sent" || calls.Load() != 1 {
		t.Errorf("with a context that is over: %v", err)
	}
}

func TestDeprovision_NotSent(t *testing.T) {
	t.Parallel()
	refused, _ := newOrders(t, nil)
	refused.server.Close()
	plain, _ := newOrders(t, nil, func(c *Config) { c.DeprovisionURL = "" })
	plain.cfg.DeprovisionURL = strings.Replace(plain.server.URL, "http:", "https:", 1)
	silent := listen(t)
	stalled, _ := newOrders(t, nil, func(c *Config) { c.DeprovisionURL = "https://" + silent; c.Retry.CallTimeout = 100 * time.Millisecond })
	for name, b := range map[string]*bench{"nobody listens": refused, "no TLS there": plain, "a stalled handshake": stalled} {
		t.Run(name, func(t *testing.T) {
			if _, err := b.Deprovision(t.Context(), armed(t, Options{})); fault.ReasonOf(err) != "not-sent" || fault.ClassOf(err) != fault.Transient {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDeprovision_UntrustedCertificateIsNotSentAndFinal(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = discardLog
	s.StartTLS()
	defer s.Close()
	b, _ := newOrders(t, nil, func(c *Config) { c.DeprovisionURL = s.URL })
	if _, err := b.Deprovision(t.Context(), armed(t, Options{})); fault.ReasonOf(err) != "untrusted-certificate" || fault.ClassOf(err) != fault.Permanent {
		t.Errorf("got %v", err)
	}
}

// listen returns the address of somebody who accepts connections and says nothing.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestDeprovision_Answers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code int
		body string
		want Status
	}{
		"success":          {200, wholeYes, Successful},
		"processing":       {202, `{"status":"Processing"}`, Processing},
		"validation":       {400, `{"status":"Validation Completed With Errors"}`, ValidationErrors},
		"errors":           {400, `{"status":"Completed With Errors"}`, CompletedWithErrors},
		"errors, as a 200": {200, `{"status":"Completed With Errors"}`, CompletedWithErrors},
		"no files":         {400, `{"status":"No files"}`, NoFiles},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newOrders(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.code)
				_, _ = io.WriteString(w, c.body)
			})
			for _, o := range []Order{armed(t, Options{}), DryRun([]byte(someRows), Options{})} {
				if got, err := b.Deprovision(t.Context(), o); err != nil || got.Status != c.want || got.HTTP != c.code {
					t.Errorf("armed %v: got %+v, %v", o.Armed(), got, err)
				}
			}
		})
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Status{
		`{"status":"Completed Successfully"}`:                                             Successful,
		`{"Status":"COMPLETED_SUCCESSFULLY"}`:                                             Successful,
		"{\u201cstatus\u201d: \u201cProcessing\u201d,}":                                   Processing,
		`{"status": "No files",}`:                                                         NoFiles,
		"\ufeff" + `{"status":"processing"}`:                                              Processing,
		"{\n  \u201cstatus\u201d: \u201cValidation Completed With Errors\u201d\n}\n":      ValidationErrors,
		`{"status":"Completed With Errors","rows":[{"status":"Completed Successfully"}]}`: CompletedWithErrors,
		`status: Processing`:                                                              Other,
		`"status":"Processing" and then some`:                                             Processing,
		`[{"status":"Processing"}]`:                                                       Processing,
		`"status":"Processing", "status":"Completed Successfully"`:                        Other,
		`"status":"Completed Successfully", "status":"Odd"`:                               Other,
		`"status":"Odd", "status":"Completed Successfully"`:                               Other,
		`{"status":"Not Completed Successfully"}`:                                         Other,
		`{"status":null}`:                                                                 Other,
		`{"status":200}`:                                                                  Other,
		`{}`:                                                                              Other,
		``:                                                                                Other,
		`null`:                                                                            Other,
		`<html>`:                                                                          Other,
	} {
		if got := parseStatus(body); got != want {
			t.Errorf("parseStatus(%q) = %s; want %s", body, got, want)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{wholeYes, "{\u201cstatus\u201d: \u201cProcessing\u201d,}", `"status":"a","status":"b"`, `{"status":{}}`, `[`, "\xff"} {
		f.Add(200, []byte(s))
		f.Add(400, []byte(s))
	}
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		a := parseAnswer(code, body)
		if code >= 400 && (a.Status == Successful || a.Status == Processing) {
			t.Fatalf("%d passed as %s", code, a.Status)
		}
		if again := parseAnswer(code, body); again != a || len(a.BodySHA256) != 64 {
			t.Fatalf("%+v, then %+v", a, again)
		}
		if f := orderFault(true, code, nil, time.Time{}); f != nil && f.Class == fault.Transient && code != 408 && code != 421 && code != 425 {
			t.Fatalf("%d would send an armed order again: %v", code, f)
		}
		var object struct{ Status string }
		if json.Unmarshal(body, &object) == nil && lookupStatus(object.Status) == Other && a.Status != Other {
			t.Fatalf("%q became %s", body, a.Status)
		}
	})
}
