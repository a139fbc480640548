// Package roster is what the services say to each other about a plan's people: pages as fetched, pages as
// normalised, and the manifest that makes pages a whole.
//
// Pages alone mean nothing. A sweep is what its manifest says: how many pages, in which spans, with which hash over
// all of them. Whoever acts on a roster asks Verify first, whether every page is there and is the one that the fetcher
// wrote.
//
// The wire structs only ever gain fields. The rule by which addresses are compared has a version of its own, see
// EmailRule.
package roster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	// MaxPageUsers and MaxPageBytes bound one page message; a larger vendor page is split.
	MaxPageUsers = 100
	MaxPageBytes = 256 << 10
)

// Kinds of pages.
const (
	Users  = "users"
	Admins = "admins"
)

// FetchedPage is a piece of a plan as Pluralsight gave it.
type FetchedPage struct {
	Kind  string        `json:"kind"`
	Users []FetchedUser `json:"users"`
}

// FetchedUser is one node of users or planAdmins. Zero times and nil pointers are nulls.
type FetchedUser struct {
	PsUserID  string    `json:"id"`
	Email     string    `json:"email,omitempty"`
	FirstName string    `json:"firstName,omitempty"`
	LastName  string    `json:"lastName,omitempty"`
	OnAccount *bool     `json:"onAccount,omitempty"`
	RemovedOn time.Time `json:"removedOn,omitzero"`
	LastLogin time.Time `json:"lastLogin,omitzero"`
	StartedOn time.Time `json:"startedOn,omitzero"`
	SSOID     string    `json:"ssoId,omitempty"`
	SSO       *bool     `json:"sso,omitempty"`
	MFA       *bool     `json:"mfa,omitempty"`
	Products  []string  `json:"products,omitempty"`
	Teams     []string  `json:"teams,omitempty"`
}

// Page is a normalised page. Source is the hash of the fetched page that it was made from.
type Page struct {
	Kind   string `json:"kind"`
	Source string `json:"source"`
	Rule   int    `json:"rule"`
	// Index is written from People and stands before them.
	Index  Index    `json:"index"`
	People []Person `json:"people"`
}

// Dispositions of a person: what Productiv's list has to do with them.
const (
	// Active people belong on Productiv's list.
	Active = "active"
	// Removed people are not on the account: positive evidence that they do not belong there.
	Removed = "removed"
	// Excluded people are on the account, but the include setting leaves them out.
	Excluded = "excluded"
	// Rejected people cannot be published; see Person.Reason. They are no evidence for anything.
	Rejected = "rejected"
	// None is an admin who was never licensed: only in listings.
	None = "none"
)

// Person is one normalised user or admin.
type Person struct {
	PsUserID string `json:"id"`
	// Email is trimmed and lower-cased: what is published.
	Email       string `json:"email,omitempty"`
	Disposition string `json:"disp"`
	// Reason says why a person was rejected or excluded.
	Reason string `json:"reason,omitempty"`
	// Username and License are what is sent to Productiv, "" for left out.
	Username string `json:"username,omitempty"`
	License  string `json:"license,omitempty"`

	Details
}

// Details are for people to read; the publisher does not need them.
type Details struct {
	FirstName string    `json:"firstName,omitempty"`
	LastName  string    `json:"lastName,omitempty"`
	OnAccount *bool     `json:"onAccount,omitempty"`
	Billable  *bool     `json:"billable,omitempty"`
	Products  []string  `json:"products,omitempty"`
	Teams     []string  `json:"teams,omitempty"`
	SSO       *bool     `json:"sso,omitempty"`
	MFA       *bool     `json:"mfa,omitempty"`
	LastLogin time.Time `json:"lastLogin,omitzero"`
	RemovedOn time.Time `json:"removedOn,omitzero"`
}

// Span is a run of pages that one uninterrupted fetch wrote. After a crash the fetch goes on from its checkpoint
// under the next generation, so that pages which it wrote but had not recorded are never mixed in.
type Span struct {
	Generation int `json:"generation"`
	// From and To are page numbers, both included, from 1.
	From int `json:"from"`
	To   int `json:"to"`
}

// PageToken is the last token of a page's subject: its number and its generation.
func PageToken(number, generation int) string { return fmt.Sprintf("%07d-%d", number, generation) }

// ParsePageToken undoes PageToken, and takes nothing else: a page has one subject, or it could be counted twice. Numbers
// and generations count from 1: 0 is what a manifest says of a page that it does not have, so a page of generation 0 would
// pass for one that it has.
func ParsePageToken(token string) (number, generation int, ok bool) {
	n, g, _ := strings.Cut(token, "-")
	number, _ = strconv.Atoi(n) // what is no number makes another token
	generation, _ = strconv.Atoi(g)
	return number, generation, number > 0 && generation > 0 && token == PageToken(number, generation)
}

// Manifest ends a sweep. Nothing acts on pages without it. When Failure is set there is no roster, only an answer.
type Manifest struct {
	Connection string `json:"connection"`
	SweepID    string `json:"sweepId"`
	// Failure is the reason token why there is no sound roster, "" when there is one. Detail says what to do.
	Failure string `json:"failure,omitempty"`
	Detail  string `json:"detail,omitempty"`
	// Spans cover pages 1..Pages without gap or overlap.
	Spans []Span `json:"spans,omitempty"`
	Pages int    `json:"pages"`
	// Root chains the hashes of all pages in order.
	Root string `json:"root,omitempty"`
	// Nodes is how many users the pages hold, repeats included; Total is what the vendor counted, the same at the
	// first and the last page.
	Nodes    int      `json:"nodes"`
	Total    int      `json:"total"`
	Licenses int      `json:"licenses"`
	Assigned int      `json:"assigned"`
	Warnings []string `json:"warnings,omitempty"`
	// After and Through bound the accepted requests that this sweep answers: sequences in the Sweeps stream, (After, Through].
	After    uint64    `json:"after"`
	Through  uint64    `json:"through"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
}

// Sound reports whether there is a roster behind the manifest.
func (m Manifest) Sound() bool { return m.Failure == "" }

// Generation returns the generation that page number belongs to, 0 when the manifest has no such page.
func (m Manifest) Generation(number int) int {
	for _, s := range m.Spans {
		if s.From <= number && number <= s.To {
			return s.Generation
		}
	}
	return 0
}

// Hash is the content hash of one page's bytes.
func Hash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// Chain extends a root by the next page's hash. The root before the first page is "".
func Chain(root, pageHash string) string { return Hash([]byte(root + pageHash)) }
