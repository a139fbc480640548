package faultbench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// fate is what must become of a message.
type fate int

const (
	// settledOnce has one answer, whatever it is.
	settledOnce fate = iota
	// setAside is one dead letter.
	setAside
	// absorbed is nothing: an event that is known.
	absorbed
	// eitherWay is for control headers: the broker refuses them, or takes the message for what it is.
	eitherWay
)

// hostile is a kind of message from a publisher that is broken or means ill.
type hostile struct {
	name string
	fate fate
	make func(h *attack) *nats.Msg
}

// attack makes messages, each about a person of its own or about nobody.
type attack struct {
	*layoffs
	n int
	// good is the last good request, for those that come again. known are all: of two events of one identity the intake
	// takes the one that it reads first, so an impostor is sure to be one only when its original is long known.
	good  leaver
	known []leaver
}

func (h *attack) name() string { return fmt.Sprintf("h-%d", h.n) }

// about is a request for somebody who must stay, with the answer that is due.
func (h *attack) about(reason string, at time.Time, change func(*events.DeprovisionRequested)) *nats.Msg {
	h.spared[reason] = reason
	h.wanted["hr "+h.name()] = reason
	request := events.DeprovisionRequested{Email: "standing@" + h.connection + ".example.com"}
	if change != nil {
		change(&request)
	}
	data, _ := json.Marshal(request) // strings always encode
	return h.toAcme(structured(events.Event{ID: h.name(), Source: "/hr", Type: events.DeprovisionRequestedType, Time: at.UTC(), Data: data}))
}

func (h *attack) toAcme(m *nats.Msg) *nats.Msg {
	m.Subject = subject(events.DeprovisionRequestedSubject, h.connection, "hr")
	return m
}

// leaver is a good request.
func (h *attack) leaver() *nats.Msg {
	p, err := h.pluralsight.AddPerson(h.connection, newcomer(h.newAddress(h.rng, h.connection), h.rng.Uint64()))
	if err != nil {
		h.t.Fatal(err)
	}
	h.good = leaver{"hr", h.name(), p}
	h.known = append(h.known, h.good)
	h.want(h.good)
	return h.good.message(h.connection, h.began)
}

// binary is an event in binary mode that is good but for what change does to it.
func (h *attack) binary(change func(*nats.Msg)) *nats.Msg {
	m := h.toAcme(binaryMode(events.Event{
		ID: h.name(), Source: "/hr", Type: events.DeprovisionRequestedType, Time: time.Now(), Data: []byte(`{"email":"nobody@acme.example.com"}`),
	}))
	change(m)
	return m
}

// controlled is a good request, again, with a header that the broker acts on.
func controlled(name, value string) func(*attack) *nats.Msg {
	return func(h *attack) *nats.Msg {
		m := h.good.message(h.connection, h.began)
		m.Header.Set(name, value)
		return m
	}
}

var hostiles = []hostile{
	{"no JSON", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Data = []byte("canary@people.example.com " + keyPrefix) })
	}},
	{"nothing", setAside, func(h *attack) *nats.Msg { return h.toAcme(&nats.Msg{}) }},
	{"cut short", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Data = m.Data[:len(m.Data)-3] })
	}},
	{"not UTF-8", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Data = []byte("{\"email\":\"\xff\xfe@acme.example.com\"}") })
	}},
	{"too deep", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Data = []byte(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)) })
	}},
	{"too large", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Data = append(bytes.Repeat([]byte(" "), 129<<10), '{', '}') })
	}},
	{"a header twice", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Header["ce-id"] = []string{h.name(), "another"} })
	}},
	{"no id", setAside, func(h *attack) *nats.Msg { return h.binary(func(m *nats.Msg) { m.Header.Del("ce-id") }) }},
	{"an unknown connection", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Subject = subject(events.DeprovisionRequestedSubject, "nosuch", "hr") })
	}},
	{"an illegal source", setAside, func(h *attack) *nats.Msg {
		return h.binary(func(m *nats.Msg) { m.Subject = subject(events.DeprovisionRequestedSubject, h.connection, "No_Such") })
	}},
	{"a known identity with other content", setAside, func(h *attack) *nats.Msg {
		other := h.known[max(0, len(h.known)-50)]
		if len(h.known) < 50 {
			return h.toAcme(&nats.Msg{Data: []byte("too early")})
		}
		other.person.Email = "standing@" + h.connection + ".example.com"
		return other.message(h.connection, h.began)
	}},
	{"another connection in the data", settledOnce, func(h *attack) *nats.Msg {
		return h.about(deprovision.ReasonWrongConnection, time.Now(), func(r *events.DeprovisionRequested) { r.Connection = "globex" })
	}},
	{"a year old", settledOnce, func(h *attack) *nats.Msg {
		return h.about(deprovision.ReasonStale, time.Now().AddDate(-1, 0, 0), nil)
	}},
	{"of tomorrow", settledOnce, func(h *attack) *nats.Msg {
		return h.about(deprovision.ReasonStale, time.Now().AddDate(0, 0, 1), nil)
	}},
	{"about nobody", settledOnce, func(h *attack) *nats.Msg {
		return h.about(deprovision.ReasonInvalid, time.Now(), func(r *events.DeprovisionRequested) { r.Email = "" })
	}},
	{"a formula for a name", settledOnce, func(h *attack) *nats.Msg {
		return h.about(deprovision.ReasonInvalid, time.Now(), func(r *events.DeprovisionRequested) { r.Email = "=cmd|' /C calc'!A0,\"x@y\"" })
	}},
	{"protected", settledOnce, func(h *attack) *nats.Msg {
		return h.about(deprovision.ReasonProtected, time.Now(), func(r *events.DeprovisionRequested) { r.Email = "VIP-1@acme.example.com" })
	}},
	{"the same again", absorbed, func(h *attack) *nats.Msg { return h.good.message(h.connection, h.began) }},
	{"the same under a replay's header", absorbed, controlled("Seatwire-Replays", "2")},
	{"Nats-Rollup", eitherWay, controlled("Nats-Rollup", "all")},
	{"Nats-TTL", eitherWay, controlled("Nats-TTL", "1s")},
	{"a schedule", eitherWay, controlled("Nats-Schedule", "@every 1s")},
	{"an expected sequence", eitherWay, controlled("Nats-Expected-Last-Sequence", "1")},
	{"an expected stream", eitherWay, controlled("Nats-Expected-Stream", "NOSUCH")},
	{"a batch of its own", eitherWay, controlled("Nats-Batch-Id", "mine")},
}

// TestHostile_eachEndsOnce sends what no honest publisher would, with good requests among it: each ends as one answer or
// one dead letter, what is known is absorbed, nobody is removed but those whom a good request names, the good are not
// held up, and no process ends.
func TestHostile_eachEndsOnce(t *testing.T) {
	t.Parallel()
	n := 2000
	if *chaos > 0 {
		n = 100_000
	}
	h := &attack{layoffs: startLayoffs(t, draw(t, 600), 1, 500, 5)}
	h.began = time.Now()
	letters, refused := h.send(n)
	t.Logf("%d events, %d of them the broker refused", n, refused)
	h.letters = len(letters)
	h.Await(layoffLimit, "every event has ended", func() bool { return h.stored(streams.DeadLetters) >= int64(len(letters)) && h.over() })
	h.Quiet()
	h.judge()
	h.wantLettersOf(letters)
	h.wantCounters()
	h.wantPrompt()
	found.fault(rowHostile, n)
	found.tests(freshness, n/len(hostiles)*2)
}

// send publishes n messages and returns the sequences of those that must be set aside.
func (h *attack) send(n int) (letters map[string]bool, refused int) {
	h.t.Helper()
	const window = 256
	letters = map[string]bool{}
	type sent struct {
		fate
		kind string
		ack  jetstream.PubAckFuture
	}
	var pending []sent
	settle := func(s sent) {
		select {
		case ack := <-s.ack.Ok():
			if s.fate == setAside {
				letters[strconv.FormatUint(ack.Sequence, 10)] = true
			}
		case err := <-s.ack.Err():
			if refused++; s.fate != eitherWay {
				found.violation(h.t, backPressure, "the broker refused %s: %v", s.kind, err)
			}
		}
	}
	for h.n = range n {
		kind := hostile{"good", settledOnce, (*attack).leaver}
		if h.n%20 > 0 {
			kind = hostiles[h.rng.IntN(len(hostiles))]
		}
		if kind.name == "too large" && h.rng.IntN(20) > 0 {
			kind = hostiles[0] // each takes 129 KiB of a stream of 512 MiB, which nobody empties
		}
		ack, err := h.js.PublishMsgAsync(kind.make(h))
		if err != nil {
			h.t.Fatalf("%s: %v", kind.name, err)
		}
		if pending = append(pending, sent{kind.fate, kind.name, ack}); len(pending) > window {
			settle(pending[0])
			pending = pending[1:]
		}
	}
	for _, s := range pending {
		settle(s)
	}
	return letters, refused
}

// wantLettersOf checks that exactly these messages were set aside, each once.
func (h *attack) wantLettersOf(sequences map[string]bool) {
	h.t.Helper()
	times := map[string]int{}
	for _, letter := range h.deadLetters() {
		times[letter.Header.Get("Seatwire-Dead-Sequence")]++
	}
	found.tests(conservation, len(sequences))
	for sequence := range sequences {
		if times[sequence] != 1 {
			found.violation(h.t, conservation, "message %s has %d dead letters", sequence, times[sequence])
		}
	}
	for sequence := range times {
		if !sequences[sequence] {
			found.violation(h.t, conservation, "message %s was set aside, and should not", sequence)
		}
	}
}

// wantCounters compares the counters with the streams. No process was restarted, so they began at zero.
func (h *attack) wantCounters() {
	h.t.Helper()
	_, metrics := h.replicas[streams.Deprovisioner][0].get("/metrics")
	settled := 0
	for _, answers := range h.answers {
		settled += len(answers)
	}
	found.tests(truthInMetrics, 2)
	if n := int(gauge(metrics, "deprovisioner_requests_settled_total")); n != settled {
		found.violation(h.t, truthInMetrics, "the counter says %d settled, the stream %d", n, settled)
	}
	if n := int(gauge(metrics, "deprovisioner_requests_open")); n != 0 {
		found.violation(h.t, truthInMetrics, "%d requests are open, and all are settled", n)
	}
}

// wantPrompt looks how long good requests took among the bad, from the moment at which they were stored.
func (h *attack) wantPrompt() {
	h.t.Helper()
	asked, took := map[string]time.Time{}, []time.Duration{}
	for msg := range streams.Read(h.t.Context(), h.js, streams.Deprovision, subject(events.DeprovisionRequestedSubject, h.connection, "hr"), 1) {
		if e, err := events.Read(msg.Header, msg.Data); err == nil && asked[e.ID].IsZero() {
			asked[e.ID] = msg.Time
		}
	}
	for msg := range streams.Read(h.t.Context(), h.js, streams.Outcomes, subject(events.DeprovisionSettledSubject, h.connection, "hr"), 1) {
		var s events.DeprovisionSettled
		if e, err := events.Read(msg.Header, msg.Data); err == nil && json.Unmarshal(e.Data, &s) == nil && s.Outcome == deprovision.OutcomeRemoved {
			took = append(took, msg.Time.Sub(asked[s.RequestID]))
		}
	}
	found.good(took)
}
