package productiv

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/fault"
)

// What a vendor, or something that stands before it, could send back of what must not be shown.
const (
	canaryToken   = "canary-t0ken-5f1c9e"
	canaryAddress = "canary.lovelace@example.com"
)

// with answers with a header of its own.
func with(name, value string, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set(name, value)
		reply(status, body)(w, req)
	}
}

// canaries are answers that are failures, of the list and of the token endpoint, each full of the canaries.
var canaries = map[string]http.HandlerFunc{
	"200, no JSON":          reply(200, canaryAddress+canaryToken),
	"200, no success":       reply(200, `{"success":false,"message":"`+canaryAddress+`","provisionedUsers":[{"email":"`+canaryAddress+`"}]}`),
	"200, a wrong type":     reply(200, `{"success":"`+canaryAddress+`","numUsersDeleted":"`+canaryToken+`","access_token":["`+canaryToken+`"]}`),
	"200, no bearer token":  reply(200, `{"access_token":"`+canaryToken+`","token_type":"`+canaryAddress+`"}`),
	"200, a token of words": reply(200, `{"access_token":"`+canaryToken+" "+canaryAddress+`"}`),
	"400":                   reply(400, `{"error":"`+canaryToken+`","error_description":"`+canaryAddress+`"}`),
	"400 invalid_grant":     reply(400, `{"error":"invalid_grant","error_description":"`+canaryAddress+`"}`),
	"401":                   with("WWW-Authenticate", `Bearer error="`+canaryToken+`"`, 401, canaryAddress),
	"403":                   reply(403, canaryAddress),
	"404":                   reply(404, canaryAddress),
	"409":                   reply(409, canaryAddress),
	"413":                   reply(413, canaryAddress),
	"429":                   with("Retry-After", canaryToken, 429, canaryAddress),
	"500":                   reply(500, canaryAddress+canaryToken),
	"redirect with a token": with("Location", "https://example.com/?access_token="+canaryToken+"&u="+canaryAddress, 302, canaryAddress),
	"no URL to redirect to": with("Location", "://"+canaryToken, 307, canaryAddress),
	"half an answer": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, canaryAddress+canaryToken)
	},
	"no HTTP": func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, canaryAddress+" "+canaryToken+"\r\n\r\n")
		_ = conn.Close()
	},
}

// TestCanary: whatever comes back, from the list or from the token endpoint, no failure shows what the vendor wrote, whom
// the call was about, or a credential; and neither do the log and the metrics.
func TestCanary(t *testing.T) {
	t.Parallel()
	for name, answer := range canaries {
		for where, token := range map[string]http.HandlerFunc{"list": reply(200, `{"access_token":"`+canaryToken+`"}`), "token": answer} {
			t.Run(where+", "+name, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, answer, func(c *Config) {
					c.ClientID, c.ClientSecret = canaryAddress, constant(canaryToken)
					c.Retry.MaxAttempts = 2
				})
				r.token.Store(&token)
				people := encode(t, User{AppUserID: canaryToken, Email: canaryAddress})
				_, listErr := r.client.Users(t.Context(), canaryToken+canaryAddress)
				_, removeErr := r.client.Remove(t.Context(), people)
				for call, err := range map[string]error{"users": listErr, "add": r.client.Add(t.Context(), people), "remove": removeErr} {
					if err != nil {
						checkSilent(t, call, err.Error()+fault.Text(err))
					}
				}
				if listErr == nil {
					t.Error("the list was read: this answer tests nothing")
				}
				families, err := r.reg.Gather()
				if err != nil || len(families) == 0 {
					t.Fatalf("%d metrics, %v", len(families), err)
				}
				for _, family := range families {
					checkSilent(t, "metrics", family.String())
				}
				checkSilent(t, "log", r.log.String())
			})
		}
	}
}

func checkSilent(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range []string{"canary", "lovelace", "5f1c9e"} {
		if strings.Contains(strings.ToLower(text), canary) {
			t.Errorf("%s shows a canary: %s", where, text)
		}
	}
}
