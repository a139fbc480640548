package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/brokermodel"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// simWorld is everything around one connection, on the clock of its bubble.
type simWorld struct {
	simulation.Dice
	trace   *simulation.Trace
	c       config.Connection
	began   time.Time
	streams map[string]*brokermodel.Stream
	lane    *brokermodel.Consumer
	state   simState
	app     *simApp
	// people is the plan as it is now; sweeps are what was read of it.
	people    []roster.Person
	serial    int
	sweeps    []simSweep
	calm      bool
	processes int
	books     books
}

type simSweep struct {
	manifest roster.Manifest
	people   []roster.Person
	// whole says that the pages are there and agree with the manifest.
	whole   bool
	request uint64
}

const connection = "acme"

func newSimWorld(d simulation.Dice, tr *simulation.Trace) *simWorld {
	w := &simWorld{
		Dice: d, trace: tr, c: config.DefaultConnection(connection), began: time.Now(), streams: map[string]*brokermodel.Stream{},
		state: simState{values: map[string]simValue{}}, books: newBooks(),
	}
	for _, s := range []string{streams.Sweeps, streams.Normalized, streams.Swept, streams.Plans, streams.Owned} {
		w.streams[s] = brokermodel.NewStream(brokermodel.StreamConfig{PerSubject: 1, Keyed: true})
	}
	w.streams[streams.Fetched] = brokermodel.NewStream(brokermodel.StreamConfig{})
	w.streams[streams.Outcomes] = brokermodel.NewStream(brokermodel.StreamConfig{Duplicates: window})
	w.lane = brokermodel.NewConsumer(w.streams[streams.Swept], brokermodel.ConsumerConfig{AckWait: streams.AckWait, MaxDeliver: -1, MaxAckPending: 1})
	p := config.DefaultProductiv("app")
	p.Mode = simulation.OneOf(w, "mode", modeReconcile, modeReconcile, modeAppend, modeReplaceSingle)
	p.BatchSize = 1 + w.Intn("batch", 4)
	if p.Mode == modeReplaceSingle {
		p.BatchSize = 1000
	}
	p.Adopt = simulation.Chance(w, "adopt", 4)
	w.c.Productiv = &p
	w.c.Guards = config.Guards{
		MaxRemovalPercent: simulation.OneOf(w, "percent", 100, 100, 34), MaxRemovals: simulation.OneOf(w, "removals", 1000, 1000, 2),
		MaxRemovalPercent24h: simulation.OneOf(w, "percent in a day", 1000, 100, 50), AllowEmpty: simulation.Chance(w, "empty", 2),
	}
	w.app = newSimApp(w)
	for range w.Intn("people", 8) {
		w.hire()
	}
	w.note("mode", p.Mode, "batches of", strconv.Itoa(p.BatchSize), fmt.Sprintf("%+v", w.c.Guards))
	return w
}

func (w *simWorld) note(parts ...string) {
	w.trace.Note(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).Add(time.Since(w.began)), parts...)
}

// happen is one thing that may happen next.
func (w *simWorld) happen() {
	switch w.Intn("op", 12) {
	case 0, 1, 2:
		w.live()
	case 3, 4, 5:
		w.live()
		w.sweep()
	case 6:
		w.decide(simulation.Chance(w, "release", 2))
	case 7:
		w.pause(!w.books.paused)
	case 8:
		pass(time.Duration(1+w.Intn("minutes", 1800)) * time.Minute)
	default:
		w.deliver()
	}
}

// pass lets time pass.
func pass(d time.Duration) { <-time.After(d) }

func (w *simWorld) hire() {
	w.serial++
	w.people = append(w.people, active(fmt.Sprint("u", w.serial), fmt.Sprintf("p%d@x", w.serial)))
}

// live is what happens to people on the plan between two sweeps.
func (w *simWorld) live() {
	if len(w.people) == 0 || simulation.Chance(w, "hire", 3) {
		w.hire()
		return
	}
	i := w.Intn("who", len(w.people))
	p := &w.people[i]
	switch w.Intn("what", 8) {
	case 0, 1:
		p.Disposition = roster.Removed
	case 2:
		p.Disposition = roster.Active
	case 3:
		w.people = slices.Delete(w.people, i, i+1) // gone without a mark
	case 4:
		p.License = simulation.OneOf(w, "licence", "", "Starter", "Enterprise")
	case 5:
		w.serial++
		p.Email = fmt.Sprintf("q%d@x", w.serial)
	case 6: // the same person under another id
		w.serial++
		again := *p
		again.PsUserID = fmt.Sprint("v", w.serial)
		p.Disposition = roster.Removed
		w.people = append(w.people, again)
	default: // two people with one address: neither can be published
		p.Email = w.people[w.Intn("as", len(w.people))].Email
	}
}

// sweep is a request and what fetcher and normalizer make of it: whole, or not.
func (w *simWorld) sweep() {
	n := len(w.sweeps) + 1
	s := simSweep{whole: true, people: slices.Clone(w.people), manifest: roster.Manifest{
		Connection: connection, SweepID: fmt.Sprint("sweep-", n), Nodes: len(w.people), Total: len(w.people), Started: time.Now(), Finished: time.Now(),
	}}
	m := &s.manifest
	s.request = w.store(streams.Sweeps, streams.SweepAcceptedSubject, roster.AcceptedSync{RequestID: fmt.Sprint("request-", n)}, fmt.Sprint("request-", n))
	m.After, m.Through = s.request-1, s.request
	lost := -1
	if !w.calm && simulation.Chance(w, "unsound", 5) {
		s.whole = false
		switch w.Intn("how", 4) {
		case 0:
			m.Failure, m.Detail = "loop", "loop"
		case 1:
			m.Total++
		case 2:
			lost = 0
		default:
			lost = 1000 // a page is another one than was fetched
		}
	}
	for i, chunk := range slices.Collect(slices.Chunk(s.people, 3)) {
		m.Pages++
		source := roster.Hash(fmt.Append(nil, m.SweepID, m.Pages))
		m.Root = roster.Chain(m.Root, source)
		if i == 0 && lost == 1000 {
			source = roster.Hash(nil)
		}
		if i != lost {
			w.store(streams.Normalized, streams.UsersNormalizedSubject, roster.Page{Kind: roster.Users, Source: source, People: chunk}, m.SweepID, roster.PageToken(m.Pages, 1))
		}
	}
	s.whole = s.whole || lost >= 0 && m.Pages == 0
	m.Spans = []roster.Span{{Generation: 1, From: 1, To: m.Pages}}
	w.sweeps = append(w.sweeps, s)
	w.store(streams.Swept, streams.UsersSweptSubject, m, m.SweepID)
}

func (w *simWorld) store(stream, base string, value any, tokens ...string) uint64 {
	body, err := json.Marshal(value)
	if err != nil {
		simulation.Violated("I-01", "encode: %v", err)
	}
	subject := events.Subject(base, append([]string{connection}, tokens...)...)
	sequence, _, err := w.streams[stream].Publish(time.Now(), brokermodel.Message{Subject: subject, Body: body}, nil)
	if err != nil {
		return 0 // a decision that somebody made before
	}
	w.note("stored", subject, string(body))
	return sequence
}

// publication is what the connection remembers.
func (w *simWorld) publication() (p roster.Publication) {
	if v, ok := w.state.values[roster.PublicationKey(connection)]; ok {
		_ = json.Unmarshal(v.body, &p) // it was written by us
	}
	return p
}

// decide is a person's word about the hold, if there is one.
func (w *simWorld) decide(release bool) {
	p := w.publication()
	held := p.Held()
	if held == nil {
		return
	}
	d := roster.Decision{Release: release, By: "grace", At: time.Now()}
	if w.store(streams.Swept, streams.PublicationDecidedSubject, d, held.SweepID, strconv.Itoa(held.Holds)) > 0 && release {
		w.books.released[held.SweepID] = held.Holds
	}
}

func (w *simWorld) pause(paused bool) {
	if err := state.SetPaused(context.Background(), w.store0(), connection, paused, time.Now()); err != nil {
		simulation.Violated("I-25", "pause: %v", err)
	}
	w.books.paused = paused
	w.note("paused", strconv.FormatBool(paused))
}

// store0 is the state without any process around it.
func (w *simWorld) store0() *state.Store { return state.New(simKV{state: &w.state}, simStore{w}) }
