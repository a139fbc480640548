package pluralsightsim

import (
	"errors"
	"slices"
	"time"
)

// Flag is a nullable boolean whose zero value is Yes, so that a Person literal without it is on the account.
type Flag int8

// The three values of a nullable boolean.
const (
	Yes Flag = iota
	No
	Null
)

// MarshalJSON writes true, false or null.
func (f Flag) MarshalJSON() ([]byte, error) { return []byte(f.literal()), nil }

func (f Flag) literal() string {
	switch f {
	case Yes:
		return "true"
	case No:
		return "false"
	default:
		return "null"
	}
}

// UnmarshalJSON reads true, false or null.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "true":
		*f = Yes
	case "false":
		*f = No
	case "null":
		*f = Null
	default:
		return errors.New("want true, false or null")
	}
	return nil
}

// Person is the truth about one user of a plan. An empty string, a nil list and a zero time are null on the wire.
type Person struct {
	PsUserID         string   `json:"psUserId"`
	PlanUserID       string   `json:"planUserId,omitempty"`
	LegacyID         string   `json:"legacyId,omitempty"` // User.id and PlanAdmin.userId, served only by Switches.GraphQL.LegacyIDs
	Email            string   `json:"email,omitempty"`
	AdditionalEmails []string `json:"additionalEmails,omitempty"`
	FirstName        string   `json:"firstName,omitempty"`
	LastName         string   `json:"lastName,omitempty"`
	Note             string   `json:"note,omitempty"`

	CurrentSsoIdentifier string   `json:"currentSsoIdentifier,omitempty"`
	SsoIdentifiers       []string `json:"ssoIdentifiers,omitempty"`
	SsoEnabled           bool     `json:"ssoEnabled,omitempty"`
	MfaEnabled           bool     `json:"mfaEnabled,omitempty"`

	StartedOn time.Time `json:"startedOn,omitzero"`
	CreatedOn time.Time `json:"createdOn,omitzero"`
	RemovedOn time.Time `json:"removedOn,omitzero"`
	LastLogin time.Time `json:"lastLogin,omitzero"`

	IsOnAccount Flag     `json:"isOnAccount"`
	ProductIDs  []string `json:"productIds,omitempty"`
	Teams       []string `json:"teams,omitempty"` // ids of the teams the person sits in directly

	// Admin puts the person into planAdmins.
	Admin bool `json:"admin,omitempty"`
	// ManagerOf holds ids of teams; with Admin these are the privileges that /deprovision strips.
	ManagerOf []string `json:"managerOf,omitempty"`
	// NeverLicensed leaves the person out of users: by default admins and managers hold no licence.
	NeverLicensed bool `json:"neverLicensed,omitempty"`
}

// clone copies p with its lists, so that nobody outside can reach into the truth.
func (p *Person) clone() Person {
	c := *p
	c.AdditionalEmails = slices.Clone(p.AdditionalEmails)
	c.SsoIdentifiers = slices.Clone(p.SsoIdentifiers)
	c.ProductIDs = slices.Clone(p.ProductIDs)
	c.Teams = slices.Clone(p.Teams)
	c.ManagerOf = slices.Clone(p.ManagerOf)
	return c
}

// remove takes the person off the account. A removed person stays in the data with history; only an erased one goes.
func (p *Person) remove(r removal) {
	p.IsOnAccount = No
	p.RemovedOn = r.at
	if !r.keepProducts {
		p.ProductIDs = nil
	}
	if !r.licenceOnly {
		p.Teams = nil
	}
	if !r.retainPrivileges {
		p.Admin, p.ManagerOf = false, nil
	}
}

// removal says how much a removal takes: the vendor's documents disagree, so each reading is selectable.
type removal struct {
	at               time.Time
	licenceOnly      bool
	keepProducts     bool
	retainPrivileges bool
}

// readd is a re-hire: the same psUserId, a new startedOn.
func (p *Person) readd(now time.Time, products []string) {
	p.IsOnAccount = Yes
	p.StartedOn = now
	p.RemovedOn = time.Time{}
	p.ProductIDs = products
	p.NeverLicensed = false
}
