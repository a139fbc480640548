package normalizer

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/roster"
)

var update = flag.Bool("update", false, "write the golden pages anew")

// Each golden page is normalised under the rules that its name begins with.
var goldenRules = map[string]Rules{
	"plain":    {},
	"billable": {BillableOnly: true},
	"licenses": {Username: "sso", Licenses: []config.License{{Product: "skills-ent", Label: "Enterprise"}, {Product: "skills", Label: "Team"}}},
	"email":    {Username: "email"},
}

func TestNormalize_golden(t *testing.T) {
	t.Parallel()
	inputs, err := filepath.Glob("testdata/*.in.json")
	if err != nil || len(inputs) < len(goldenRules) {
		t.Fatalf("%d inputs, %v", len(inputs), err)
	}
	for _, in := range inputs {
		name := strings.TrimSuffix(filepath.Base(in), ".in.json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			family, _, _ := strings.Cut(name, "-")
			rules, known := goldenRules[family]
			if !known {
				t.Fatalf("no rules for %s", family)
			}
			got := normalizeFile(t, in, rules)
			want := strings.TrimSuffix(in, ".in.json") + ".want.json"
			if *update {
				if err := os.WriteFile(want, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(text), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", want, diff)
			}
		})
	}
}

func normalizeFile(t *testing.T, path string, rules Rules) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var page roster.FetchedPage
	if err := json.Unmarshal(body, &page); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(Normalize(page, "hash-of-the-fetched-page", rules), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func TestNormalize_dispositions(t *testing.T) {
	t.Parallel()
	removed := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	type user = roster.FetchedUser
	tests := map[string]struct {
		user        user
		rules       Rules
		disposition string
		reason      string
	}{
		"on the account":                         {user{Email: "a@x", OnAccount: new(true)}, Rules{}, roster.Active, ""},
		"back after a removal":                   {user{Email: "a@x", OnAccount: new(true), RemovedOn: removed}, Rules{}, roster.Active, ""},
		"not on the account":                     {user{Email: "a@x", OnAccount: new(false)}, Rules{}, roster.Removed, ""},
		"not on the account, no address":         {user{OnAccount: new(false)}, Rules{}, roster.Removed, ""},
		"not on the account, not billable":       {user{OnAccount: new(false)}, Rules{BillableOnly: true}, roster.Removed, ""},
		"state unknown, removal dated":           {user{Email: "a@x", RemovedOn: removed}, Rules{}, roster.Removed, ""},
		"state unknown":                          {user{Email: "a@x"}, Rules{}, roster.Rejected, reasonUnknownState},
		"state unknown, with products":           {user{Email: "a@x", Products: []string{"p"}}, Rules{BillableOnly: true}, roster.Rejected, reasonUnknownState},
		"no address":                             {user{OnAccount: new(true)}, Rules{}, roster.Rejected, reasonNoEmail},
		"no usable address":                      {user{Email: "ada at x", OnAccount: new(true)}, Rules{}, roster.Rejected, reasonNoEmail},
		"no product, all wanted":                 {user{Email: "a@x", OnAccount: new(true)}, Rules{}, roster.Active, ""},
		"no product, billable wanted":            {user{Email: "a@x", OnAccount: new(true)}, Rules{BillableOnly: true}, roster.Excluded, reasonNotBillable},
		"a product, billable wanted":             {user{Email: "a@x", OnAccount: new(true), Products: []string{"p"}}, Rules{BillableOnly: true}, roster.Active, ""},
		"no product and no address":              {user{OnAccount: new(true)}, Rules{BillableOnly: true}, roster.Excluded, reasonNotBillable},
		"a product, no address, billable wanted": {user{OnAccount: new(true), Products: []string{"p"}}, Rules{BillableOnly: true}, roster.Rejected, reasonNoEmail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			page := Normalize(roster.FetchedPage{Kind: roster.Users, Users: []user{tt.user}}, "", tt.rules)
			if p := page.People[0]; p.Disposition != tt.disposition || p.Reason != tt.reason {
				t.Errorf("%s %q, want %s %q", p.Disposition, p.Reason, tt.disposition, tt.reason)
			}
		})
	}
}

func TestNormalize_usernameAndLicense(t *testing.T) {
	t.Parallel()
	rules := []config.License{{Product: "ent", Label: "Enterprise"}, {Product: "pro", Label: "Professional"}, {Product: "ent", Label: "Never"}}
	tests := map[string]struct {
		user     roster.FetchedUser
		rules    Rules
		username string
		license  string
	}{
		"neither by default":          {roster.FetchedUser{SSOID: "s", Products: []string{"ent"}}, Rules{}, "", ""},
		"none":                        {roster.FetchedUser{SSOID: "s"}, Rules{Username: "none"}, "", ""},
		"sso":                         {roster.FetchedUser{SSOID: "S-1"}, Rules{Username: "sso"}, "S-1", ""},
		"sso that is not known":       {roster.FetchedUser{Email: "a@x"}, Rules{Username: "sso"}, "", ""},
		"email":                       {roster.FetchedUser{Email: " Ada@X "}, Rules{Username: "email"}, "ada@x", ""},
		"the first rule wins":         {roster.FetchedUser{Products: []string{"pro", "ent"}}, Rules{Licenses: rules}, "", "Enterprise"},
		"a later rule":                {roster.FetchedUser{Products: []string{"other", "pro"}}, Rules{Licenses: rules}, "", "Professional"},
		"a product without a rule":    {roster.FetchedUser{Products: []string{"other"}}, Rules{Licenses: rules}, "", ""},
		"case of product ids matters": {roster.FetchedUser{Products: []string{"ENT"}}, Rules{Licenses: rules}, "", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := Normalize(roster.FetchedPage{Kind: roster.Users, Users: []roster.FetchedUser{tt.user}}, "", tt.rules).People[0]
			if p.Username != tt.username || p.License != tt.license {
				t.Errorf("%q, %q; want %q, %q", p.Username, p.License, tt.username, tt.license)
			}
		})
	}
}

// Admins are listed, never published: nobody decides about them.
func TestNormalize_adminsHaveNoDisposition(t *testing.T) {
	t.Parallel()
	user := roster.FetchedUser{PsUserID: "a", Email: "A@x", SSOID: "s", OnAccount: new(true), Products: []string{"p"}}
	p := Normalize(roster.FetchedPage{Kind: roster.Admins, Users: []roster.FetchedUser{user}}, "",
		Rules{Username: "sso", Licenses: []config.License{{Product: "p", Label: "l"}}}).People[0]
	if p.Disposition != "" || p.Username != "" || p.License != "" || p.Email != "a@x" {
		t.Errorf("%+v", p)
	}
}

var users = rapid.Custom(func(t *rapid.T) roster.FetchedUser {
	u := roster.FetchedUser{
		PsUserID: rapid.String().Draw(t, "id"),
		Email:    rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", " A@x", "b@y", "c", "d@e@f"})).Draw(t, "email"),
		SSOID:    rapid.String().Draw(t, "sso"),
		Products: rapid.SliceOfN(rapid.SampledFrom([]string{"p", "q"}), 0, 2).Draw(t, "products"),
	}
	switch rapid.IntRange(0, 2).Draw(t, "state") {
	case 1:
		u.OnAccount = new(true)
	case 2:
		u.OnAccount = new(false)
	}
	if rapid.Bool().Draw(t, "dated") {
		u.RemovedOn = time.Unix(1, 0)
	}
	return u
})

// Whatever comes in, everybody comes out, once and in place, with a disposition, and only with a usable address if
// they are to be published. The same page gives the same bytes, whoever normalises it.
func TestNormalize_neverLosesOrInventsAPerson(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		page := roster.FetchedPage{
			Kind:  rapid.SampledFrom([]string{roster.Users, roster.Admins}).Draw(t, "kind"),
			Users: rapid.SliceOfN(users, 0, 20).Draw(t, "users"),
		}
		rules := Rules{
			BillableOnly: rapid.Bool().Draw(t, "billable"), Username: rapid.SampledFrom([]string{"none", "sso", "email"}).Draw(t, "username"),
			Licenses: []config.License{{Product: "p", Label: "P"}},
		}
		out := Normalize(page, "source", rules)
		if out.Kind != page.Kind || out.Source != "source" || out.Rule != roster.EmailRule || len(out.People) != len(page.Users) {
			t.Fatalf("%d people of %d", len(out.People), len(page.Users))
		}
		for i, p := range out.People {
			if p.PsUserID != page.Users[i].PsUserID {
				t.Fatalf("person %d is another", i)
			}
			email, usable := roster.CanonicalEmail(page.Users[i].Email)
			if p.Email != email {
				t.Fatalf("address %q became %q", page.Users[i].Email, p.Email)
			}
			switch p.Disposition {
			case roster.Active:
				if !usable || page.Kind != roster.Users {
					t.Fatal("active without a usable address")
				}
			case roster.Removed, roster.Excluded, roster.Rejected:
			default:
				if page.Kind == roster.Users {
					t.Fatalf("disposition %q", p.Disposition)
				}
			}
		}
		first, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		second, err := json.Marshal(Normalize(page, "source", rules))
		if err != nil || string(first) != string(second) {
			t.Fatal("another result the second time")
		}
	})
}

func TestRulesOf(t *testing.T) {
	t.Parallel()
	c := config.DefaultConnection("acme")
	if diff := cmp.Diff(Rules{}, RulesOf(c)); diff != "" {
		t.Errorf("a connection that does not publish: %s", diff)
	}
	p := config.DefaultProductiv("app")
	p.Include, p.Username, p.Licenses = "billable", "sso", []config.License{{Product: "p", Label: "l"}}
	c.Productiv = &p
	if diff := cmp.Diff(Rules{BillableOnly: true, Username: "sso", Licenses: p.Licenses}, RulesOf(c)); diff != "" {
		t.Error(diff)
	}
}
