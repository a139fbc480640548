package pluralsight

import (
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

// canaries are answers that are failures to at least one call, each full of the canaries.
var canaries = map[string]reply{
	"GraphQL error":           {body: graphqlError("no "+canaryToken+" for "+canaryAddress, "BAD_USER_INPUT")},
	"GraphQL error, any code": {body: graphqlError(canaryAddress, canaryToken)},
	"errors beside data":      {body: `{"data":{},"errors":[{"message":"` + canaryAddress + `","path":["` + canaryToken + `"],"extensions":{"code":"` + canaryAddress + `"}}]}`},
	"400 with GraphQL errors": {status: 400, body: graphqlError(canaryAddress, "")},
	"400":                     {status: 400, body: `{"message":"` + canaryAddress + `","key":"` + canaryToken + `"}`},
	"401":                     {status: 401, body: "Bearer " + canaryToken, headers: map[string]string{"WWW-Authenticate": `Bearer realm="` + canaryToken + `"`}},
	"403":                     {status: 403, body: canaryAddress},
	"429":                     {status: 429, body: canaryAddress, headers: map[string]string{"Retry-After": canaryToken}},
	"503":                     {status: 503, body: canaryAddress, headers: map[string]string{"Retry-After": canaryAddress}},
	"500":                     {status: 500, body: graphqlError(canaryToken, canaryAddress)},
	"redirect with a token":   {status: 302, headers: map[string]string{"Location": "https://example.com/?token=" + canaryToken + "&u=" + canaryAddress}},
	"no URL to redirect to":   {status: 307, headers: map[string]string{"Location": "://" + canaryToken + canaryAddress}},
	"HTML":                    {kind: "text/html; v=" + canaryToken, body: canaryAddress},
	"no JSON":                 {body: canaryAddress + canaryToken},
	"half an answer":          {body: `{"data":{"users":"` + canaryAddress},
	"a wrong type":            {body: `{"data":{"` + canaryToken + `":1,"users":"` + canaryAddress + `","planAdmins":"` + canaryAddress + `","planInfo":"` + canaryAddress + `"}}`},
	"odd id":                  {body: usersBody(`[{"psUserId":{"`+canaryToken+`":"`+canaryAddress+`"}}]`, lastPage)},
	"unknown status":          {body: `{"status":"` + canaryAddress + `","token":"` + canaryToken + `"}`},
	"broken gzip":             {headers: map[string]string{"Content-Encoding": "gzip"}, body: canaryAddress},
	"a broken connection":     {serve: cut(`{"data":"` + canaryAddress + canaryToken)},
	"no HTTP": {serve: func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = conn.Write([]byte(canaryAddress + " " + canaryToken + "\r\n\r\n"))
		_ = conn.Close()
	}},
}

// TestCanary: whatever comes back, no call's failure shows what the vendor wrote, who was asked for, or the key; and
// neither do the log and the metrics.
func TestCanary(t *testing.T) {
	t.Parallel()
	for name, answer := range canaries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newOrders(t, answer.ServeHTTP, func(c *Config) {
				c.URL = c.DeprovisionURL
				c.Token = func() (string, error) { return canaryToken, nil }
				c.Retry.MaxAttempts = 2
			})
			file, err := WriteCSV([]Row{{ID: canaryToken, Email: canaryAddress}})
			if err != nil {
				t.Fatal(err)
			}
			order, err := Apply(file, Options{}, Approval{SHA256: DryRun(file, Options{}).SHA256(), By: "grace"})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for call, err := range b.everyCall(t, order) {
				if err == nil {
					continue
				}
				failed++
				checkSilent(t, call, err.Error()+fault.Text(err))
			}
			if failed == 0 {
				t.Error("no call failed: this answer tests nothing")
			}
			families, err := b.registry.Gather()
			if err != nil || len(families) == 0 {
				t.Fatalf("%d metrics, %v", len(families), err)
			}
			for _, family := range families {
				checkSilent(t, "metrics", family.String())
			}
			checkSilent(t, "log", b.logs.String())
		})
	}
}

// everyCall makes each call once and returns their failures.
func (b *bench) everyCall(t *testing.T, order Order) map[string]error {
	ctx, failures := t.Context(), map[string]error{}
	_, failures["users"] = b.Users(ctx, canaryAddress)
	_, failures["admins"] = b.Admins(ctx, canaryToken)
	_, failures["plan"] = b.Plan(ctx)
	_, failures["lookup"] = b.Lookup(ctx, []string{canaryAddress})
	_, failures["dry run"] = b.Deprovision(ctx, DryRun(order.csv, Options{}))
	_, failures["order"] = b.Deprovision(ctx, order)
	return failures
}

func checkSilent(t *testing.T, where, text string) {
	t.Helper()
	for _, canary := range []string{"canary", "lovelace", "5f1c9e"} {
		if strings.Contains(strings.ToLower(text), canary) {
			t.Errorf("%s shows a canary: %s", where, text)
		}
	}
}

// A warning is shown to people: it keeps the vendor's sentence, without addresses and keys.
func TestCanary_warnings(t *testing.T) {
	t.Parallel()
	body := usersBody(oneUser, lastPage)
	b := newBench(t, func(int, question) reply {
		return reply{body: body[:len(body)-1] + `,"extensions":{"warnings":["key sk_live_` + strings.Repeat("5f1c9e", 5) + ` of ` + canaryAddress + ` expires"]}}`}
	})
	page, err := b.Users(t.Context(), "")
	if err != nil || len(page.Warnings) == 0 {
		t.Fatalf("%v, warnings %q", err, page.Warnings)
	}
	for _, w := range page.Warnings {
		checkSilent(t, "a warning", w)
	}
}
