package publisher

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/roster"
)

// books are what the judges remember of a history.
type books struct {
	paused bool
	// released is the hold of a sweep that a person released.
	released map[string]int
	// gone are the people, by address, who were deleted for a sweep.
	gone map[string]map[string]bool
	// concluded is the newest sweep, by its number, that was told to be published.
	concluded int
	// answered are the requests that were told something, final those that were told their end. A hold that a newer
	// sweep takes the place of has none.
	answered map[string]bool
	final    map[string]string
	told     map[string]time.Time
	// counted are the sweeps, by number, in the order in which the ledger says that it took them for evidence.
	counted []int
}

func newBooks() books {
	return books{released: map[string]int{}, gone: map[string]map[string]bool{}, concluded: -1, answered: map[string]bool{}, final: map[string]string{}, told: map[string]time.Time{}}
}

// judgeTold: what a requester is told is true, and is told once.
func (w *simWorld) judgeTold(header nats.Header, body []byte) {
	e, err := events.Read(header, body)
	if err != nil {
		simulation.Violated("I-01", "an answer that cannot be read: %v", err)
	}
	var said events.RosterPublished
	if err := json.Unmarshal(e.Data, &said); err != nil {
		simulation.Violated("I-01", "an answer that cannot be read: %v", err)
	}
	if at, again := w.books.told[e.ID]; again && time.Since(at) < window {
		simulation.Violated("I-11", "one answer twice")
	}
	w.books.told[e.ID] = time.Now()
	if before := w.books.final[said.RequestID]; before != "" && before != said.Outcome {
		simulation.Violated("I-01", "%s was told %s, then %s", said.RequestID, before, said.Outcome)
	}
	w.books.answered[said.RequestID] = true
	if said.Outcome != events.OutcomeHeld {
		w.books.final[said.RequestID] = said.Outcome
	}
	if said.Outcome != events.OutcomePublished && said.Outcome != events.OutcomeUnchanged {
		return
	}
	n := slices.IndexFunc(w.sweeps, func(s simSweep) bool { return s.manifest.SweepID == said.SweepID })
	if !w.sweeps[n].whole {
		simulation.Violated("I-05", "%s was published and is not whole", said.SweepID)
	}
	w.books.concluded = max(w.books.concluded, n)
}

// end ends a history: all is well from now on, persons release, and each sweep is published. A few sweeps later Productiv
// shows the plan, and one more changes nothing.
func (w *simWorld) end() {
	w.calm = true
	w.pause(false)
	for range 4 {
		pass(time.Hour) // longer than any list lags behind
		w.sweep()
		w.settle()
	}
	w.judgeList()
	for _, s := range w.sweeps {
		if id := "request-" + strings.TrimPrefix(s.manifest.SweepID, "sweep-"); !w.books.answered[id] {
			simulation.Violated("I-01", "%s was never answered", id)
		}
	}
	before := w.app.writes
	pass(time.Hour)
	w.sweep()
	w.settle()
	p := w.publication()
	last := p.Record(w.sweeps[len(w.sweeps)-1].manifest.SweepID)
	if w.app.refuses == "" && (w.app.writes != before || last.State != roster.StateUnchanged) {
		simulation.Violated("I-21", "nothing changed, and yet %d calls, %s %q", w.app.writes-before, last.State, last.Reason)
	}
}

// settle delivers until nothing is left, and releases what is held.
func (w *simWorld) settle() {
	for step := 0; ; step++ {
		if step == 300 {
			simulation.Violated("I-16", "not settled after %d steps", step)
		}
		w.deliver()
		w.decide(true)
		if p := w.publication(); w.lane.Quiet() && p.Held() == nil {
			return
		}
		pass(time.Second)
	}
}

// judgeList: everybody active is listed as they are; and nobody else of ours, where the mode sees to that.
func (w *simWorld) judgeList() {
	sweep := w.sweeps[len(w.sweeps)-1]
	if w.app.replaces && w.app.refuses != "" {
		return // one person whom Productiv refuses holds up the whole list, and the outcome says so
	}
	for _, p := range sweep.people {
		if p.Disposition != roster.Active || shares(sweep.people, p.Email) || p.PsUserID == w.app.refuses {
			continue
		}
		if !slices.ContainsFunc(w.app.entries, func(e simEntryOf) bool {
			return e.AppUserID == p.PsUserID && e.Email == p.Email && e.License == p.License
		}) {
			simulation.Violated("I-16", "%s is not listed as they are: %+v", p.PsUserID, w.app.entries)
		}
	}
	for _, e := range w.app.entries {
		if !e.ours || w.c.Productiv.Mode == modeAppend {
			continue
		}
		if !slices.ContainsFunc(sweep.people, func(p roster.Person) bool {
			return p.Disposition == roster.Active && (p.PsUserID == e.AppUserID || strings.EqualFold(p.Email, e.Email))
		}) {
			simulation.Violated("I-16", "%s %s is still listed", e.AppUserID, e.Email)
		}
	}
}
