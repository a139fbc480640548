package pluralsightsim

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"
)

// Request is one line of the ledger: what a client asked for, and what it was answered. It holds no credential.
type Request struct {
	Seq        int               `json:"seq"`
	Start      time.Time         `json:"start"`
	End        time.Time         `json:"end"` // when the answer was begun; zero while the request is being worked on
	Plan       string            `json:"plan,omitempty"`
	Method     string            `json:"method"`
	Path       string            `json:"path"`
	AuthScheme string            `json:"authScheme,omitempty"` // Bearer or Basic, never what follows
	Headers    map[string]string `json:"headers,omitempty"`
	BodySHA256 string            `json:"bodySha256,omitempty"`
	BodyBytes  int               `json:"bodyBytes"`

	GraphQL     *GraphQLCall     `json:"graphql,omitempty"`
	Deprovision *DeprovisionCall `json:"deprovision,omitempty"`

	Status  int      `json:"status"`            // 0: the connection was cut without an answer
	Faults  []string `json:"faults,omitempty"`  // ids of the faults that fired
	Outcome string   `json:"outcome,omitempty"` // answered, reset, cut, stalled; incomplete: the client left while sending
}

// GraphQLCall is what the ledger keeps of a GraphQL request; the arguments are those of its first paged field.
type GraphQLCall struct {
	Operation string   `json:"operation,omitempty"` // its name
	Fields    []string `json:"fields"`              // root fields
	Mutation  bool     `json:"mutation,omitempty"`
	First     int      `json:"first,omitempty"`
	After     string   `json:"after,omitempty"`
	Emails    []string `json:"emails,omitempty"`
	Page      int      `json:"page,omitempty"`
	Errors    int      `json:"errors,omitempty"`
}

// DeprovisionCall is what the ledger keeps of a POST /deprovision.
type DeprovisionCall struct {
	DryRun           bool              `json:"dryRun"`
	ExitOnError      bool              `json:"exitOnError"`
	RetainPrivileges bool              `json:"retainPrivileges"` // as understood under the plan's spelling
	Flags            map[string]string `json:"flags,omitempty"`  // as sent
	FileName         string            `json:"fileName"`
	Rows             []Row             `json:"rows"`
	Answer           string            `json:"answer"`
	// Planned are the psUserIds that the job would take, Applied those that it took, which may come later.
	Planned []string `json:"planned,omitempty"`
	Applied []string `json:"applied,omitempty"`
}

// Row is one row of a deprovision file.
type Row struct {
	ID        string `json:"id"`
	Email     string `json:"email"`
	FirstName string `json:"firstName,omitempty"`
	LastName  string `json:"lastName,omitempty"`
}

// ledgerHeaders are kept because they tell clients and owners apart; Authorization is not among them.
var ledgerHeaders = []string{"User-Agent", "Content-Type", "Content-Disposition", "Clientversion", "X-Seatwire-Owner", "X-Request-Id"}

// CountsOnly as Options.LedgerLimit keeps no lines, only the counts: for benchmarks.
const CountsOnly = -1

// ledger is the simulator's own record, in the order of arrival. Entries are changed under its lock only.
type ledger struct {
	mu      sync.Mutex
	limit   int // 0: keep all
	seq     int
	entries []*Request
	counts  map[string]int // by path, and by path and status
}

func newLedger(limit int) *ledger { return &ledger{limit: limit, counts: map[string]int{}} }

// open adds a line. The body is hashed unless only counts are wanted, because hashing shows in a benchmark.
func (l *ledger) open(x *exchange) *Request {
	r := x.Request
	e := &Request{Start: x.now, Method: r.Method, Path: r.URL.Path, BodyBytes: len(x.body), AuthScheme: authScheme(r)}
	if x.plan != nil {
		e.Plan = x.plan.name
	}
	if l.limit != CountsOnly {
		sum := sha256.Sum256(x.body)
		e.BodySHA256 = hex.EncodeToString(sum[:])
		e.Headers = map[string]string{}
		for _, h := range ledgerHeaders {
			if v := r.Header.Get(h); v != "" {
				e.Headers[h] = v
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	e.Seq = l.seq
	l.counts[r.URL.Path]++
	if l.limit == CountsOnly {
		return e
	}
	l.entries = append(l.entries, e)
	if l.limit > 0 && len(l.entries) > l.limit {
		l.entries = slices.Delete(l.entries, 0, len(l.entries)-l.limit)
	}
	return e
}

// update changes a line; it is also how an effect that comes late reaches the line of the job that caused it.
func (l *ledger) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func (l *ledger) list() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Request, len(l.entries))
	for i, e := range l.entries {
		out[i] = *e
		out[i].Faults = slices.Clone(e.Faults)
		if e.GraphQL != nil {
			c := *e.GraphQL
			out[i].GraphQL = &c
		}
		if e.Deprovision != nil {
			c := *e.Deprovision
			c.Applied = slices.Clone(c.Applied)
			out[i].Deprovision = &c
		}
	}
	return out
}

func (l *ledger) totals() (int, map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seq, maps.Clone(l.counts)
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq, l.entries, l.counts = 0, nil, map[string]int{}
}

// Change is one line of the truth history.
type Change struct {
	Seq      int       `json:"seq"`
	At       time.Time `json:"at"`
	Plan     string    `json:"plan"`
	PsUserID string    `json:"psUserId"`
	Kind     string    `json:"kind"`  // added, edited, removed, readded, erased, moved
	Cause    string    `json:"cause"` // "control", "deprovision request 7", "removeUser request 3", "fault f2"
	After    Person    `json:"after"` // zero for erased
}

// history holds every change of every person, all plans together, in order.
type history struct {
	mu      sync.Mutex
	changes []Change
}

func (h *history) add(c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.Seq = len(h.changes) + 1
	h.changes = append(h.changes, c)
}

func (h *history) list() []Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.changes)
}

func (h *history) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes = nil
}
