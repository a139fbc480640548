package productiv

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
)

// TestClient_Bodies is what each call makes of a 200 by its body. "" is success.
func TestClient_Bodies(t *testing.T) {
	t.Parallel()
	cases := []struct{ body, users, add, remove string }{
		{`{"success":true,"provisionedUsers":[],"numUsersDeleted":1}`, "", "", ""},
		{`{"success":true,"provisionedUsers":[],"nextPageToken":""}`, "", "", ""},
		{`{"success":true,"provisionedUsers":[{"appUserId":"1","email":"a@b"}]}`, "", "", ""},
		{`{"success":true,"provisionedUsers":[{"email":"a@b"}]}`, "", "", ""},
		{` {"success" : true, "provisionedUsers" : [] } ` + "\n", "", "", ""},
		{`{"success":true}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":null}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":{}}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":"none"}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":[null]}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":[{}]}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":[{"appUserId":7}]}`, nc, "", ""},
		{`{"success":true,"provisionedUsers":[],"nextPageToken":7}`, nc, "", ""},
		{`{"success":true,"users":[]}`, nc, "", ""},
		{`{"success":true,"numUsersDeleted":-1}`, nc, "", nc},
		{`{"success":true,"numUsersDeleted":"1"}`, nc, "", nc},
		{`{"success":false}`, nc, nc, nc},
		{`{"success":false,"provisionedUsers":[],"numUsersDeleted":1}`, nc, nc, ""},
		{`{"success":null,"provisionedUsers":[],"numUsersDeleted":1}`, nc, nc, nc},
		{`{"success":"true","provisionedUsers":[],"numUsersDeleted":1}`, nc, nc, nc},
		{`{"success":1,"provisionedUsers":[],"numUsersDeleted":1}`, nc, nc, nc},
		{`{"provisionedUsers":[],"numUsersDeleted":1}`, nc, nc, nc},
		{`{"error":"unauthorized"}`, nc, nc, nc},
		{`{}`, nc, nc, nc},
		{`[]`, nc, nc, nc},
		{`[{"success":true}]`, nc, nc, nc},
		{`null`, nc, nc, nc},
		{`true`, nc, nc, nc},
		{`"success"`, nc, nc, nc},
		{``, nc, nc, nc},
		{` `, nc, nc, nc},
		{`OK`, nc, nc, nc},
		{`<html><body>ada@example.com, please log in</body></html>`, nc, nc, nc},
		{"\ufeff" + `{"success":true,"provisionedUsers":[],"numUsersDeleted":1}`, nc, nc, nc},
		{`{"success":true,"provisionedUsers":[],"numUsersDeleted":1}}`, nc, nc, nc},
		{`{"success":true,"provisionedUsers":[],"numUsersDeleted":1} trailing`, nc, nc, nc},
		{`{"success":true,"provisionedUsers":[],"numUsersDeleted":1}{"success":false}`, nc, nc, nc},
		{`{"success":true,"provisionedUsers":[`, nc, nc, nc},
		{`{"success":true,`, nc, nc, nc},
	}
	r := newRig(t, nil, nil)
	for _, c := range cases {
		handler := reply(200, c.body)
		r.users.Store(&handler)
		_, usersErr := r.client.Users(t.Context(), "")
		_, removeErr := r.client.Remove(t.Context(), encode(t, adaUser))
		got := []error{usersErr, r.client.Add(t.Context(), encode(t, adaUser)), removeErr}
		for i, want := range []string{c.users, c.add, c.remove} {
			checkFault(t, fmt.Sprintf("%s of %s", []string{"users", "add", "remove"}[i], c.body), got[i], fault.Transient, want)
		}
	}
}

const nc = "not-confirmed"

// TestClient_Statuses is the whole table of statuses, for a read and a write alike.
func TestClient_Statuses(t *testing.T) {
	t.Parallel()
	expected := map[int]struct {
		class  fault.Class
		reason string
	}{
		200: {}, 201: {}, 202: {}, 203: {}, 206: {}, 226: {},
		205: {}, 204: {fault.Transient, nc},
		401: {fault.Permanent, "unauthorized"},
		403: {fault.Permanent, "forbidden"},
		404: {fault.Permanent, "unknown-app"},
		408: {fault.Transient, "refused-early"}, 421: {fault.Transient, "refused-early"}, 425: {fault.Transient, "refused-early"},
		409: {fault.Unknown, "conflict"},
		413: {fault.Permanent, "too-large"},
		429: {fault.Throttled, "rate-limited"},
	}
	r := newRig(t, nil, nil)
	for status := 200; status < 600; status++ {
		want, listed := expected[status]
		switch {
		case listed:
		case status < 300:
			continue // unassigned: nobody sends them
		case status < 400:
			want.class, want.reason = fault.Permanent, "redirected"
		case status < 500:
			want.class, want.reason = fault.Permanent, "refused"
		default:
			want.class, want.reason = fault.Transient, "server-error"
		}
		handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Location", "/token")
			reply(status, `{"success":true,"provisionedUsers":[],"message":"ada@example.com"}`)(w, req)
		})
		r.users.Store(&handler)
		_, err := r.client.Users(t.Context(), "")
		checkFault(t, fmt.Sprint("users ", status), err, want.class, want.reason)
		checkFault(t, fmt.Sprint("add ", status), r.client.Add(t.Context(), encode(t, adaUser)), want.class, want.reason)
	}
}

func TestStatusFault_RetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		status int
		header string
		class  fault.Class
		wait   time.Duration
	}{
		{429, "7", fault.Throttled, 7 * time.Second},
		{429, "Mon, 23 Nov 2026 12:00:09 GMT", fault.Throttled, 9 * time.Second},
		{429, "soon", fault.Throttled, 0},
		{503, "7", fault.Throttled, 7 * time.Second},
		{503, "", fault.Transient, 0},
		{502, "7", fault.Transient, 7 * time.Second},
		{400, "7", fault.Permanent, 0},
		{409, "7", fault.Unknown, 0},
	} {
		f := statusFault(c.status, http.Header{"Retry-After": {c.header}}, now)
		if f.Class != c.class || f.RetryAfter != c.wait {
			t.Errorf("%d %q: got %s after %v", c.status, c.header, f.Class, f.RetryAfter)
		}
	}
}

// FuzzAnswers: an answer of any bytes is a confirmed success only if it is JSON that says so; a page's people can be
// sent back, a token can stand in a header for a while that ends, and a failure quotes nothing.
func FuzzAnswers(f *testing.F) {
	for _, text := range []string{
		`{"success":true,"provisionedUsers":[{"appUserId":"1","email":"a@b"}],"nextPageToken":"x"}`,
		`{"success":false,"numUsersDeleted":3,"message":"canary@example.com"}`, `{"success":true}`, `null`, `[]`, ``, `{"success":true}x`,
		`{"access_token":"canary","token_type":"Bearer","expires_in":"3600"}`, `{"access_token":"a b","expires_in":1e999}`, `{"access_token":"t","expires_in":NaN}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		page, err := readPage(text)
		if checkUnquoted(t, err); err == nil && (!json.Valid(text) || page.Users == nil) {
			t.Errorf("page %+v of %q", page, text)
		}
		_, err = readConfirmation(text)
		if checkUnquoted(t, err); err == nil && !bytes.Contains(text, []byte("true")) {
			t.Errorf("confirmed by %q", text)
		}
		removed, err := readRemoval(text)
		if checkUnquoted(t, err); err == nil && (removed.Count < 0 || !json.Valid(text)) {
			t.Errorf("removed %+v by %q", removed, text)
		}
		token, life, err := readToken(text)
		if checkUnquoted(t, err); err == nil && (!headerSafe(token) || life < 0 || life > maxLife) {
			t.Errorf("token %q for %v", token, life)
		}
	})
}

// FuzzUsers: the people of a sealed body are those who were put in, or the body is refused.
func FuzzUsers(f *testing.F) {
	f.Add("ps-1", "ada@example.com", "", "L")
	f.Add("canary\xff", "canary@example.com", "<&>\u2028", "\x00")
	f.Fuzz(func(t *testing.T, id, email, username, license string) {
		users := []User{{id, email, username, license}, {license + "1", email + "1", id, username}}
		body, err := EncodeUsers(users)
		if err != nil {
			checkUnquoted(t, err)
			return
		}
		var got struct{ ProvisionedUsers []User }
		if err := json.Unmarshal(body, &got); err != nil || !slices.Equal(got.ProvisionedUsers, users) {
			t.Fatalf("%q holds %q, %v", body, got.ProvisionedUsers, err)
		}
	})
}

// checkUnquoted wants a failure to be classified, and to say nothing of what anybody wrote.
func checkUnquoted(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if _, ok := errors.AsType[*fault.Error](err); !ok || strings.Contains(err.Error()+fault.Text(err), "canary") {
		t.Fatalf("unclassified, or quoting: %v", err)
	}
}
