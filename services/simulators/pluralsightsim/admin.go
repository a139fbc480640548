package pluralsightsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// maxControlBody is the largest request to the control API, in bytes.
const maxControlBody = 8 << 20

// control serves /_sim/: the JSON API and the page. It wants no key, but a browser on another site is refused.
//
//	GET  state                                     counts of every plan
//	GET  people?plan=&email=|psUserId=|offset=&limit=
//	POST people                                    personOrder: add, edit, remove, readd, erase, move-first, move-last
//	GET  requests?plan=&after=&limit=              the ledger
//	GET  history?plan=&psUserId=&after=&limit=     the truth history
//	GET  switches?plan=   PUT switches?plan=       PUT turns what it names
//	GET  faults   POST faults   DELETE faults      POST takes one fault or a list
//	GET  jobs?plan=
//	POST advance {"by": "1h"}   POST key {"plan", "key"}   POST reset
func (s *Sim) control() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, fn func(*http.Request) (any, error)) {
		mux.HandleFunc("GET /_sim/"+path, answerJSON(fn))
	}
	get("state", s.getState)
	get("people", s.getPeople)
	get("requests", s.getRequests)
	get("history", s.getHistory)
	get("switches", func(r *http.Request) (any, error) { return s.Switches(r.FormValue("plan")) })
	get("faults", func(*http.Request) (any, error) { return s.Faults(), nil })
	get("jobs", func(r *http.Request) (any, error) { return s.Jobs(r.FormValue("plan")) })
	mux.HandleFunc("POST /_sim/people", answerJSON(s.postPeople))
	mux.HandleFunc("PUT /_sim/switches", answerJSON(s.putSwitches))
	mux.HandleFunc("POST /_sim/faults", answerJSON(s.postFaults))
	mux.HandleFunc("DELETE /_sim/faults", answerJSON(func(*http.Request) (any, error) {
		s.ClearFaults()
		return s.Faults(), nil
	}))
	mux.HandleFunc("POST /_sim/advance", answerJSON(s.postAdvance))
	mux.HandleFunc("POST /_sim/key", answerJSON(s.postKey))
	mux.HandleFunc("POST /_sim/reset", answerJSON(func(*http.Request) (any, error) { return struct{}{}, s.Reset() }))
	s.pages(mux)
	return http.NewCrossOriginProtection().Handler(mux)
}

// answerJSON turns a function into a handler. What a caller did wrong is 400, or 404 for somebody unknown.
func answerJSON(fn func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
		v, err := fn(r)
		w.Header().Set("Content-Type", typeJSON)
		switch {
		case errors.Is(err, ErrUnknownPlan) || errors.Is(err, ErrUnknownPerson):
			w.WriteHeader(http.StatusNotFound)
		case err != nil:
			w.WriteHeader(http.StatusBadRequest)
		}
		if err != nil {
			v = map[string]string{"error": err.Error()}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(v) // a client that left is no concern of ours
	}
}

// decode reads one JSON value and refuses members that nobody knows.
func decode(r io.Reader, into any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("unexpected data after the JSON value")
	}
	return nil
}

// State is the answer to GET /_sim/state.
type State struct {
	Now      time.Time      `json:"now"`
	Requests int            `json:"requests"`
	Counts   map[string]int `json:"requestCounts"`
	Faults   int            `json:"faults"`
	Plans    []PlanState    `json:"plans"`
}

// PlanState is one plan of a State.
type PlanState struct {
	Name     string    `json:"name"`
	Counts   Counts    `json:"counts"`
	Products []Product `json:"products"`
	Teams    []Team    `json:"teams"`
	Invites  []Invite  `json:"invites"`
}

func (s *Sim) getState(*http.Request) (any, error) { return s.State(), nil }

// State sums the simulator up.
func (s *Sim) State() State {
	out := State{Now: s.Now(), Faults: len(s.Faults())}
	out.Requests, out.Counts = s.ledger.totals()
	for _, name := range s.names {
		p, err := s.plan(name)
		if err != nil {
			continue // plans never go; this keeps the compiler's promise only
		}
		p.view(out.Now, func() {
			out.Plans = append(out.Plans, PlanState{
				Name: name, Counts: p.counts(), Products: append([]Product{}, p.products...), Teams: append([]Team{}, p.teams...),
				Invites: append([]Invite{}, p.invites...),
			})
		})
	}
	return out
}

// number reads a query parameter; absent is 0.
func number(r *http.Request, name string) (int, error) {
	text := r.FormValue(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s is %q, want a number", name, text)
	}
	return n, nil
}

// peopleLimit is how many people one answer holds, unless limit says otherwise.
const peopleLimit = 1000

func (s *Sim) getPeople(r *http.Request) (any, error) {
	if email := r.FormValue("email"); email != "" {
		return s.Find(r.FormValue("plan"), email)
	}
	if id := r.FormValue("psUserId"); id != "" {
		p, err := s.Person(r.FormValue("plan"), id)
		return []Person{p}, err
	}
	offset, err := number(r, "offset")
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit")
	if err != nil {
		return nil, err
	}
	if limit == 0 {
		limit = peopleLimit
	}
	return s.People(r.FormValue("plan"), offset, limit)
}

// personOrder is the body of POST /_sim/people.
type personOrder struct {
	Op       string          `json:"op"` // add, edit, remove, readd, erase, move-first, move-last
	Plan     string          `json:"plan"`
	PsUserID string          `json:"psUserId"` // of everybody but whom add adds
	Person   json.RawMessage `json:"person"`   // add: the person; edit: the members that change
}

func (s *Sim) postPeople(r *http.Request) (any, error) {
	var o personOrder
	if err := decode(r.Body, &o); err != nil {
		return nil, err
	}
	return s.order(&o)
}

// order does what was ordered and returns the person as it is now, nothing for an erased one.
func (s *Sim) order(o *personOrder) (any, error) {
	var err error
	switch o.Op {
	case "add":
		var p Person
		if err := decode(bytes.NewReader(o.Person), &p); err != nil {
			return nil, err
		}
		return s.AddPerson(o.Plan, p)
	case "edit":
		err = s.mergePerson(o)
	case "remove":
		err = s.RemovePerson(o.Plan, o.PsUserID)
	case "readd":
		err = s.Readd(o.Plan, o.PsUserID)
	case "move-first", "move-last":
		err = s.MovePerson(o.Plan, o.PsUserID, o.Op == "move-first")
	case "erase":
		return struct{}{}, s.ErasePerson(o.Plan, o.PsUserID)
	default:
		err = fmt.Errorf("op is %q, want add, edit, remove, readd, erase, move-first or move-last", o.Op)
	}
	if err != nil {
		return nil, err
	}
	return s.Person(o.Plan, o.PsUserID)
}

// mergePerson changes the members that the order names. It is judged on a copy first, so a bad one changes nothing.
func (s *Sim) mergePerson(o *personOrder) error {
	p, err := s.Person(o.Plan, o.PsUserID)
	if err != nil {
		return err
	}
	if err := decode(bytes.NewReader(o.Person), &p); err != nil {
		return err
	}
	return s.EditPerson(o.Plan, o.PsUserID, func(person *Person) { _ = json.Unmarshal(o.Person, person) })
}

// later keeps the items of the plan, when one is named, whose number is above after; limit of them at most.
func later[T any](r *http.Request, all []T, of func(*T) (seq int, plan string)) ([]T, error) {
	after, err := number(r, "after")
	if err != nil {
		return nil, err
	}
	limit, err := number(r, "limit")
	if err != nil {
		return nil, err
	}
	plan := r.FormValue("plan")
	out := []T{}
	for i := range all {
		seq, name := of(&all[i])
		if seq > after && (plan == "" || plan == name) && (limit == 0 || len(out) < limit) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

func (s *Sim) getRequests(r *http.Request) (any, error) {
	return later(r, s.Requests(), func(e *Request) (int, string) { return e.Seq, e.Plan })
}

func (s *Sim) getHistory(r *http.Request) (any, error) {
	id := r.FormValue("psUserId")
	changes, err := later(r, s.History(), func(c *Change) (int, string) { return c.Seq, c.Plan })
	if id == "" || err != nil {
		return changes, err
	}
	out := []Change{}
	for i := range changes {
		if changes[i].PsUserID == id {
			out = append(out, changes[i])
		}
	}
	return out, nil
}

// putSwitches turns the switches that the body names and leaves the others.
func (s *Sim) putSwitches(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return s.turn(r.FormValue("plan"), body)
}

func (s *Sim) turn(plan string, body []byte) (any, error) {
	var sw Switches
	if err := decode(bytes.NewReader(body), &sw); err != nil {
		return nil, err
	}
	err := s.Configure(plan, func(sw *Switches) {
		// Lists and maps are shared with requests on their way: JSON must not write into them.
		sw.GraphQL.Renamed = maps.Clone(sw.GraphQL.Renamed)
		sw.GraphQL.Hidden = slices.Clone(sw.GraphQL.Hidden)
		sw.GraphQL.BetaFields = slices.Clone(sw.GraphQL.BetaFields)
		sw.GraphQL.Warnings = slices.Clone(sw.GraphQL.Warnings)
		sw.Deprovision.RefuseRows = slices.Clone(sw.Deprovision.RefuseRows)
		_ = json.Unmarshal(body, sw) // decoded above
	})
	if err != nil {
		return nil, err
	}
	return s.Switches(plan)
}

func (s *Sim) postFaults(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	return s.scriptJSON(body)
}

// scriptJSON injects one fault or a list of them.
func (s *Sim) scriptJSON(body []byte) (any, error) {
	var faults []Fault
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		body = append(append([]byte("["), body...), ']')
	}
	if err := decode(bytes.NewReader(body), &faults); err != nil {
		return nil, err
	}
	ids, err := s.Inject(faults...)
	return map[string][]string{"ids": ids}, err
}

func (s *Sim) postAdvance(r *http.Request) (any, error) {
	var body struct {
		By Duration `json:"by"`
	}
	if err := decode(r.Body, &body); err != nil {
		return nil, err
	}
	if body.By <= 0 {
		return nil, errors.New("by must be above 0")
	}
	s.Advance(time.Duration(body.By))
	return map[string]time.Time{"now": s.Now()}, nil
}

func (s *Sim) postKey(r *http.Request) (any, error) {
	var body struct {
		Plan string `json:"plan"`
		Key  string `json:"key"`
	}
	if err := decode(r.Body, &body); err != nil {
		return nil, err
	}
	return struct{}{}, s.SetKey(body.Plan, body.Key)
}
