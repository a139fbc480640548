package productiv

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret = "s3cr3t-hunter2"
	ada    = "ada@example.com"
)

func constant(text string) func() (string, error) {
	return func() (string, error) { return text, nil }
}

// once makes every failure visible at once.
var once = config.Retry{MaxAttempts: 1, CallTimeout: 10 * time.Second}

// rig is a client, and a server whose handlers the test may change while it runs.
type rig struct {
	client *Client
	server *httptest.Server
	users  atomic.Pointer[http.HandlerFunc]
	token  atomic.Pointer[http.HandlerFunc]
	log    bytes.Buffer
	reg    *prometheus.Registry

	mu   sync.Mutex
	seen []string // what reached the server: METHOD path?query authorization body
}

// newRig serves users at the push API's path and a token t1 at /token. change adapts the configuration.
func newRig(t *testing.T, users http.HandlerFunc, change func(*Config)) *rig {
	t.Helper()
	r := &rig{reg: prometheus.NewRegistry()}
	r.users.Store(&users)
	token := reply(200, `{"access_token":"t1","token_type":"Bearer","expires_in":3600}`)
	r.token.Store(&token)
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, req *http.Request) { (*r.token.Load())(w, req) })
	mux.HandleFunc("/api/services/push/v1/customer/apps/{app}/users", func(w http.ResponseWriter, req *http.Request) {
		r.record(req)
		(*r.users.Load())(w, req)
	})
	r.server = httptest.NewServer(mux)
	t.Cleanup(r.server.Close)
	cfg := Config{
		BaseURL: r.server.URL + "/api/", TokenURL: r.server.URL + "/token", AppID: "app/1",
		ClientID: "id", ClientSecret: constant(secret), Retry: once, UserAgent: "seatwire-test",
	}
	if change != nil {
		change(&cfg)
	}
	log := slog.New(slog.NewTextHandler(&r.log, nil))
	r.client = New(cfg, Deps{Log: log, Registry: r.reg, Connection: "acme"})
	t.Cleanup(r.client.Close)
	return r
}

func (r *rig) record(req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	line := fmt.Sprintf("%s %s %s %s", req.Method, req.URL.RequestURI(), req.Header.Get("Authorization"), body)
	if req.Method == http.MethodGet || req.ContentLength == int64(len(body)) {
		line = strings.TrimSpace(line)
	} else {
		line += " WITHOUT CONTENT-LENGTH"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, line)
}

func (r *rig) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{}, r.seen...)
}

func reply(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func encode(t *testing.T, users ...User) []byte {
	t.Helper()
	body, err := EncodeUsers(users)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

var adaUser = User{AppUserID: "ps-1", Email: ada}

func TestClient_WhatGoesOverTheWire(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		switch {
		case req.Method == http.MethodPost:
			reply(201, `{"success":true}`)(w, req)
		case req.Method == http.MethodDelete:
			reply(200, `{"success":false,"numUsersDeleted":0}`)(w, req)
		case req.URL.Query().Get("nextPageToken") == "":
			reply(200, `{"success":true,"provisionedUsers":[{"appUserId":"ps-1","email":"ada@example.com","license":"L","extra":1}],"numUsers":1,"nextPageToken":"a+b/c="}`)(w, req)
		default:
			reply(200, `{"success":true,"provisionedUsers":[],"numUsers":0,"nextPageToken":null}`)(w, req)
		}
	}, nil)
	ctx := t.Context()
	page, err := r.client.Users(ctx, "")
	want := Page{Users: []User{{AppUserID: "ps-1", Email: ada, License: "L"}}, Next: "a+b/c="}
	if diff := cmp.Diff(want, page); diff != "" || err != nil {
		t.Errorf("Users: %v\n%s", err, diff)
	}
	if page, err = r.client.Users(ctx, page.Next); err != nil || len(page.Users) != 0 || page.Next != "" {
		t.Errorf("Users: %+v, %v", page, err)
	}
	if err := r.client.Add(ctx, encode(t, adaUser)); err != nil {
		t.Errorf("Add: %v", err)
	}
	if got, err := r.client.Remove(ctx, encode(t, adaUser)); err != nil || got != (Removed{}) {
		t.Errorf("Remove: %+v, %v", got, err)
	}
	const path, body = "/api/services/push/v1/customer/apps/app%2F1/users", `{"provisionedUsers":[{"appUserId":"ps-1","email":"ada@example.com"}]}`
	if diff := cmp.Diff([]string{
		"GET " + path + " Bearer t1",
		"GET " + path + "?nextPageToken=a%2Bb%2Fc%3D Bearer t1",
		"POST " + path + " Bearer t1 " + body,
		"DELETE " + path + " Bearer t1 " + body,
	}, r.requests()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	wantCounts(t, r, `
seatwire_vendor_requests_total{class="ok",connection="acme",operation="add",vendor="productiv"} 1
seatwire_vendor_requests_total{class="ok",connection="acme",operation="remove",vendor="productiv"} 1
seatwire_vendor_requests_total{class="ok",connection="acme",operation="token",vendor="productiv"} 1
seatwire_vendor_requests_total{class="ok",connection="acme",operation="users",vendor="productiv"} 2
`)
}

func wantCounts(t *testing.T, r *rig, lines string) {
	t.Helper()
	const head = "# HELP seatwire_vendor_requests_total HTTP requests to vendors by what became of them: ok, or the class of the failure.\n" +
		"# TYPE seatwire_vendor_requests_total counter"
	if err := testutil.GatherAndCompare(r.reg, strings.NewReader(head+lines), "seatwire_vendor_requests_total"); err != nil {
		t.Error(err)
	}
}

// checkFault wants success for the reason "", and otherwise the reason with the class, and nobody's words in the text.
func checkFault(t *testing.T, name string, err error, class fault.Class, reason string) {
	t.Helper()
	switch {
	case reason == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case reason == "":
	case err == nil:
		t.Errorf("%s: no error; want %s", name, reason)
	case fault.ReasonOf(err) != reason || fault.ClassOf(err) != class:
		t.Errorf("%s: got %s %q; want %s %q", name, fault.ClassOf(err), fault.ReasonOf(err), class, reason)
	case strings.Contains(err.Error(), "ada") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "t1"):
		t.Errorf("%s: the text says too much: %v", name, err)
	}
}

func TestClient_RetriesWithTheSameBytes(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		switch calls.Add(1) {
		case 1:
			reply(503, "")(w, req)
		case 2:
			reply(200, "<html>")(w, req)
		default:
			reply(200, `{"success":true}`)(w, req)
		}
	}, func(c *Config) { c.Retry = config.Retry{MaxAttempts: 3, CallTimeout: 10 * time.Second} })
	if err := r.client.Add(t.Context(), encode(t, adaUser)); err != nil {
		t.Error(err)
	}
	seen := r.requests()
	if len(seen) != 3 || seen[0] != seen[1] || seen[1] != seen[2] {
		t.Errorf("the server saw %q", seen)
	}
	wantCounts(t, r, `
seatwire_vendor_requests_total{class="ok",connection="acme",operation="add",vendor="productiv"} 1
seatwire_vendor_requests_total{class="ok",connection="acme",operation="token",vendor="productiv"} 1
seatwire_vendor_requests_total{class="transient",connection="acme",operation="add",vendor="productiv"} 2
`)
	if strings.Contains(r.log.String(), "ada") || strings.Count(r.log.String(), "calling Productiv again") != 2 {
		t.Errorf("log:\n%s", &r.log)
	}
}

func TestNew_ClientsShareTheCounter(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	a, b := New(Config{}, Deps{Registry: reg, Connection: "a"}), New(Config{}, Deps{Registry: reg, Connection: "b"})
	defer a.Close()
	defer b.Close()
	a.requests.Count("add", nil)
	b.requests.Count("add", context.Canceled)
	if n, err := testutil.GatherAndCount(reg, "seatwire_vendor_requests_total"); n != 2 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}
