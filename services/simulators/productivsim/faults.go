package productivsim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
)

// Endpoint names a part of the API, for matching and in the ledger.
type Endpoint string

const (
	EndpointToken     Endpoint = "token"
	EndpointUsers     Endpoint = "users"
	EndpointWorkflows Endpoint = "workflows"
	EndpointResume    Endpoint = "resume"
	// EndpointOther is every path that the vendor does not have.
	EndpointOther Endpoint = "other"
)

// When is the moment of a fault.
type When string

const (
	// Before the call has an effect: it will have none, unless the action only waits.
	Before When = "before"
	// After the effect, before the answer: the client cannot know.
	After When = "after"
	// Midbody is after half of the answer's body, with the effect in place.
	Midbody When = "midbody"
)

// FaultKind is what a fault does.
type FaultKind string

const (
	// FaultStatus answers Status, with Body or the vendor's error shape.
	FaultStatus FaultKind = "status"
	// FaultHTML answers an HTML page, with status 200 unless Status says otherwise: a proxy in between.
	FaultHTML FaultKind = "html"
	// FaultRedirect answers Status (307) with Location.
	FaultRedirect FaultKind = "redirect"
	// FaultDelay waits for Delay and goes on.
	FaultDelay FaultKind = "delay"
	// FaultHang never answers.
	FaultHang FaultKind = "hang"
	// FaultReset cuts the connection: with a TCP reset Before and After, in the middle of the body Midbody.
	FaultReset FaultKind = "reset"
	// FaultTruncate answers the first half of the JSON with a Content-Length that fits it.
	FaultTruncate FaultKind = "truncate"
	// FaultSlow sends the body in Pieces with a Delay before each.
	FaultSlow FaultKind = "slow"
	// FaultSuccess has the answer say Success.
	FaultSuccess FaultKind = "success"
	// FaultPartialDelete leaves the last Count people of a DELETE on the list, and says so.
	FaultPartialDelete FaultKind = "partial-delete"
	// FaultShortCount deletes everybody and reports Count fewer.
	FaultShortCount FaultKind = "short-count"
)

// Fault is one line of the script.
type Fault struct {
	// Endpoint, App and Method choose the calls; empty matches all.
	Endpoint Endpoint `json:"endpoint,omitempty"`
	App      string   `json:"app,omitempty"`
	Method   string   `json:"method,omitempty"`
	// Nth is the first matching call to hit, counted from 1 since Inject; 0 means 1.
	Nth int `json:"nth,omitempty"`
	// Times is how many calls to hit; 0 means 1, and -1 all.
	Times int `json:"times,omitempty"`
	// Probability is the chance for each matching call; 0 means always. The draws depend on Options.Seed, the place in the
	// script and the number of the matching call, and on nothing else.
	Probability float64 `json:"probability,omitempty"`

	Kind FaultKind `json:"kind"`
	// When is Before if empty, but Midbody for slow, and After for truncate.
	When When `json:"when,omitempty"`
	// Delay comes before the action, whatever it is; with slow, before each piece.
	Delay Duration `json:"delay,omitempty"`
	// Persist lets a call whose client has gone during Delay take effect all the same, as real servers do.
	Persist bool `json:"persist,omitempty"`

	Status      int    `json:"status,omitempty"`
	Body        string `json:"body,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	Location    string `json:"location,omitempty"`
	// RetryAfter is sent in seconds, or as a date with RetryAfterDate; zero sends none.
	RetryAfter     Duration `json:"retryAfter,omitempty"`
	RetryAfterDate bool     `json:"retryAfterDate,omitempty"`
	Success        Success  `json:"success,omitempty"`
	Count          int      `json:"count,omitempty"`
	Pieces         int      `json:"pieces,omitempty"`
}

// FaultState is a fault with what came of it.
type FaultState struct {
	Fault Fault `json:"fault"`
	// Matched counts the calls that it fits; Fired those that met it.
	Matched int `json:"matched"`
	Fired   int `json:"fired"`
}

// withDefaults fills in what was left out, so that the rest of the code reads plain values.
func (f Fault) withDefaults() Fault {
	f.Nth, f.Times, f.Pieces = cmp.Or(f.Nth, 1), cmp.Or(f.Times, 1), cmp.Or(f.Pieces, 10)
	f.Probability = cmp.Or(f.Probability, 1)
	f.When = cmp.Or(f.When, map[FaultKind]When{FaultSlow: Midbody, FaultTruncate: After}[f.Kind], Before)
	switch f.Kind {
	case FaultHTML:
		f.Status = cmp.Or(f.Status, http.StatusOK)
	case FaultRedirect:
		f.Status = cmp.Or(f.Status, http.StatusTemporaryRedirect)
	}
	return f
}

func (f Fault) validate() error {
	if err := f.validateMatch(); err != nil {
		return err
	}
	switch f.Kind {
	case FaultStatus, FaultRedirect, FaultHTML:
		if f.Status < 200 || f.Status > 599 {
			return fmt.Errorf("fault %s: status %d is not between 200 and 599", f.Kind, f.Status)
		}
		if f.Kind == FaultRedirect && f.Location == "" {
			return fmt.Errorf("fault %s lacks a location", f.Kind)
		}
	case FaultSuccess:
		return oneOf("success of a fault", f.Success, SuccessTruth, SuccessFalse, SuccessMissing, SuccessNull, SuccessText)
	case FaultPartialDelete, FaultShortCount:
		return positive("count of a fault", int64(f.Count))
	case FaultDelay, FaultHang, FaultReset, FaultTruncate, FaultSlow:
	default:
		return fmt.Errorf("unknown fault kind %q", f.Kind)
	}
	return nil
}

func (f Fault) validateMatch() error {
	if f.Probability < 0 || f.Probability > 1 {
		return fmt.Errorf("probability %v is not between 0 and 1", f.Probability)
	}
	if f.Nth < 1 || f.Times < -1 || f.Pieces < 1 || f.Delay < 0 {
		return fmt.Errorf("fault %s: nth, times, pieces or delay is negative", f.Kind)
	}
	if f.When == Midbody && f.Kind != FaultReset && f.Kind != FaultSlow {
		return fmt.Errorf("fault %s cannot happen in the middle of a body", f.Kind)
	}
	if f.When != Midbody && f.Kind == FaultSlow || f.When == Before && f.Kind == FaultTruncate {
		return fmt.Errorf("fault %s cannot happen %s", f.Kind, f.When)
	}
	if err := oneOf("when of a fault", f.When, Before, After, Midbody); err != nil {
		return err
	}
	return oneOf("endpoint of a fault", f.Endpoint, "", EndpointToken, EndpointUsers, EndpointWorkflows, EndpointResume,
		EndpointOther)
}

// script is the list of faults; the first that fires for a call is the one that the call meets.
type script struct {
	seed uint64
	mu   sync.Mutex
	// number numbers faults over the whole run, so that a fault's chances do not repeat those of an earlier one.
	number uint64
	lines  []*line
}

type line struct {
	FaultState
	chance *rand.Rand
}

func newScript(seed uint64) *script { return &script{seed: seed} }

func (s *script) add(faults []Fault) error {
	ready := make([]Fault, len(faults))
	for i, f := range faults {
		ready[i] = f.withDefaults()
		if err := ready[i].validate(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range ready {
		s.lines = append(s.lines, &line{FaultState: FaultState{Fault: f}, chance: rand.New(rand.NewPCG(s.seed, s.number))})
		s.number++
	}
	return nil
}

// take returns the fault that a call meets, or nil. Every fitting line counts the call, whichever fires.
func (s *script) take(e Endpoint, app, method string) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var met *Fault
	for _, l := range s.lines {
		if !l.Fault.fits(e, app, method) {
			continue
		}
		l.Matched++
		spared := l.chance.Float64() >= l.Fault.Probability
		spent := l.Fault.Times >= 0 && l.Fired >= l.Fault.Times
		if met != nil || spared || spent || l.Matched < l.Fault.Nth {
			continue
		}
		l.Fired++
		met = &l.Fault
	}
	return met
}

func (f Fault) fits(e Endpoint, app, method string) bool {
	return (f.Endpoint == "" || f.Endpoint == e) && (f.App == "" || f.App == app) && (f.Method == "" || f.Method == method)
}

func (s *script) states() []FaultState {
	s.mu.Lock()
	defer s.mu.Unlock()
	states := make([]FaultState, len(s.lines))
	for i, l := range s.lines {
		states[i] = l.FaultState
	}
	return states
}

// clear empties the script and starts the numbering again: a run after Reset repeats the first.
func (s *script) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.number = nil, 0
}
