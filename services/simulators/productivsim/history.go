package productivsim

import (
	"sync"
	"time"
)

// ChangeKind says how an entry of a list changed.
type ChangeKind string

const (
	ChangeAdded   ChangeKind = "added"
	ChangeChanged ChangeKind = "changed"
	// ChangeDeleted is a removal that a DELETE, or Seed, asked for.
	ChangeDeleted ChangeKind = "deleted"
	// ChangeLost is a removal that nobody asked for: a POST in replace mode that did not name the person.
	ChangeLost ChangeKind = "lost"
)

// Change is one step in the life of one list.
type Change struct {
	// Seq counts from 1 over all apps.
	Seq  int64      `json:"seq"`
	At   time.Time  `json:"at"`
	App  string     `json:"app"`
	Kind ChangeKind `json:"kind"`
	// Request is the Request.Seq of the call that did it; 0 for Seed.
	Request int64 `json:"request"`
	// Before is nil for somebody new, After for somebody gone.
	Before *User `json:"before,omitempty"`
	After  *User `json:"after,omitempty"`
}

// history is the truth about all lists, packed: an entry costs no more than its record's header.
type history struct {
	countsOnly bool
	mu         sync.Mutex
	steps      []step
}

type step struct {
	at            time.Time
	app           string
	kind          ChangeKind
	request       int64
	before, after record
}

// recorder collects the steps of one call; commit puts them into the history in one go.
type recorder struct {
	history *history
	// at is the moment of the effect, taken with the app locked, so that one app's times never run backwards.
	at      time.Time
	app     string
	request int64
	steps   []step
}

func (h *history) record(app string, request int64) *recorder {
	return &recorder{history: h, at: time.Now(), app: app, request: request}
}

func (r *recorder) note(kind ChangeKind, before, after record) {
	if r.history.countsOnly {
		return
	}
	r.steps = append(r.steps, step{r.at, r.app, kind, r.request, before, after})
}

// commit is called with the app locked, so that one app's steps are in the order in which they happened.
func (r *recorder) commit() {
	r.history.mu.Lock()
	defer r.history.mu.Unlock()
	r.history.steps = append(r.history.steps, r.steps...)
}

func (h *history) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.steps = nil
}

func (h *history) changes() []Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes := make([]Change, len(h.steps))
	for i, s := range h.steps {
		changes[i] = Change{Seq: int64(i + 1), At: s.at, App: s.app, Kind: s.kind, Request: s.request,
			Before: s.before.pointer(), After: s.after.pointer()}
	}
	return changes
}

func (r record) pointer() *User {
	if r == "" {
		return nil
	}
	return new(r.user())
}
