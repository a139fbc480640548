package productivsim

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is one call in the ledger. Headers and bodies with secrets leave nothing here.
type Request struct {
	// Seq counts from 1, in the order in which calls began.
	Seq   int64     `json:"seq"`
	Start time.Time `json:"start"`
	// End is zero while the call is under way. It is set just before the last byte of the answer leaves, so calls that a
	// client makes one after another never overlap here.
	End      time.Time `json:"end,omitzero"`
	Endpoint Endpoint  `json:"endpoint"`
	// App is empty when the call named no app that exists.
	App       string `json:"app,omitempty"`
	Method    string `json:"method"`
	Path      string `json:"path"`
	UserAgent string `json:"userAgent,omitempty"`
	// Owner is the value of Options.OwnerHeader.
	Owner string `json:"owner,omitempty"`
	// BodySHA256 is in hexadecimal. It is empty without a body and at the token endpoint, whose body is a secret.
	BodySHA256 string `json:"bodySha256,omitempty"`
	BodyBytes  int    `json:"bodyBytes"`
	// Users is the number of people that the body named, and AppUserIDs and Emails are who, as they were spelt.
	Users      int      `json:"users"`
	AppUserIDs []string `json:"appUserIds,omitempty"`
	Emails     []string `json:"emails,omitempty"`
	// Applied says that the call reached its effect, an empty one included; the counts say what that was.
	Applied   bool `json:"applied"`
	Added     int  `json:"added"`
	Changed   int  `json:"changed"`
	Unchanged int  `json:"unchanged"`
	Deleted   int  `json:"deleted"`
	Absent    int  `json:"absent"`
	Lost      int  `json:"lost"`
	// Returned is the number of people in a page.
	Returned int `json:"returned"`
	// Status is 0 when the connection was cut before a status line.
	Status int `json:"status"`
	// Fault is the action of the fault that this call met.
	Fault FaultKind `json:"fault,omitempty"`
}

// write says that the call is one that changes, or tries to change, a list.
func (r Request) write() bool { return r.Endpoint == EndpointUsers && r.Method != http.MethodGet }

// Counts are counters; they are kept with Options.CountsOnly too.
type Counts struct {
	// Users is how many are on the list now.
	Users int `json:"users"`
	// Calls by endpoint and, for the users endpoint, by method.
	Gets    int `json:"gets"`
	Posts   int `json:"posts"`
	Deletes int `json:"deletes"`
	Tokens  int `json:"tokens"`
	Others  int `json:"others"`
	// Statuses counts answers by status; 0 is a connection cut before a status line.
	Statuses map[int]int `json:"statuses"`
	Faults   int         `json:"faults"`
	// LargestCall is the largest number of people that one POST or DELETE named; OverLimit counts calls that named more
	// than Switches.MaxUsers.
	LargestCall int `json:"largestCall"`
	OverLimit   int `json:"overLimit"`
	// OverlappingWrites counts POST and DELETE calls that began while another one on the same app was under way.
	OverlappingWrites int `json:"overlappingWrites"`
	// What the calls did to the list. Lost is people who went without a DELETE that named them: "no user was ever lost"
	// is Lost == 0.
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Unchanged int `json:"unchanged"`
	Deleted   int `json:"deleted"`
	Absent    int `json:"absent"`
	Lost      int `json:"lost"`
}

func (c *Counts) apply(did effect) {
	c.Added += did.added
	c.Changed += did.changed
	c.Unchanged += did.unchanged
	c.Deleted += did.deleted
	c.Absent += did.absent
	c.Lost += did.lost
}

// finish counts a call that has ended; its effect was counted when it happened.
func (c *Counts) finish(r Request, limit int) {
	switch {
	case r.Endpoint == EndpointToken:
		c.Tokens++
	case r.Endpoint != EndpointUsers:
		c.Others++
	case r.Method == http.MethodGet:
		c.Gets++
	case r.Method == http.MethodPost:
		c.Posts++
	case r.Method == http.MethodDelete:
		c.Deletes++
	default:
		c.Others++
	}
	if c.Statuses == nil {
		c.Statuses = map[int]int{}
	}
	c.Statuses[r.Status]++
	if r.Fault != "" {
		c.Faults++
	}
	c.LargestCall = max(c.LargestCall, r.Users)
	if r.Users > limit {
		c.OverLimit++
	}
}

func (c Counts) clone() Counts {
	statuses := make(map[int]int, len(c.Statuses))
	for status, n := range c.Statuses {
		statuses[status] = n
	}
	c.Statuses = statuses
	return c
}

func (c *Counts) add(o Counts) {
	c.Users += o.Users
	c.Gets += o.Gets
	c.Posts += o.Posts
	c.Deletes += o.Deletes
	c.Tokens += o.Tokens
	c.Others += o.Others
	c.Faults += o.Faults
	c.LargestCall = max(c.LargestCall, o.LargestCall)
	c.OverLimit += o.OverLimit
	c.OverlappingWrites += o.OverlappingWrites
	c.apply(effect{o.Added, o.Changed, o.Unchanged, o.Deleted, o.Absent, o.Lost})
	for status, n := range o.Statuses {
		c.Statuses[status] += n
	}
}

// ledger is every call in the order of beginning.
type ledger struct {
	countsOnly bool
	mu         sync.Mutex
	begun      int64
	// first is the Seq of entries[0]: after a reset, calls that began before it find no entry to close.
	first   int64
	entries []Request
	// stray counts the calls that belong to no app.
	stray Counts
}

func (l *ledger) begin(r Request) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun++
	r.Seq = l.begun
	if !l.countsOnly {
		if len(l.entries) == 0 {
			l.first = r.Seq
		}
		l.entries = append(l.entries, r)
	}
	return r.Seq
}

// update replaces the entry of a call that began after the last reset.
func (l *ledger) update(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := r.Seq - l.first; !l.countsOnly && len(l.entries) > 0 && i >= 0 {
		l.entries[i] = r
	}
}

func (l *ledger) countStray(r Request, limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stray.finish(r, limit)
}

func (l *ledger) strays() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stray.clone()
}

func (l *ledger) requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries, l.stray = nil, Counts{}
}

// Overlap is a pair of writes to one app that were under way at the same time.
type Overlap struct {
	App           string
	First, Second Request
}

// Overlaps returns every such pair. A call that is still under way lasts until now. With Options.CountsOnly there is only
// Counts.OverlappingWrites.
func (s *Sim) Overlaps() []Overlap {
	return overlaps(s.Requests(), time.Now())
}

func overlaps(requests []Request, now time.Time) []Overlap {
	var found []Overlap
	open := map[string][]Request{}
	for _, r := range requests {
		if !r.write() || r.App == "" {
			continue
		}
		var still []Request
		for _, earlier := range open[r.App] {
			if earlier.endBy(now).After(r.Start) {
				still = append(still, earlier)
				found = append(found, Overlap{App: r.App, First: earlier, Second: r})
			}
		}
		open[r.App] = append(still, r)
	}
	return found
}

// endBy is when the call ended, or now when it has not.
func (r Request) endBy(now time.Time) time.Time {
	if r.End.IsZero() {
		return now
	}
	return r.End
}

// userAgent is cut, since it comes from outside and is kept for ever.
func userAgent(r *http.Request) string {
	return strings.ToValidUTF8(firstBytes(r.UserAgent(), 200), "")
}

func firstBytes(s string, n int) string { return s[:min(len(s), n)] }
