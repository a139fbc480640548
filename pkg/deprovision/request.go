package deprovision

import (
	"time"

	"github.com/seatwire/seatwire/pkg/events"
)

// States of a request, as the contract names them. Settled is the end; its Outcome says which.
const (
	Accepted      = "accepted"
	Deferred      = "deferred"
	Batched       = "batched"
	Held          = "held"
	Approved      = "approved"
	Submitted     = "submitted"
	Verifying     = "verifying"
	CancelTooLate = "cancel-too-late"
	Settled       = "settled"
)

// Outcomes of a settled request.
const (
	OutcomeRemoved        = "removed"
	OutcomeAlreadyRemoved = "already-removed"
	OutcomeDryRun         = "dry-run"
	OutcomeRejected       = "rejected"
	OutcomeCancelled      = "cancelled"
	OutcomeDeclined       = "declined"
	OutcomeFailed         = "failed"
	OutcomeUnverified     = "unverified"
)

// Reasons of OutcomeRejected.
const (
	ReasonInvalid          = "invalid"
	ReasonUnknownUser      = "unknown-user"
	ReasonAmbiguousUser    = "ambiguous-user"
	ReasonProtected        = "protected"
	ReasonAdmin            = "admin"
	ReasonStale            = "stale"
	ReasonWrongConnection  = "wrong-connection"
	ReasonVendorValidation = "vendor-validation"
)

// Change is one step of a request or a batch, kept with it: explain tells the story from these.
type Change struct {
	At      time.Time `json:"at"`
	State   string    `json:"state"`
	BatchID string    `json:"batchId,omitempty"`
	// Note is the outcome, the reason of a hold, who decided, what the vendor answered. Never an address.
	Note string `json:"note,omitempty"`
}

// Request is one event that asked for a licence back, and all that became of it.
type Request struct {
	Connection string `json:"connection"`
	// Key is the identity as a token: a hash of publisher, source and id.
	Key string `json:"key"`
	// Publisher is the source token of the subject, fixed by the publisher's permission.
	Publisher string `json:"publisher"`
	Source    string `json:"source"`
	ID        string `json:"id"`
	// Content is a hash of what the event says: the same identity with another one is refused.
	Content string `json:"content"`
	// Time is the event's own time, when its sender knew.
	Time       time.Time  `json:"time"`
	AcceptedAt time.Time  `json:"acceptedAt"`
	Email      string     `json:"email,omitempty"`
	PsUserID   string     `json:"psUserId,omitempty"`
	FirstName  string     `json:"firstName,omitempty"`
	LastName   string     `json:"lastName,omitempty"`
	Reason     string     `json:"reason,omitempty"`
	Effective  *time.Time `json:"effectiveAt,omitempty"`
	Retain     bool       `json:"retainPrivileges"`

	State   string `json:"state"`
	BatchID string `json:"batchId,omitempty"`
	// Person is the psUserId that the plan gave for this request; empty until it was looked up.
	Person string `json:"person,omitempty"`
	// Attempts is how many submissions that may have been processed left the person on the account.
	Attempts int `json:"attempts,omitempty"`
	// Rounds is how many batches this request was sealed into and taken out of again.
	Rounds int `json:"rounds,omitempty"`

	Outcome       string          `json:"outcome,omitempty"`
	OutcomeReason string          `json:"outcomeReason,omitempty"`
	Evidence      events.Evidence `json:"evidence"`

	At      time.Time `json:"at"`
	History []Change  `json:"history,omitempty"`
	// Told is how many entries of History were surely told to the world when this was written.
	Told int `json:"told"`
}

// Open reports whether the request still waits for its outcome.
func (r Request) Open() bool { return r.State != Settled }

// States of a cancel.
const (
	CancelWaiting = "waiting"
	CancelApplied = "applied"
	CancelLate    = "too-late"
	CancelExpired = "expired"
)

// Cancel withdraws the request that Target names. One that comes before its request waits for it.
type Cancel struct {
	Connection string `json:"connection"`
	// Key is the identity of the cancel event itself.
	Key       string `json:"key"`
	Publisher string `json:"publisher"`
	Content   string `json:"content"`
	// Target is the key of the request; TargetSource and TargetID are its CloudEvents source and id.
	Target       string    `json:"target"`
	TargetSource string    `json:"targetSource"`
	TargetID     string    `json:"targetId"`
	Reason       string    `json:"reason,omitempty"`
	AcceptedAt   time.Time `json:"acceptedAt"`
	State        string    `json:"state"`
	At           time.Time `json:"at"`
}
