package roster

import (
	"time"

	"github.com/seatwire/seatwire/pkg/events"
)

// States of a publication, as operators see them.
const (
	StateHeld      = "held"
	StateReleased  = "released"
	StateDeclined  = "declined"
	StatePublished = events.OutcomePublished
	StateUnchanged = events.OutcomeUnchanged
	StateFailed    = events.OutcomeFailed
)

// Publication is what a connection's publishing lane remembers between two deliveries. It is written under
// compare-and-set by whoever holds the lane, before every call that writes at Productiv.
type Publication struct {
	// Stalls counts starts of the sweep in hand since the last progress.
	Stalls int    `json:"stalls"`
	Hand   string `json:"hand"`
	// Plan is the sealed plan in hand, nil when there is none. PlanNo numbers the connection's plans, for ever.
	Plan   *Plan `json:"plan,omitempty"`
	PlanNo int   `json:"planNo"`
	// Told are the counts of what was planned for the sweep in hand, over all its plans.
	Told events.Counts `json:"told"`
	// Owned names the ledger of whom we published.
	Owned Owned `json:"owned"`
	// Published is the last list that was brought to Productiv whole, nil before the first.
	Published *Published `json:"published,omitempty"`
	// Removals of the last 24 hours, oldest first.
	Removals []Removal `json:"removals,omitempty"`
	// Kept are the sweeps whose pages are still stored.
	Kept []string `json:"kept,omitempty"`
	// History is one record per sweep, newest last.
	History []Record `json:"history,omitempty"`
}

// MaxHistory bounds the records kept of a connection.
const MaxHistory = 100

// Plan is a sealed publication: chunk bodies in the Plans stream, first the additions, then the removals.
type Plan struct {
	SweepID string `json:"sweepId"`
	No      int    `json:"no"`
	Posts   int    `json:"posts"`
	Deletes int    `json:"deletes"`
	// Next is the first chunk that is not known to be done. It is written before the chunk is sent.
	Next   int           `json:"next"`
	Sealed time.Time     `json:"sealed"`
	Counts events.Counts `json:"counts"`
	// Removals is how many people the plan removes, which is what the guards count: somebody who goes on under
	// another id is not removed.
	Removals int `json:"removals"`
	// Remembered is how many chunks are in the guards' memory of removals.
	Remembered int `json:"remembered"`
}

// Owned names a generation of the ownership ledger in the Owned stream.
type Owned struct {
	Generation int `json:"generation"`
	// Attempts numbers generations that were begun, so that one a crash left half written is never written into.
	Attempts int `json:"attempts"`
	People   int `json:"people"`
	// Counted is the last sweep whose absences are in the ledger.
	Counted string `json:"counted"`
}

// Owner is one entry of the ownership ledger: somebody that we published, or adopted, and may therefore delete.
type Owner struct {
	AppUserID string `json:"i"`
	Email     string `json:"e"`
	// Misses counts the sound sweeps in a row that gave no evidence of this person, neither for nor against.
	Misses int `json:"m,omitempty"`
}

// OwnedPart is one message of the ledger.
type OwnedPart struct {
	People []Owner `json:"people"`
}

// Published describes the list that Productiv was last brought to.
type Published struct {
	SweepID     string    `json:"sweepId"`
	At          time.Time `json:"at"`
	People      int       `json:"people"`
	Fingerprint string    `json:"fingerprint"`
}

// Removal is people taken from a list of a given size by one publication, or by a part of one that was interrupted.
type Removal struct {
	SweepID string `json:"sweepId,omitempty"`

	At     time.Time `json:"at"`
	People int       `json:"people"`
	Of     int       `json:"of"`
}

// Record is what became of one sweep at Productiv.
type Record struct {
	SweepID string `json:"sweepId"`
	// Through is the last request that the sweep answers: of two sweeps, the one that reaches further is the newer.
	Through uint64            `json:"through,omitempty"`
	State   string            `json:"state"`
	Reason  string            `json:"reason"`
	Counts  events.Counts     `json:"counts"`
	Plan    events.PlanCounts `json:"plan"`
	At      time.Time         `json:"at"`
	// By is who decided a hold.
	By string `json:"by,omitempty"`
	// Holds counts how often the sweep was held; a decision names the hold that it is about.
	Holds int `json:"holds,omitempty"`
	// HeldPlan is the plan that was held, for a release to compare with.
	HeldPlan *Plan `json:"heldPlan,omitempty"`
	// Answered says that the outcome event of this state is out.
	Answered bool `json:"answered"`
}

// Decision is a person's word about a hold.
type Decision struct {
	Release bool      `json:"release"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// PublicationKey is the state key of a connection's publications.
func PublicationKey(connection string) string { return "publication." + connection }

// Record returns the record of a sweep, nil when there is none.
func (p *Publication) Record(sweepID string) *Record {
	for i := range p.History {
		if p.History[i].SweepID == sweepID {
			return &p.History[i]
		}
	}
	return nil
}

// Held returns the record that waits for a person, nil when none does.
func (p *Publication) Held() *Record {
	for i := range p.History {
		if p.History[i].State == StateHeld {
			return &p.History[i]
		}
	}
	return nil
}
