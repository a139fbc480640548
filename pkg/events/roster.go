package events

// SyncRequested asks for a sweep of one connection.
type SyncRequested struct {
	// Connection is optional; when present it must be the subject's.
	Connection string `json:"connection,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// Outcomes of a sync request.
const (
	OutcomePublished = "published"
	OutcomeUnchanged = "unchanged"
	OutcomeHeld      = "held"
	OutcomeFailed    = "failed"
)

// RosterPublished answers one sync request, whatever became of it. A second one follows only when a hold is decided.
type RosterPublished struct {
	SweepID string `json:"sweepId"`
	// RequestID is the CloudEvents id of the sync request that this answers.
	RequestID string     `json:"requestId"`
	Outcome   string     `json:"outcome"`
	Reason    string     `json:"reason"`
	Counts    Counts     `json:"counts"`
	Plan      PlanCounts `json:"plan"`
}

// Counts are people. Fetched = Active + Removed + Excluded + Rejected; Added, Changed and Deleted are what Productiv was told.
type Counts struct {
	// Fetched is distinct psUserIds in users.
	Fetched int `json:"fetched"`
	// Active is what Productiv's list should hold.
	Active int `json:"active"`
	// Removed are not on the account.
	Removed int `json:"removed"`
	// Excluded by the include setting.
	Excluded int `json:"excluded"`
	// Admins is distinct plan admins, whether they are among users or not.
	Admins int `json:"admins"`
	// Rejected have no usable e-mail, or share one.
	Rejected int `json:"rejected"`
	Added    int `json:"added"`
	Changed  int `json:"changed"`
	Deleted  int `json:"deleted"`
}

// PlanCounts are sums over the plan's products, 0 when unknown.
type PlanCounts struct {
	Licenses int `json:"licenses"`
	Assigned int `json:"assigned"`
}
