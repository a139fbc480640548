package pluralsightsim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
)

// When says where in a request's life a fault strikes.
type When string

// A fault before leaves no effect behind; after and midbody come when the effect is there and its answer is not.
const (
	Before  When = "before"
	After   When = "after"
	MidBody When = "midbody"
)

// Action is what a fault does.
type Action string

// Actions on the connection and the answer, for every endpoint. With When before the request is not worked on.
const (
	Reset    Action = "reset"    // cut the connection: before, after, or with half the answer sent
	Answer   Action = "answer"   // answer with Status, Headers, Body or BodyForm instead
	Delay    Action = "delay"    // wait Delay, then go on
	Stall    Action = "stall"    // say nothing, or (midbody) no more, until the client leaves or Delay is over; then cut
	Truncate Action = "truncate" // a complete HTTP answer whose body is cut in half; always midbody
	Drip     Action = "drip"     // send Count bytes every Delay; always midbody
	Huge     Action = "huge"     // blanks before the body, until it is Size bytes; always midbody
)

// Actions on a GraphQL answer.
const (
	ErrorsOnly    Action = "errors-null-data"    // errors, data null
	ErrorsPartial Action = "errors-partial-data" // errors, half of the nodes
	ErrorsFull    Action = "errors-full-data"    // errors beside everything
)

// Actions on the page of a connection.
const (
	RepeatCursor    Action = "repeat-cursor"    // endCursor is the cursor that was sent; hasNextPage true
	LoopToStart     Action = "loop-to-start"    // endCursor leads to page 1
	NullEndCursor   Action = "null-end-cursor"  // with hasNextPage true
	NoHasNextPage   Action = "missing-has-next" // pageInfo without hasNextPage
	EmptyPage       Action = "empty-page"       // no nodes, hasNextPage true, endCursor goes on after the lost ones
	LastEmpty       Action = "empty-last-page"  // no nodes, hasNextPage false
	ShortPage       Action = "short-page"       // half of the nodes, hasNextPage false
	DuplicateNode   Action = "duplicate-node"   // the first node twice
	ConflictingNode Action = "conflicting-node" // the first node twice, the second time with another name and e-mail
	NullNode        Action = "null-node"        // the first node is null
	NullID          Action = "null-id"          // the first node's psUserId is null
	ExpiredCursor   Action = "expired-cursor"   // the cursor that was sent is taken as expired
	WrongTotal      Action = "wrong-total"      // totalCount plus Count
	NullNodes       Action = "null-nodes"       // nodes and edges null
	NullConnection  Action = "null-connection"  // the whole connection null
)

// Actions on the truth, Count people at a time, before the request is worked on or after it.
const (
	InsertFirst Action = "insert-first" // new people in front
	InsertLast  Action = "insert-last"  // new people at the end
	EraseFirst  Action = "erase-first"  // the first people vanish
	RemoveFirst Action = "remove-first" // the first people leave the account
	MoveToEnd   Action = "move-to-end"  // the first people go to the end
	MoveToFront Action = "move-to-front"
)

var (
	wireActions = []Action{Reset, Answer, Stall, Truncate, Drip, Huge}
	pageActions = []Action{
		RepeatCursor, LoopToStart, NullEndCursor, NoHasNextPage, EmptyPage, LastEmpty, ShortPage, DuplicateNode,
		ConflictingNode, NullNode, NullID, ExpiredCursor, WrongTotal, NullNodes, NullConnection,
	}
	errorActions = []Action{ErrorsOnly, ErrorsPartial, ErrorsFull}
	truthActions = []Action{InsertFirst, InsertLast, EraseFirst, RemoveFirst, MoveToEnd, MoveToFront}
)

// Match says which requests a fault is about. Zero members match everything; Nth, Times and Probability count and toss
// among the requests that the other members match.
type Match struct {
	Plan      string `json:"plan,omitempty"`
	Path      string `json:"path,omitempty"`      // "/deprovision"
	Operation string `json:"operation,omitempty"` // a root field ("users"), an operation's name, or "deprovision"
	Page      int    `json:"page,omitempty"`      // of the first paged field, from 1, as its cursor tells
	DryRun    *bool  `json:"dryRun,omitempty"`    // of a deprovision
	// Filtered tells lookups (users with filter) from sweeps.
	Filtered *bool `json:"filtered,omitempty"`

	Nth         int     `json:"nth,omitempty"`         // only the nth such request, from 1
	Times       int     `json:"times,omitempty"`       // only that many times; 0 for ever
	Probability float64 `json:"probability,omitempty"` // 0 means always; tossed with the simulator's seed
}

// Fault is one line of a fault script.
type Fault struct {
	ID     string `json:"id,omitempty"` // given on injection when empty
	Match  Match  `json:"match"`
	When   When   `json:"when,omitempty"` // before when empty, where the action has a choice
	Action Action `json:"action"`

	Status     int               `json:"status,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	RetryAfter string            `json:"retryAfter,omitempty"` // as is; "date+30s" becomes an HTTP date that far ahead
	Body       string            `json:"body,omitempty"`
	BodyForm   string            `json:"bodyForm,omitempty"` // json, html or empty, when Body is not given
	Delay      Duration          `json:"delay,omitempty"`    // real time
	Count      int               `json:"count,omitempty"`
	Size       int               `json:"size,omitempty"` // bytes
	Message    string            `json:"message,omitempty"`
	Code       string            `json:"code,omitempty"`
}

// FaultState is a fault with what became of it.
type FaultState struct {
	Fault
	Seen  int `json:"seen"`  // requests that fitted, whatever the counting and tossing said
	Fired int `json:"fired"` // times it struck
}

func (f *Fault) validate() error {
	known := slices.Concat(wireActions, pageActions, errorActions, truthActions, []Action{Delay})
	if !slices.Contains(known, f.Action) {
		return fmt.Errorf("fault action %q is unknown", f.Action)
	}
	if f.When != Before && f.When != After && f.When != MidBody {
		return fmt.Errorf("fault when is %q, want before, after or midbody", f.When)
	}
	if f.Action == Answer && (f.Status < 200 || f.Status > 599) {
		return errors.New("fault action answer wants a status between 200 and 599")
	}
	if f.Match.Probability < 0 || f.Match.Probability > 1 || f.Match.Nth < 0 || f.Match.Times < 0 {
		return errors.New("fault match wants a probability between 0 and 1, and nth and times of 0 or more")
	}
	if f.Size > 1<<30 || f.Count < 0 && f.Action != WrongTotal {
		return errors.New("fault size is 1 GiB at most and count 0 or more")
	}
	return nil
}

func (f *Fault) changesTruth() bool { return slices.Contains(truthActions, f.Action) }

// normalise fills what a script may leave out.
func (f *Fault) normalise() {
	switch {
	case f.Action == Truncate || f.Action == Drip || f.Action == Huge:
		f.When = MidBody
	case f.When == "":
		f.When = Before
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.BodyForm == "" {
		f.BodyForm = "html"
	}
	if f.Message == "" {
		f.Message = "Something went wrong"
	}
}

// call is what the script knows of a request when it chooses.
type call struct {
	plan, path string
	operations []string
	page       int
	dryRun     *bool
	filtered   bool
}

func (m *Match) fits(c call) bool {
	return (m.Plan == "" || m.Plan == c.plan) &&
		(m.Path == "" || m.Path == c.path) &&
		(m.Operation == "" || slices.Contains(c.operations, m.Operation)) &&
		(m.Page == 0 || m.Page == c.page) &&
		(m.DryRun == nil || c.dryRun != nil && *m.DryRun == *c.dryRun) &&
		(m.Filtered == nil || *m.Filtered == c.filtered)
}

// script is the fault script. One seeded source serves all tosses, so a sequence of requests meets the same faults again.
type script struct {
	mu     sync.Mutex
	seed   uint64
	rng    *rand.Rand
	faults []*FaultState
	given  int
}

func newScript(seed uint64) *script {
	return &script{seed: seed, rng: rand.New(rand.NewPCG(seed, 0))}
}

func (s *script) inject(faults []Fault) ([]string, error) {
	for i := range faults {
		faults[i].normalise()
		if err := faults[i].validate(); err != nil {
			return nil, fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(faults))
	for _, f := range faults {
		s.given++
		if f.ID == "" {
			f.ID = fmt.Sprintf("f%d", s.given)
		}
		s.faults = append(s.faults, &FaultState{Fault: f})
		ids = append(ids, f.ID)
	}
	return ids, nil
}

// strike returns the faults that hit c, in the order of the script.
func (s *script) strike(c call) hits {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out hits
	for _, f := range s.faults {
		if f.Match.fits(c) && f.due(s.rng) {
			f.Fired++
			out = append(out, f.Fault)
		}
	}
	return out
}

func (f *FaultState) due(rng *rand.Rand) bool {
	f.Seen++
	switch {
	case f.Match.Nth > 0 && f.Seen != f.Match.Nth:
		return false
	case f.Match.Times > 0 && f.Fired >= f.Match.Times:
		return false
	case f.Match.Probability > 0:
		return rng.Float64() < f.Match.Probability
	}
	return true
}

func (s *script) list() []FaultState {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]FaultState, len(s.faults))
	for i, f := range s.faults {
		out[i] = *f
	}
	return out
}

// clear forgets the script and begins the tosses anew.
func (s *script) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.given = nil, 0
	s.rng = rand.New(rand.NewPCG(s.seed, 0))
}

// hits are the faults that struck one request.
type hits []Fault

// wire returns the first fault on the connection that strikes at one of the given moments.
func (h hits) wire(at ...When) *Fault {
	for i := range h {
		if slices.Contains(wireActions, h[i].Action) && slices.Contains(at, h[i].When) {
			return &h[i]
		}
	}
	return nil
}

// find returns the fault with the action, or nil.
func (h hits) find(a Action) *Fault {
	for i := range h {
		if h[i].Action == a {
			return &h[i]
		}
	}
	return nil
}

func (h hits) has(a Action) bool { return h.find(a) != nil }

func (h hits) ids() []string {
	out := make([]string, len(h))
	for i := range h {
		out[i] = h[i].ID
	}
	return out
}
