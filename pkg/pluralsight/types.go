package pluralsight

import "time"

// Plan is what is known about the plan's licences. It is informative: the whole of it may be missing, and Warnings
// then say so.
type Plan struct {
	PlanID   string
	Name     string
	Products []Product
	Warnings []string
}

// Product is one kind of licence. Its counters are Pluralsight's own, pending invitations possibly included; nil is
// unknown.
type Product struct {
	ID        string
	Name      string
	Purchased *int
	Assigned  *int
	Remaining *int
}

// User is somebody who holds a licence on the plan, or once held one. A zero time and a nil bool mean null: not known,
// or never.
type User struct {
	// PsUserID is the only key; it is never empty.
	PsUserID string
	// Email is the primary address as Pluralsight spells it; it may be empty.
	Email            string
	AdditionalEmails []string
	FirstName        string
	LastName         string
	// CurrentSSOIdentifier may be empty, and nothing promises that it is unique.
	CurrentSSOIdentifier string
	// StartedOn is when the licence was assigned.
	StartedOn time.Time
	// CreatedOn is when the account was made.
	CreatedOn time.Time
	// RemovedOn is when the person left the plan.
	RemovedOn time.Time
	// LastLogin is the last authentication, not the last activity: a resumed session does not move it.
	LastLogin  time.Time
	OnAccount  *bool
	SSOEnabled *bool
	MFAEnabled *bool
	ProductIDs []string
	// ProductsKnown is false when productIds could not be asked for; an empty ProductIDs then says nothing.
	ProductsKnown bool
	// Teams is informative. It is empty, too, when teams could not be asked for.
	Teams []Team
}

// Team is a team that somebody belongs to.
type Team struct {
	ID   string
	Name string
	// Direct is false for the teams above the one that the person sits in.
	Direct bool
}

// Admin is somebody with permission to edit the plan, with a licence or without.
type Admin struct {
	PsUserID             string
	Email                string
	FirstName            string
	LastName             string
	CurrentSSOIdentifier string
}

// UserPage is one whole page of users.
type UserPage struct {
	Users []User
	Page
}

// AdminPage is one whole page of plan admins.
type AdminPage struct {
	Admins []Admin
	Page
}

// Page is what every page carries beside its people.
type Page struct {
	// Asked is how many people the page was asked for. It is less than the configured size after an answer that was
	// refused as too large.
	Asked int
	// TotalCount is Pluralsight's count over all pages, as of this one.
	TotalCount int
	HasNext    bool
	// EndCursor is not empty when HasNext is set.
	EndCursor string
	// Warnings each begin with one of the Warn tokens, a colon and a blank. They hold no addresses.
	Warnings []string
}

// What a warning begins with.
const (
	// WarnPageReduced: Pluralsight says that it returns fewer people per page than asked for.
	WarnPageReduced = "page-reduced"
	// WarnPageShort: a page that is not the last is shorter than asked for, and nothing in the answer says why.
	WarnPageShort = "page-short"
	// WarnKeyExpired: the API key has expired. It works until Pluralsight deletes it.
	WarnKeyExpired = "key-expired"
	// WarnDeprecated: something that we ask for is going away.
	WarnDeprecated = "deprecated"
	// WarnDegraded: an optional field could not be asked for.
	WarnDegraded = "degraded"
	// WarnOddDate: dates that could not be read count as null.
	WarnOddDate = "odd-date"
	// WarnNoPlan: the plan's own data could not be had.
	WarnNoPlan = "no-plan"
	// WarnVendor: Pluralsight warns of something else.
	WarnVendor = "vendor-warning"
)
