package deprovision

import (
	"time"

	"github.com/seatwire/seatwire/pkg/events"
)

// BatchState is where a batch is in its protocol; see the deprovisioner's batch.go for the protocol itself.
type BatchState string

// States of a batch.
const (
	BatchSealed    BatchState = "sealed"
	BatchDryRun    BatchState = "dry-run"
	BatchHeld      BatchState = "held"
	BatchApproved  BatchState = "approved"
	BatchSending   BatchState = "sending"
	BatchUnknown   BatchState = "unknown"
	BatchAnswered  BatchState = "answered"
	BatchVerifying BatchState = "verifying"
	BatchSettled   BatchState = "settled"
	BatchDeclined  BatchState = "declined"
	// BatchDissolved ended without being sent: its people or requests changed, and what is left was sealed anew.
	BatchDissolved BatchState = "dissolved"
)

// Public is the state under its name in the contract.
func (s BatchState) Public() string {
	switch s {
	case BatchSealed, BatchDryRun:
		return "sealed"
	case BatchSending, BatchUnknown, BatchAnswered:
		return "submitted"
	case BatchSettled, BatchDissolved:
		return "done"
	default:
		return string(s)
	}
}

// Open reports whether anything can still happen to the batch.
func (s BatchState) Open() bool {
	return s != BatchSettled && s != BatchDeclined && s != BatchDissolved
}

// Row is one person of a batch.
type Row struct {
	PsUserID string `json:"psUserId"`
	// ID is the first column of the CSV: the SSO identifier when it is known and unique, else the psUserId.
	ID        string `json:"id"`
	Email     string `json:"email"`
	FirstName string `json:"firstName"`
	LastName  string `json:"lastName"`
	// Requests are the keys of the requests that the row was sealed for. Those that joined later name the batch themselves.
	Requests []string `json:"requests"`
	// Outcome is empty until the row is proved, refused or out of time.
	Outcome  string          `json:"outcome,omitempty"`
	Evidence events.Evidence `json:"evidence"`
	// Absent is how many read-backs in a row did not know the person at all.
	Absent int `json:"absent,omitempty"`
}

// Answer is what Pluralsight said to a file.
type Answer struct {
	At   time.Time `json:"at"`
	HTTP int       `json:"http,omitempty"`
	// Status is our name for the documented status, or "other".
	Status string `json:"status,omitempty"`
	// Fault is the reason token when there was no answer, or one that is an error.
	Fault string `json:"fault,omitempty"`
	// Errored: Pluralsight answered, and the answer is an error. It does not say that nothing happened.
	Errored bool `json:"errored,omitempty"`
	// Final: nothing more will happen at Pluralsight because of this file.
	Final bool `json:"final,omitempty"`
}

// Approval lets one batch of exactly one content go.
type Approval struct {
	// By is who said so; Auto for the configuration itself.
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	SHA256 string    `json:"sha256"`
}

// Auto is the approver's name when a batch is inside every guard of apply: auto. No person decides under it.
const Auto = "auto"

// Batch is a sealed file and what became of it.
type Batch struct {
	Connection string `json:"connection"`
	ID         string `json:"batchId"`
	Retain     bool   `json:"retainPrivileges"`
	Strict     bool   `json:"strict"`
	Rows       []Row  `json:"rows"`
	// CSV is what was dry-run and what is sent: the same bytes.
	CSV    []byte     `json:"csv"`
	SHA256 string     `json:"sha256"`
	State  BatchState `json:"state"`
	// Reason of a hold, or of an end without sending.
	Reason string `json:"reason,omitempty"`
	// Burst says that the batch was held because it alone is too large; its people count against the day's limit.
	Burst bool `json:"burst,omitempty"`
	// Hold counts the holds; a decision names the one that it decides.
	Hold     int       `json:"hold,omitempty"`
	SealedAt time.Time `json:"sealedAt"`
	DryRun   *Answer   `json:"dryRun,omitempty"`
	Approval *Approval `json:"approval,omitempty"`
	// SubmittedAt is when the bytes may first have left us; zero until then.
	SubmittedAt time.Time `json:"submittedAt,omitzero"`
	Answer      *Answer   `json:"answer,omitempty"`
	// Reads is how many read-backs there were since the answer.
	Reads int `json:"reads,omitempty"`
	// Failures in a row of a call that is safe to repeat, and when they began.
	Failures     int       `json:"failures,omitempty"`
	FailingSince time.Time `json:"failingSince,omitzero"`
	// Due is when the next call for this batch may start.
	Due     time.Time `json:"due,omitzero"`
	At      time.Time `json:"at"`
	History []Change  `json:"history,omitempty"`
}

// Decision is a person's word about one hold of one batch. It is written once and used once.
type Decision struct {
	Connection string `json:"connection"`
	BatchID    string `json:"batchId"`
	Hold       int    `json:"hold"`
	Approve    bool   `json:"approve"`
	By         string `json:"by"`
	// SHA256 is the content that the person saw.
	SHA256 string    `json:"sha256"`
	At     time.Time `json:"at"`
}

// Spent is what apply: auto has used of its daily limit, newest last.
type Spent struct {
	Entries []SpentEntry `json:"entries"`
}

// SpentEntry is one submitted batch.
type SpentEntry struct {
	BatchID string    `json:"batchId"`
	At      time.Time `json:"at"`
	Users   int       `json:"users"`
}
