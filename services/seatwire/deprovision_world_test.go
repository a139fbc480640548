package seatwire

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	locks "sync" // this package has a function of that name
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// patience is how long a test waits for what must happen; one that passes never waits that long.
const patience = 60 * time.Second

// exits is a world with leavers: another system that asks for licences back and hears what became of each request.
type exits struct {
	*world
	session *session
	began   time.Time // of every event that does not say, so that a repeat is one

	mu    locks.Mutex
	told  []toldEvent
	count map[string]int // of told, by state; "settled" is one
	heard chan struct{}
}

// toldEvent is one event of the deprovisioner, as it is on the wire.
type toldEvent struct {
	subject string
	header  nats.Header
	body    []byte
	event   events.Event
}

// settings are those of the connection's deprovision section.
type settings map[string]string

// swift are settings under which a test is quick and no guard strikes.
var swift = settings{
	"apply": "auto", "batchMaxAge": "200ms", "batchMaxUsers": "200", "verifyEvery": "100ms", "verifyWithin": "90s",
	"maxUsersPerBatchAuto": "1000", "maxUsers24hAuto": "10000",
}

// newExits starts both vendors with n generated people, and nothing of ours: see begin.
func newExits(t *testing.T, n int, own settings, tweaks ...tweak) *exits {
	t.Helper()
	all := maps.Clone(swift)
	maps.Copy(all, own)
	var members []string
	for _, name := range sortedKeys(all) {
		if all[name] != "" { // the program's own default
			members = append(members, name+": "+all[name])
		}
	}
	section := func(s string) string { return s + "    deprovision: {" + strings.Join(members, ", ") + "}\n" }
	// What is lost on the way may still be carried out for callTimeout, so that is how long doubt lasts.
	tweaks = append([]tweak{section, replaceText("callTimeout: 5s", "callTimeout: 1s")}, tweaks...)
	return &exits{world: newWorld(t, n, tweaks...), began: time.Now().UTC(), count: map[string]int{}, heard: make(chan struct{}, 1)}
}

// begin starts the pipeline and listens to what the world is told.
func (w *exits) begin() *exits {
	w.t.Helper()
	w.up()
	cfg, err := config.Load(w.configFile)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.session, err = open(w.t.Context(), cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.session.close)
	consumer, err := w.session.conn.JS().OrderedConsumer(w.t.Context(), streams.Outcomes, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.Subject(events.DeprovisionProgressedSubject, ">"), events.Subject(events.DeprovisionSettledSubject, ">")},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	running, err := consumer.Consume(w.hear)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(running.Stop)
	return w
}

func (w *exits) hear(msg jetstream.Msg) {
	e, err := events.Read(msg.Headers(), msg.Data())
	if err != nil {
		w.t.Errorf("%s holds what is no event: %v", msg.Subject(), err)
		return
	}
	state := events.DeprovisionProgressed{State: "settled"}
	if e.Type == events.DeprovisionProgressedType {
		w.decode(e.Data, &state)
	}
	w.mu.Lock()
	w.told = append(w.told, toldEvent{msg.Subject(), msg.Headers(), msg.Data(), e})
	w.count[state.State]++
	w.mu.Unlock()
	select {
	case w.heard <- struct{}{}:
	default:
	}
}

// await waits until what was told satisfies ready.
func (w *exits) await(what string, ready func() bool) {
	w.t.Helper()
	late := time.After(patience)
	for !ready() {
		select {
		case <-w.heard:
		case <-late:
			counts, err := w.session.ledger().ByState(context.Background(), testPlan)
			for _, r := range last(w.pluralsight.Requests(), 8) {
				w.t.Logf("Pluralsight was asked %s %+v %+v and answered %d", r.Path, r.GraphQL, r.Deprovision, r.Status)
			}
			w.t.Fatalf("not within %s: %s; requests: %v %v", patience, what, counts, err)
		}
	}
}

// awaitTold waits until n events have told a state.
func (w *exits) awaitTold(state string, n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("%d %s", n, state), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.count[state] >= n
	})
}

// last returns the last n elements.
func last[T any](all []T, n int) []T { return all[max(0, len(all)-n):] }

// eventually waits for what only the broker or the simulator knows.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	natstest.Eventually(w.t, patience, what, func(context.Context) bool { return condition() })
}

// outcomes waits until n requests are settled and returns them by "publisher id". A second outcome fails the test.
func (w *exits) outcomes(n int) map[string]events.DeprovisionSettled {
	w.t.Helper()
	w.awaitTold("settled", n)
	w.mu.Lock()
	defer w.mu.Unlock()
	by := map[string]events.DeprovisionSettled{}
	for _, e := range w.told {
		if e.event.Type != events.DeprovisionSettledType {
			continue
		}
		var s events.DeprovisionSettled
		w.decode(e.event.Data, &s)
		key := events.Tokens(events.DeprovisionSettledSubject, e.subject)[1] + " " + s.RequestID
		if _, again := by[key]; again {
			w.t.Fatalf("%s was settled twice", key)
		}
		by[key] = s
	}
	return by
}

// progress returns the states that were told of one request, in order.
func (w *exits) progress(source, id string) (states []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.told {
		var p events.DeprovisionProgressed
		if e.event.Type != events.DeprovisionProgressedType {
			continue
		}
		if w.decode(e.event.Data, &p); p.RequestID == id && strings.HasSuffix(e.subject, "."+source) {
			states = append(states, p.State)
		}
	}
	return states
}

// awaitState waits until a request is told to be, or to have been, in a state.
func (w *exits) awaitState(source, id, state string) {
	w.t.Helper()
	w.await(id+" "+state, func() bool { return slices.Contains(w.progress(source, id), state) })
}

func (w *exits) decode(data []byte, into any) {
	if err := json.Unmarshal(data, into); err != nil {
		w.t.Errorf("%s: %v", data, err)
	}
}

// request is an event as another system publishes it; zero members have the usual values.
type request struct {
	source, id string
	email      string         // short for data
	data       map[string]any // of the event
	time       string         // "-" for none
	kind       string         // type attribute
}

// msg is the event in binary mode, and without a message id, which nobody is asked for.
func (w *exits) msg(r request) *nats.Msg {
	if r.data == nil {
		r.data = map[string]any{"email": r.email, "reason": "left"}
	}
	body, err := json.Marshal(r.data)
	if err != nil {
		w.t.Fatal(err)
	}
	if r.kind == "" {
		r.kind = events.DeprovisionRequestedType
	}
	header := nats.Header{
		"Content-Type": {"application/json"}, "ce-specversion": {"1.0"}, "ce-id": {r.id}, "ce-source": {"/" + r.source},
		"ce-type": {r.kind}, "ce-time": {w.began.Format(time.RFC3339Nano)},
	}
	if r.time != "" {
		header.Set("ce-time", r.time)
	}
	if r.time == "-" {
		header.Del("ce-time")
	}
	return &nats.Msg{Subject: events.Subject(events.DeprovisionRequestedSubject, testPlan, r.source), Header: header, Data: body}
}

// ask publishes requests in order and returns when all are stored.
func (w *exits) ask(requests ...request) {
	w.t.Helper()
	js := w.session.conn.JS()
	for together := range slices.Chunk(requests, 1000) { // the client lets no more be unacknowledged than 4000
		var acks []jetstream.PubAckFuture
		for _, r := range together {
			ack, err := js.PublishMsgAsync(w.msg(r))
			if err != nil {
				w.t.Fatal(err)
			}
			acks = append(acks, ack)
		}
		for _, ack := range acks {
			select {
			case <-ack.Ok():
			case err := <-ack.Err():
				w.t.Fatal(err)
			}
		}
	}
}

// cancel withdraws the request target of source.
func (w *exits) cancel(source, id, target string) {
	w.t.Helper()
	m := w.msg(request{source: source, id: id, kind: events.DeprovisionCancelledType, time: time.Now().UTC().Format(time.RFC3339Nano),
		data: map[string]any{"source": "/" + source, "id": target, "reason": "stays"}})
	m.Subject = events.Subject(events.DeprovisionCancelledSubject, testPlan, source)
	if _, err := w.session.conn.JS().PublishMsg(w.t.Context(), m); err != nil {
		w.t.Fatal(err)
	}
}

// staff returns n people whose licences may be taken: on the account, with an address, no admins.
func (w *exits) staff(n int) []pluralsightsim.Person {
	w.t.Helper()
	all, err := w.pluralsight.People(testPlan, 0, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(p pluralsightsim.Person) bool {
		return p.IsOnAccount != pluralsightsim.Yes || p.NeverLicensed || p.Admin || p.Email == ""
	})
	if len(all) < n {
		w.t.Fatalf("%d people are to leave, and there are %d", n, len(all))
	}
	return all[:n]
}

func (w *exits) add(p pluralsightsim.Person) pluralsightsim.Person {
	w.t.Helper()
	if p.StartedOn.IsZero() { // licensed long before anybody asked
		p.StartedOn = w.began.Add(-1000 * time.Hour)
	}
	p, err := w.pluralsight.AddPerson(testPlan, p)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *exits) edit(p pluralsightsim.Person, change func(*pluralsightsim.Person)) {
	w.t.Helper()
	if err := w.pluralsight.EditPerson(testPlan, p.PsUserID, change); err != nil {
		w.t.Fatal(err)
	}
}

// speak turns switches of the simulated endpoint.
func (w *exits) speak(change func(*pluralsightsim.DeprovisionSwitches)) {
	w.t.Helper()
	if err := w.pluralsight.Configure(testPlan, func(s *pluralsightsim.Switches) { change(&s.Deprovision) }); err != nil {
		w.t.Fatal(err)
	}
}
