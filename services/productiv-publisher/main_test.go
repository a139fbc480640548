package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; a passing test never waits that long.
const patience = 20 * time.Second

// start is the time of every test's clock.
var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

// broker is one embedded server for many connections: the tests of a story each have their own name on it.
type broker struct {
	t    *testing.T
	conn *bus.Conn
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), MaxStore: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{InProcess: server.InProcess()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if err := streams.Ensure(ctx, conn.JS(), streams.For(config.Default())); err != nil {
		t.Fatal(err)
	}
	return &broker{t: t, conn: conn}
}

// world is one connection: its app at Productiv, its settings and what was swept for it.
type world struct {
	t    *testing.T
	b    *broker
	c    config.Connection
	app  *app
	now  time.Time
	tick time.Duration // by how much the clock moves each time somebody looks at it
	js   jetstream.JetStream
	pub  Publisher
	next uint64 // sweeps so far
	// dies, when set, ends the process at one of its effects.
	dies *death
}

// newWorld has guards that let everything through; a test about guards sets its own.
func (b *broker) newWorld(t *testing.T, name string, change ...func(*world)) *world {
	t.Helper()
	w := &world{
		t: t, b: b, c: config.DefaultConnection(name), now: start, js: b.conn.JS(), pub: bus.NewPublisher(b.conn),
		app: &app{key: byID, pageSize: 3},
	}
	p := config.DefaultProductiv("app")
	w.c.Productiv = &p
	w.c.Guards = config.Guards{MaxRemovalPercent: 100, MaxRemovals: 1000, MaxRemovalPercent24h: 1000, AllowEmpty: true}
	for _, f := range change {
		f(w)
	}
	return w
}

func mode(m string) func(*world) { return func(w *world) { w.c.Productiv.Mode = m } }

func batches(size int) func(*world) { return func(w *world) { w.c.Productiv.BatchSize = size } }

func guards(g config.Guards) func(*world) { return func(w *world) { w.c.Guards = g } }

// keys says how the app tells its entries apart, which Productiv does not document.
func keys(k func(productiv.User) string) func(*world) { return func(w *world) { w.app.key = k } }

// ours is a lane that nobody else wants.
type ours struct{}

func (ours) Renew(context.Context) error { return nil }

// lane is the publisher as a newly started process has it.
func (w *world) lane() *lane {
	w.t.Helper()
	store, err := state.Open(w.t.Context(), w.dies.js(w.js))
	if err != nil {
		w.t.Fatal(err)
	}
	l := &lane{connection: w.c, maxStalls: 3, deps: Deps{
		Log: slog.New(slog.DiscardHandler), Streams: streams.At(w.js), Publisher: w.pub, State: store, Now: func() time.Time { w.now = w.now.Add(w.tick); return w.now },
	}}
	if w.c.Productiv != nil {
		l.app = w.app
	}
	if w.dies != nil {
		w.dies.take(l)
	}
	return l
}

func (w *world) turn() *turn {
	return &turn{lane: w.lane(), delivery: bus.Delivery{Lease: ours{}}, refused: map[personKey]struct{}{}}
}

func active(id, email string) roster.Person {
	return roster.Person{PsUserID: id, Email: email, Disposition: roster.Active}
}

func gone(id, email string) roster.Person {
	return roster.Person{PsUserID: id, Email: email, Disposition: roster.Removed}
}

// crowd is n active people u0, u1, …
func crowd(n int) (people []roster.Person) {
	for i := range n {
		people = append(people, active(fmt.Sprint("u", i), fmt.Sprintf("u%d@x", i)))
	}
	return people
}

// leave marks some of the people as removed from the plan.
func leave(people []roster.Person, ids ...string) []roster.Person {
	people = slices.Clone(people)
	for i := range people {
		if slices.Contains(ids, people[i].PsUserID) {
			people[i].Disposition = roster.Removed
		}
	}
	return people
}

// sweep is a request, the pages that answer it, and their manifest, as fetcher and normalizer leave them.
func (w *world) sweep(people []roster.Person, change ...func(*roster.Manifest)) roster.Manifest {
	w.t.Helper()
	w.next++
	m := roster.Manifest{
		Connection: w.c.Name, SweepID: fmt.Sprint("sweep-", w.next), Licenses: 9, Assigned: 8, Started: w.now, Finished: w.now,
		Nodes: len(people), Total: distinct(people),
	}
	m.Through = w.ask(fmt.Sprint("request-", w.next))
	m.After = m.Through - 1
	for chunk := range slices.Chunk(people, 3) {
		m.Pages++
		source := roster.Hash(fmt.Append(nil, m.SweepID, m.Pages))
		w.store(streams.UsersNormalizedSubject, roster.Page{Kind: roster.Users, Source: source, People: chunk}, m.SweepID, roster.PageToken(m.Pages, 1))
		m.Root = roster.Chain(m.Root, source)
	}
	m.Spans = []roster.Span{{Generation: 1, From: 1, To: m.Pages}}
	for _, f := range change {
		f(&m)
	}
	w.store(streams.UsersSweptSubject, m, m.SweepID)
	return m
}

func distinct(people []roster.Person) int {
	ids := map[string]struct{}{}
	for _, p := range people {
		ids[p.PsUserID] = struct{}{}
	}
	return len(ids)
}

// ask stores an accepted request and returns its sequence.
func (w *world) ask(id string) uint64 {
	return w.store(streams.SweepAcceptedSubject, roster.AcceptedSync{RequestID: id}, id)
}

func (w *world) store(base string, value any, tokens ...string) uint64 {
	w.t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	ack, err := w.b.conn.JS().Publish(w.t.Context(), events.Subject(base, append([]string{w.c.Name}, tokens...)...), body)
	if err != nil {
		w.t.Fatal(err)
	}
	return ack.Sequence
}

// deliver hands a manifest to a process.
func (w *world) deliver(ctx context.Context, l *lane, m roster.Manifest) error {
	body, err := json.Marshal(m)
	if err != nil {
		w.t.Fatal(err)
	}
	return l.deliver(ctx, bus.Delivery{Subject: events.Subject(streams.UsersSweptSubject, w.c.Name, m.SweepID), Lease: ours{}}, body)
}

// publish sweeps people and publishes them; it returns what was told.
func (w *world) publish(people []roster.Person, change ...func(*roster.Manifest)) events.RosterPublished {
	w.t.Helper()
	return w.finish(w.sweep(people, change...))
}

func (w *world) finish(m roster.Manifest) events.RosterPublished {
	w.t.Helper()
	if err := w.deliver(w.t.Context(), w.lane(), m); err != nil {
		w.t.Fatal(err)
	}
	told := w.told()
	return told[len(told)-1]
}

// decide is a person's word about the hold of a sweep.
func (w *world) decide(sweep string, hold int, release bool) events.RosterPublished {
	w.t.Helper()
	if err := w.decided(w.lane(), sweep, hold, release); err != nil {
		w.t.Fatal(err)
	}
	told := w.told()
	return told[len(told)-1]
}

func (w *world) decided(l *lane, sweep string, hold int, release bool) error {
	body, err := json.Marshal(roster.Decision{Release: release, By: "grace", At: w.now})
	if err != nil {
		w.t.Fatal(err)
	}
	subject := events.Subject(streams.PublicationDecidedSubject, w.c.Name, sweep, strconv.Itoa(hold))
	return l.deliver(w.t.Context(), bus.Delivery{Subject: subject, Lease: ours{}}, body)
}

// told is what was said to requesters, oldest first.
func (w *world) told() (all []events.RosterPublished) {
	w.t.Helper()
	subject := events.Subject(events.RosterPublishedSubject, w.c.Name)
	for msg, err := range streams.Read(w.t.Context(), w.b.conn.JS(), streams.Outcomes, subject, 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		e, err := events.Read(msg.Header, msg.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		var data events.RosterPublished
		if err := json.Unmarshal(e.Data, &data); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

func (w *world) state() *roster.Publication {
	w.t.Helper()
	p := &roster.Publication{}
	if _, err := w.lane().deps.State.Get(w.t.Context(), roster.PublicationKey(w.c.Name), p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) pause(paused bool) {
	w.t.Helper()
	if err := state.SetPaused(w.t.Context(), w.lane().deps.State, w.c.Name, paused, w.now); err != nil {
		w.t.Fatal(err)
	}
}

// expect compares what was told, counts included.
func (w *world) expect(got events.RosterPublished, outcome, reason string, counts events.Counts) {
	w.t.Helper()
	if got.Outcome != outcome || !strings.HasPrefix(got.Reason, reason) || reason == "" && got.Reason != "" || got.Counts != counts {
		w.t.Errorf("%s %q %+v\nwant %s %q %+v", got.Outcome, got.Reason, got.Counts, outcome, reason, counts)
	}
}

// lists compares Productiv's list.
func (w *world) lists(want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.app.list(); !slices.Equal(got, want) {
		w.t.Errorf("Productiv lists %q, want %q", got, want)
	}
}

// Ways to tell entries apart.
func byID(u productiv.User) string    { return u.AppUserID }
func byEmail(u productiv.User) string { return strings.ToLower(u.Email) }
func byPair(u productiv.User) string  { return u.AppUserID + " " + strings.ToLower(u.Email) }

// app is Productiv's list, with any of the behaviours that its documentation leaves open.
type app struct {
	key      func(productiv.User) string
	pageSize int
	// replaces makes each call of Add the whole list.
	replaces bool
	// refuses are ids that make Productiv refuse a call; tooLarge is how many people are too many, 0 for none.
	refuses  []string
	tooLarge int
	// keeps is an id that no deletion takes away.
	keeps string
	// before is asked at each call that writes, by kind ("add", "remove"): its error is the answer.
	before func(kind string, users []productiv.User) error
	// after is asked once the call was carried out.
	after func(kind string) error

	mu      sync.Mutex
	entries []productiv.User
	// sent are the calls that wrote, as "add u1 u2".
	sent  []string
	reads int
}

func (a *app) Users(ctx context.Context, token string) (productiv.Page, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	from, _ := strconv.Atoi(token)
	to := min(from+a.pageSize, len(a.entries))
	page := productiv.Page{Users: slices.Clone(a.entries[from:to])}
	if to < len(a.entries) {
		page.Next = strconv.Itoa(to)
	}
	return page, ctx.Err()
}

func (a *app) Add(ctx context.Context, body []byte) error {
	users, err := a.take(ctx, "add", body)
	if err != nil {
		return err
	}
	a.mu.Lock()
	if a.replaces {
		a.entries = nil
	}
	for _, u := range users {
		a.entries = slices.DeleteFunc(a.entries, func(e productiv.User) bool { return a.key(e) == a.key(u) })
		a.entries = append(a.entries, u)
	}
	a.mu.Unlock()
	return a.answered("add")
}

func (a *app) Remove(ctx context.Context, body []byte) (productiv.Removed, error) {
	users, err := a.take(ctx, "remove", body)
	if err != nil {
		return productiv.Removed{}, err
	}
	a.mu.Lock()
	before := len(a.entries)
	for _, u := range users {
		a.entries = slices.DeleteFunc(a.entries, func(e productiv.User) bool { return a.key(e) == a.key(u) && e.AppUserID != a.keeps })
	}
	n := before - len(a.entries)
	a.mu.Unlock()
	return productiv.Removed{Count: n, All: n == len(users)}, a.answered("remove")
}

func (a *app) answered(kind string) error {
	if a.after == nil {
		return nil
	}
	return a.after(kind)
}

func (a *app) take(ctx context.Context, kind string, body []byte) ([]productiv.User, error) {
	var call struct {
		Users []productiv.User `json:"provisionedUsers"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		return nil, err
	}
	line := kind
	for _, u := range call.Users {
		line += " " + u.AppUserID
	}
	a.mu.Lock()
	a.sent = append(a.sent, line)
	a.mu.Unlock()
	if a.before != nil {
		if err := a.before(kind, call.Users); err != nil {
			return nil, err
		}
	}
	if a.tooLarge > 0 && len(call.Users) >= a.tooLarge {
		return nil, fault.New(fault.Permanent, "too-large", "413")
	}
	for _, u := range call.Users {
		if slices.Contains(a.refuses, u.AppUserID) {
			return nil, fault.New(fault.Permanent, "refused", "400")
		}
	}
	return call.Users, ctx.Err()
}

// list is the entries, sorted, as "id email".
func (a *app) list() (lines []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.entries {
		lines = append(lines, u.AppUserID+" "+u.Email)
	}
	slices.Sort(lines)
	return lines
}

func (a *app) seed(entries ...string) {
	for _, e := range entries {
		id, email, _ := strings.Cut(e, " ")
		a.entries = append(a.entries, productiv.User{AppUserID: id, Email: email})
	}
}

// calls returns what was sent since the last question.
func (a *app) calls() (sent []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sent, a.sent = a.sent, nil
	return sent
}

// lines are the list entries of people.
func lines(people []roster.Person) (out []string) {
	for _, p := range people {
		out = append(out, p.PsUserID+" "+p.Email)
	}
	return out
}
