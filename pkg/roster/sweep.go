package roster

import "time"

// Sweep is what a connection's lane remembers between two deliveries: the sweep in hand and the last ones done. It is
// written under compare-and-set by whoever holds the lane, and read by anybody.
type Sweep struct {
	// SweepID, After, Through and Started belong to the sweep in hand, or to the last one when Running is false.
	SweepID string    `json:"sweepId"`
	Running bool      `json:"running"`
	After   uint64    `json:"after"`
	Through uint64    `json:"through"`
	Started time.Time `json:"started,omitzero"`
	// Stalls counts starts since the last progress: what a crash leaves behind when the sweep itself kills the process.
	Stalls     int        `json:"stalls"`
	Checkpoint Checkpoint `json:"checkpoint"`
	// Last is the last finished sweep, sound or not; Sound is the last one with a roster.
	Last  *Manifest `json:"last,omitempty"`
	Sound *Manifest `json:"sound,omitempty"`
}

// Whole is the stage of a sweep whose lists are all read and stored; only its manifest is still to come.
const Whole = "whole"

// Checkpoint is how far a sweep's pages are safely stored. A resumed sweep asks for what follows After.
type Checkpoint struct {
	// Stage is the list being read: "", Admins or Users; or Whole.
	Stage string `json:"stage"`
	// After is the cursor to go on from, "" at the start of a stage.
	After string `json:"after"`
	Spans []Span `json:"spans,omitempty"`
	Pages int    `json:"pages"`
	Root  string `json:"root"`
	// Nodes, Total and FirstID are what the checks of the stage need.
	Nodes    int      `json:"nodes"`
	Total    int      `json:"total"`
	FirstID  string   `json:"firstId"`
	Licenses int      `json:"licenses"`
	Assigned int      `json:"assigned"`
	Warnings []string `json:"warnings,omitempty"`
}

// SweepKey is the state key of a connection's sweeps.
func SweepKey(connection string) string { return "sweep." + connection }

// AcceptedSync is a sync request that passed intake: the body of one message in the Sweeps stream, whose subject is
// the request's identity.
type AcceptedSync struct {
	RequestID string    `json:"requestId"`
	Source    string    `json:"source"`
	Content   string    `json:"content"`
	Accepted  time.Time `json:"accepted"`
}
