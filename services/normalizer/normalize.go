package normalizer

import (
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/roster"
)

// Rules are a connection's settings that decide what becomes of a person.
type Rules struct {
	// BillableOnly leaves out people without a product id.
	BillableOnly bool
	// Username is none, sso or email.
	Username string
	// Licenses map product ids to labels, first match wins.
	Licenses []config.License
}

// RulesOf reads the rules from a connection's configuration.
func RulesOf(c config.Connection) Rules {
	if c.Productiv == nil {
		return Rules{}
	}
	return Rules{
		BillableOnly: c.Productiv.Include == "billable",
		Username:     c.Productiv.Username,
		Licenses:     c.Productiv.Licenses,
	}
}

// Reasons for rejecting or excluding somebody.
const (
	reasonNoEmail      = "no-usable-email"
	reasonUnknownState = "account-state-unknown"
	reasonNotBillable  = "not-billable"
)

// Normalize maps a fetched page to a normalised one: pure, and the same for everybody. source is the hash of the
// fetched page.
func Normalize(page roster.FetchedPage, source string, rules Rules) roster.Page {
	out := roster.Page{Kind: page.Kind, Source: source, Rule: roster.EmailRule, People: make([]roster.Person, 0, len(page.Users))}
	for _, u := range page.Users {
		person := describe(u)
		if page.Kind == roster.Users {
			person.Disposition, person.Reason = dispose(u, rules)
			person.Username = username(u, rules)
			person.License = license(u.Products, rules.Licenses)
		}
		out.People = append(out.People, person)
	}
	return out
}

func describe(u roster.FetchedUser) roster.Person {
	email, _ := roster.CanonicalEmail(u.Email)
	return roster.Person{
		PsUserID: u.PsUserID, Email: email,
		Details: roster.Details{
			FirstName: u.FirstName, LastName: u.LastName, OnAccount: u.OnAccount, Billable: billable(u),
			Products: u.Products, Teams: u.Teams, SSO: u.SSO, MFA: u.MFA,
			LastLogin: u.LastLogin, RemovedOn: u.RemovedOn,
		},
	}
}

// dispose says what Productiv's list has to do with a user. Only a clear word from the vendor makes somebody removed:
// an unknown account state is a rejection, and a rejection removes nobody.
func dispose(u roster.FetchedUser, rules Rules) (disposition, reason string) {
	_, usable := roster.CanonicalEmail(u.Email)
	switch {
	case u.OnAccount == nil && !u.RemovedOn.IsZero(), u.OnAccount != nil && !*u.OnAccount:
		return roster.Removed, ""
	case u.OnAccount == nil:
		return roster.Rejected, reasonUnknownState
	case rules.BillableOnly && len(u.Products) == 0:
		return roster.Excluded, reasonNotBillable
	case !usable:
		return roster.Rejected, reasonNoEmail
	default:
		return roster.Active, ""
	}
}

// billable is on the account with at least one product; nil when the account state is unknown.
func billable(u roster.FetchedUser) *bool {
	if u.OnAccount == nil {
		return nil
	}
	return new(*u.OnAccount && len(u.Products) > 0)
}

func username(u roster.FetchedUser, rules Rules) string {
	switch rules.Username {
	case "sso":
		return u.SSOID
	case "email":
		email, _ := roster.CanonicalEmail(u.Email)
		return email
	default:
		return ""
	}
}

// license is the label of the first rule that matches one of the products. Products without a rule send nothing:
// raw ids would make up licence tiers at Productiv.
func license(products []string, rules []config.License) string {
	for _, rule := range rules {
		for _, product := range products {
			if product == rule.Product {
				return rule.Label
			}
		}
	}
	return ""
}
