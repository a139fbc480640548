package events

import "time"

// DeprovisionRequested asks for one person's licence back. Email or PsUserID is required.
type DeprovisionRequested struct {
	// Connection is optional; when present it must be the subject's.
	Connection string `json:"connection,omitempty"`
	Email      string `json:"email,omitempty"`
	PsUserID   string `json:"psUserId,omitempty"`
	EmployeeID string `json:"employeeId,omitempty"`
	FirstName  string `json:"firstName,omitempty"`
	LastName   string `json:"lastName,omitempty"`
	Reason     string `json:"reason,omitempty"`
	// EffectiveAt in the future defers the request.
	EffectiveAt *time.Time `json:"effectiveAt,omitempty"`
	// RetainPrivileges overrides the connection's setting when present.
	RetainPrivileges *bool `json:"retainPrivileges,omitempty"`
}

// DeprovisionCancelled withdraws a request that is not submitted yet. Source and ID name the request.
type DeprovisionCancelled struct {
	Connection string `json:"connection,omitempty"`
	Source     string `json:"source"`
	ID         string `json:"id"`
	Reason     string `json:"reason,omitempty"`
}

// DeprovisionProgressed tells of each state change of a request.
type DeprovisionProgressed struct {
	RequestSource string    `json:"requestSource"`
	RequestID     string    `json:"requestId"`
	State         string    `json:"state"`
	BatchID       string    `json:"batchId"`
	At            time.Time `json:"at"`
}

// DeprovisionSettled is the one answer to a request.
type DeprovisionSettled struct {
	RequestSource string   `json:"requestSource"`
	RequestID     string   `json:"requestId"`
	Email         string   `json:"email"`
	PsUserID      string   `json:"psUserId"`
	Outcome       string   `json:"outcome"`
	Reason        string   `json:"reason"`
	BatchID       string   `json:"batchId"`
	DryRun        bool     `json:"dryRun"`
	Evidence      Evidence `json:"evidence"`
}

// Evidence is what Pluralsight said when we read the person back. ReadAt is nil when nothing was read.
type Evidence struct {
	IsOnAccount *bool      `json:"isOnAccount"`
	RemovedOn   *time.Time `json:"removedOn"`
	ReadAt      *time.Time `json:"readAt"`
}
