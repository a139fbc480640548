package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
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

var errCrash = errors.New("the process died")

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
func (w *simWorld) store0() *state.Store {
	s, err := state.Open(context.Background(), simJS{state: &w.state}, streams.State)
	if err != nil {
		simulation.Violated("I-25", "open: %v", err)
	}
	return s
}

// deliver hands one message to a newly started process, and settles it as the router does.
func (w *simWorld) deliver() {
	d, any := w.lane.Pull(time.Now())
	if !any {
		return
	}
	w.processes++
	mine := &process{w: w, number: w.processes, delivery: d}
	w.note("delivered", d.Subject, strconv.Itoa(d.Delivered))
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	mine.stop = stop
	err := mine.lane().deliver(ctx, bus.Delivery{Subject: d.Subject, Sequence: d.Sequence, Delivered: uint64(d.Delivered), Lease: mine}, d.Body)
	switch {
	case mine.dead:
		w.note("died")
		pass(streams.AckWait)
	case err == nil && mine.owns():
		w.lane.Ack(d.Sequence)
		w.note("acknowledged", d.Subject)
	case mine.owns():
		w.note("given back", err.Error())
		w.lane.Nak(d.Sequence, time.Second, time.Now())
		pass(time.Second)
	}
}

// process is one replica at work on one delivery.
type process struct {
	w        *simWorld
	number   int
	delivery brokermodel.Delivery
	stop     context.CancelFunc
	dead     bool
	hold     *laneHold
}

func (p *process) lane() *lane {
	w := p.w
	store, err := state.Open(context.Background(), simJS{state: &w.state, p: p}, streams.State)
	if err != nil {
		simulation.Violated("I-25", "open: %v", err)
	}
	l := &lane{connection: w.c, maxStalls: 3, deps: Deps{
		Log: slog.New(slog.DiscardHandler), Streams: simStore{w}, Publisher: p, State: store, Now: time.Now,
	}}
	p.hold = &l.hold
	l.app = simClient{w.app, p}
	return l
}

// owns is true for the newest delivery of a message: nobody pulled it since.
func (p *process) owns() bool { return p.w.lane.Delivered(p.delivery.Sequence) == p.delivery.Delivered }

// Renew implements bus.Lease.
func (p *process) Renew(context.Context) error {
	if !p.owns() {
		return errors.New("somebody else has the message")
	}
	p.w.lane.InProgress(p.delivery.Sequence, time.Now())
	return nil
}

// effect carries out one effect of a process, which may die before it or after it, or be frozen before it while another
// replica goes on.
func (p *process) effect(what string, do func() error) error {
	if p.dead {
		return errCrash
	}
	w := p.w
	if !w.calm && simulation.Chance(w, "frozen", 60) {
		w.note("frozen before", what)
		pass(streams.AckWait + time.Second)
		w.deliver()
	}
	if w.calm || !simulation.Chance(w, "dies", 50) {
		return do()
	}
	if simulation.Chance(w, "after", 2) {
		_ = do() // nobody hears of it
	}
	w.note("dies at", what)
	p.dead = true
	p.stop()
	return errCrash
}

// PublishMsg implements Publisher.
func (p *process) PublishMsg(_ context.Context, subject, id string, header nats.Header, body []byte) (ack *jetstream.PubAck, err error) {
	stream := streams.Outcomes
	switch {
	case strings.HasPrefix(subject, streams.PublicationChunkSubject):
		stream = streams.Plans
	case strings.HasPrefix(subject, streams.PublicationOwnedSubject):
		stream = streams.Owned
	}
	err = p.effect("message", func() error {
		sequence, again, err := p.w.streams[stream].Publish(time.Now(), brokermodel.Message{Subject: subject, ID: id, Header: header, Body: body}, nil)
		if errors.Is(err, brokermodel.ErrKeyExists) {
			return &jetstream.APIError{Code: 503, ErrorCode: 10077, Description: "maximum messages per subject exceeded"}
		}
		if stream == streams.Outcomes && !again {
			p.w.note("told", string(body))
			p.w.judgeTold(header, body)
		}
		ack = &jetstream.PubAck{Sequence: sequence, Duplicate: again}
		return nil
	})
	return ack, err
}

// simStore is the streams as their readers see them.
type simStore struct{ w *simWorld }

func (s simStore) Read(_ context.Context, stream, filter string, sequence uint64) iter.Seq2[*jetstream.RawStreamMsg, error] {
	return func(yield func(*jetstream.RawStreamMsg, error) bool) {
		for _, m := range slices.Clone(s.w.streams[stream].Messages()) {
			if m.Sequence >= sequence && matches(filter, m.Subject) &&
				!yield(&jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Header: m.Header, Data: m.Body}, nil) {
				return
			}
		}
	}
}

func (s simStore) Count(_ context.Context, stream, filter string) (n int, err error) {
	for _, m := range s.w.streams[stream].Messages() {
		if matches(filter, m.Subject) {
			n++
		}
	}
	return n, nil
}

func (s simStore) Purge(_ context.Context, stream, filter string) error {
	s.w.streams[stream].Purge(func(m brokermodel.Message) bool { return matches(filter, m.Subject) })
	return nil
}

// matches compares a subject with a filter that may have a * for a token.
func matches(filter, subject string) bool {
	for {
		f, restF, moreF := strings.Cut(filter, ".")
		s, restS, moreS := strings.Cut(subject, ".")
		if f != "*" && f != s || moreF != moreS {
			return false
		}
		if !moreF {
			return true
		}
		filter, subject = restF, restS
	}
}

// simState is a bucket: values under compare-and-set.
type simState struct {
	values map[string]simValue
	last   uint64
}

type simValue struct {
	body     []byte
	revision uint64
}

// simJS opens the bucket, for a process or for nobody.
type simJS struct {
	jetstream.JetStream
	state *simState
	p     *process
}

func (j simJS) KeyValue(context.Context, string) (jetstream.KeyValue, error) {
	return simKV{state: j.state, p: j.p}, nil
}

type simKV struct {
	jetstream.KeyValue
	state *simState
	p     *process
}

type simEntry struct {
	jetstream.KeyValueEntry
	v simValue
}

func (e simEntry) Value() []byte    { return e.v.body }
func (e simEntry) Revision() uint64 { return e.v.revision }

func (k simKV) Get(_ context.Context, key string) (jetstream.KeyValueEntry, error) {
	v, ok := k.state.values[key]
	if !ok {
		return nil, jetstream.ErrKeyNotFound
	}
	return simEntry{v: v}, nil
}

func (k simKV) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	return k.Update(ctx, key, value, k.state.values[key].revision)
}

func (k simKV) Update(_ context.Context, key string, value []byte, last uint64) (revision uint64, err error) {
	write := func() error {
		if k.state.values[key].revision != last {
			return &jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}
		}
		k.state.last++
		revision = k.state.last
		k.state.values[key] = simValue{slices.Clone(value), revision}
		return nil
	}
	if k.p == nil {
		err = write()
		return revision, err
	}
	err = k.p.effect("state", func() error {
		err := write()
		k.p.w.note("state", string(value), fmt.Sprint(err))
		return err
	})
	return revision, err
}
