package productivsim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

const (
	tokenA  = "ready-token-of-a"
	tokenB  = "ready-token-of-b"
	secretA = "secret & sign of a"
)

// client is a simulator behind a real socket, with a caller that adds nothing of its own.
type client struct {
	t   *testing.T
	sim *productivsim.Sim
	url string
}

// reply is an answer, or what came instead of one.
type reply struct {
	Status int
	Header http.Header
	Body   string
	Err    error
}

func options() productivsim.Options {
	return productivsim.Options{Seed: 7, Apps: []productivsim.App{
		{ID: "app-a", InstanceID: "app-a-2", ClientID: "client-a", ClientSecret: secretA, AccessTokens: []string{tokenA}},
		{ID: "app-b", ClientID: "client-b", ClientSecret: "secret-b", AccessTokens: []string{tokenB}},
	}}
}

func start(t *testing.T, o productivsim.Options) *client {
	t.Helper()
	sim := productivsim.New(o)
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return &client{t: t, sim: sim, url: server.URL}
}

// with starts app-a and app-b with some switches changed.
func with(t *testing.T, change func(*productivsim.Switches)) *client {
	t.Helper()
	o := options()
	sw := productivsim.DefaultSwitches()
	change(&sw)
	o.Switches = &sw
	return start(t, o)
}

func (c *client) do(r *http.Request) reply {
	c.t.Helper()
	plain := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // so that no call is repeated behind our back
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := plain.Do(r)
	if err != nil {
		return reply{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{Status: res.StatusCode, Header: res.Header, Body: strings.TrimSpace(string(body)), Err: err}
}

func (c *client) request(method, path, token, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func (c *client) call(method, path, token, body string) reply {
	c.t.Helper()
	return c.do(c.request(method, path, token, body))
}

const usersA = "/services/push/v1/customer/apps/app-a/users"

func (c *client) post(users ...productivsim.User) reply {
	c.t.Helper()
	return c.call(http.MethodPost, usersA, tokenA, body(users))
}

func (c *client) remove(users ...productivsim.User) reply {
	c.t.Helper()
	return c.call(http.MethodDelete, usersA, tokenA, body(users))
}

func (c *client) get(pageToken string) (reply, page) {
	c.t.Helper()
	path := usersA
	if pageToken != "" {
		path += "?nextPageToken=" + url.QueryEscape(pageToken)
	}
	r := c.call(http.MethodGet, path, tokenA, "")
	var p page
	if r.Status == http.StatusOK {
		if err := json.Unmarshal([]byte(r.Body), &p); err != nil {
			c.t.Fatal(err)
		}
	}
	return r, p
}

// page is what GET answers, written down anew from the vendor's documentation.
type page struct {
	Success          bool                `json:"success"`
	ProvisionedUsers []productivsim.User `json:"provisionedUsers"`
	NumUsers         int                 `json:"numUsers"`
	NextPageToken    *string             `json:"nextPageToken"`
}

func (c *client) inject(faults ...productivsim.Fault) {
	c.t.Helper()
	if err := c.sim.Inject(faults...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) wantStatus(r reply, status int) {
	c.t.Helper()
	if r.Err != nil || r.Status != status {
		c.t.Fatalf("got %d %s (%v), want %d", r.Status, r.Body, r.Err, status)
	}
}

func (c *client) wantBody(r reply, body string) {
	c.t.Helper()
	c.wantStatus(r, http.StatusOK)
	if r.Body != body {
		c.t.Fatalf("got %s, want %s", r.Body, body)
	}
}

// wantUsers checks the truth about app-a, as ids in the order of the list.
func (c *client) wantUsers(ids ...string) {
	c.t.Helper()
	var got []string
	for _, u := range c.sim.Users("app-a") {
		got = append(got, u.AppUserID)
	}
	if fmt.Sprint(got) != fmt.Sprint(ids) {
		c.t.Fatalf("list is %v, want %v", got, ids)
	}
}

func user(id string) productivsim.User {
	return productivsim.User{AppUserID: id, Email: id + "@example.com"}
}

func people(n int) []productivsim.User {
	users := make([]productivsim.User, n)
	for i := range users {
		users[i] = user(fmt.Sprintf("u%07d", i))
	}
	return users
}

func body(users []productivsim.User) string {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(map[string]any{"provisionedUsers": users}); err != nil {
		panic(err)
	}
	return b.String()
}
