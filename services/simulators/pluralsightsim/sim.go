// Package pluralsightsim simulates the Pluralsight side of Seatwire: the GraphQL API and the CSV endpoint /deprovision.
//
// The vendor offers no sandbox, so this is the ground that tests stand on. It is stateful (people, licences, jobs), strict
// (every query is validated against the schema, every file parsed by the letter) and it shares no type with any client:
// a wrong name in a client fails here instead of agreeing with itself.
//
// What the vendor's documents leave open is a switch (Switches, per plan). What goes wrong now and then is a fault (Fault,
// a script for all plans, reproducible by seed). What was asked is in the ledger (Request); what became of people is in
// the truth history (Change). All can be reached from Go and over HTTP under /_sim/, which wants no key: serve it on
// the loopback interface only.
//
// Time passes on looking: a job's late effect is applied when somebody next asks, at the moment at which it was due, on a
// clock that Advance moves ahead. There are no goroutines and no timers, so the simulator runs in a testing/synctest bubble.
package pluralsightsim

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Errors of the control functions.
var (
	ErrUnknownPlan   = errors.New("unknown plan")
	ErrUnknownPerson = errors.New("unknown person")
	ErrExists        = errors.New("exists already")
)

// Options describe a simulator.
type Options struct {
	// Plans are the tenants, told apart by their keys. Names and keys are unique.
	Plans []Plan
	// Seed of everything that chance decides: tosses of faults and partial effects.
	Seed uint64
	// Now is the clock; nil for time.Now. Advance adds to it.
	Now func() time.Time
	// LedgerLimit is how many requests the ledger keeps: 0 for all, CountsOnly for none but the counts.
	LedgerLimit int
}

// maxBody is the largest request that is read, in bytes; a larger one is answered 413.
const maxBody = 16 << 20

// Sim is a simulated vendor. All its methods are safe for concurrent use.
type Sim struct {
	options Options
	names   []string // of the plans, in order
	schemas *schemas
	ledger  *ledger
	history *history
	script  *script
	closed  chan struct{}
	close   func()

	mu    sync.RWMutex // guards everything below
	ahead time.Duration
	plans map[string]*plan
	byKey map[string]*plan
}

// New builds a simulator. It panics on options that contradict themselves, as template.Must does: they are source code.
func New(o Options) *Sim {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Sim{
		options: o, schemas: newSchemas(), ledger: newLedger(o.LedgerLimit), history: &history{},
		script: newScript(o.Seed), closed: make(chan struct{}),
	}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	for i := range o.Plans {
		s.names = append(s.names, o.Plans[i].Name)
	}
	if err := s.build(); err != nil {
		panic("pluralsightsim: " + err.Error())
	}
	return s
}

// build makes the plans as the options have them.
func (s *Sim) build() error {
	plans, byKey := map[string]*plan{}, map[string]*plan{}
	for i := range s.options.Plans {
		start := &s.options.Plans[i]
		if start.Name == "" || start.Key == "" || plans[start.Name] != nil || byKey[start.Key] != nil {
			return fmt.Errorf("plan %q needs a name and a key of its own", start.Name)
		}
		p, err := newPlan(start, s.history, s.ledger)
		if err != nil {
			return err
		}
		sw := DefaultSwitches()
		if start.Switches != nil {
			sw = *start.Switches
		}
		sw.Auth.ReadOnly = sw.Auth.ReadOnly || start.ReadOnly
		if err := s.speak(p, sw); err != nil {
			return err
		}
		plans[start.Name], byKey[start.Key] = p, p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plans, s.byKey, s.ahead = plans, byKey, 0
	return nil
}

// speak gives a plan its dialect.
func (s *Sim) speak(p *plan, sw Switches) error {
	if err := sw.Validate(); err != nil {
		return err
	}
	v, err := s.schemas.variant(&sw)
	if err != nil {
		return err
	}
	p.dialect.Store(&dialect{Switches: sw, variant: v})
	return nil
}

// Handler serves the vendor's endpoints and the control pages under /_sim/.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/graphql", s.serve(s.graphQL))
	mux.HandleFunc("/GraphQL", s.serve(s.graphQL))
	mux.HandleFunc("/deprovision", s.serve(s.deprovision))
	mux.Handle("/_sim/", s.control())
	return mux
}

// exchange is one request on its way: what is known of it and the answer that is being made.
type exchange struct {
	*http.Request
	body  []byte
	now   time.Time
	plan  *plan    // nil: the key is of no plan
	sw    *dialect // of the plan
	line  *Request
	hits  hits
	reply reply
}

// endpoint works on an exchange in two steps, so that faults can strike between them.
type endpoint interface {
	// describe says what the script may match; a request that cannot be understood describes what it can.
	describe() call
	// work does what was asked and fills the reply.
	work()
}

// serve runs the life of a request: ledger, key, script, delay, work, answer.
func (s *Sim) serve(understand func(*exchange) endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		x := &exchange{Request: r, body: body, now: s.Now(), plan: s.authenticate(r)}
		x.line = s.ledger.open(x)
		if err != nil { // the client left while sending: nothing was asked for
			s.finish(x, 0, "incomplete")
			panic(http.ErrAbortHandler)
		}
		var e endpoint = denied{x}
		if x.plan != nil {
			x.sw = x.plan.dialect.Load()
			e = s.admit(x, understand)
		}
		x.hits = s.script.strike(e.describe())
		s.ledger.update(func() { x.line.Faults = x.hits.ids() })
		s.run(w, x, e)
	}
}

// admit decides what an authenticated request meets before its endpoint.
func (s *Sim) admit(x *exchange, understand func(*exchange) endpoint) endpoint {
	paths := x.sw.GraphQL.Paths
	switch {
	case x.sw.Auth.Deleted:
		return denied{x}
	case paths == "lower" && x.URL.Path == "/GraphQL", paths == "upper" && x.URL.Path == "/graphql":
		return refused{x, http.StatusNotFound, "html"}
	case x.Method != http.MethodPost:
		return refused{x, http.StatusMethodNotAllowed, "json"}
	case len(x.body) > maxBody:
		return refused{x, http.StatusRequestEntityTooLarge, "json"}
	}
	return understand(x)
}

// run works on the exchange and answers, with what the script wants to happen before, between and after.
func (s *Sim) run(w http.ResponseWriter, x *exchange, e endpoint) {
	s.pause(x)
	if f := x.hits.wire(Before); f != nil {
		s.fail(w, x, f)
		return
	}
	s.changeTruth(x, Before)
	e.work()
	s.changeTruth(x, After)
	if f := x.hits.wire(After, MidBody); f != nil {
		s.fail(w, x, f)
		return
	}
	s.answer(w, x)
}

func (s *Sim) changeTruth(x *exchange, at When) {
	if x.plan == nil {
		return
	}
	for i := range x.hits {
		if f := &x.hits[i]; f.When == at && f.changesTruth() {
			x.plan.change(x.now, func() { x.plan.mutate(f, x.now) })
		}
	}
}

// authenticate finds the plan of the key: Bearer, or Basic with any user name and the key as the password.
func (s *Sim) authenticate(r *http.Request) *plan {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok && r.URL.Path == "/deprovision" {
		_, key, ok = r.BasicAuth()
	}
	if !ok {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byKey[key]
}

func authScheme(r *http.Request) string {
	scheme, _, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || scheme != "Bearer" && scheme != "Basic" {
		return ""
	}
	return scheme
}

// denied answers 401: not in the shape of GraphQL, as observed at the vendor.
type denied struct{ *exchange }

func (d denied) describe() call { return d.call() }

func (d denied) work() {
	form := "json"
	if d.sw != nil {
		form = d.sw.Auth.Unauthorized
	}
	d.reply.fail(http.StatusUnauthorized, form, "AuthenticationError: Invalid API Key")
}

// refused answers a request that comes to the wrong place.
type refused struct {
	*exchange
	status int
	form   string
}

func (r refused) describe() call { return r.call() }

func (r refused) work() { r.reply.fail(r.status, r.form, http.StatusText(r.status)) }

func (x *exchange) call() call {
	c := call{path: x.URL.Path}
	if x.plan != nil {
		c.plan = x.plan.name
	}
	return c
}
