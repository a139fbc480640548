package seatwire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// canaryAddress and canaryToken stand in every body and header below, and may stand in no word of ours.
const (
	canaryAddress = "canary.person@example.com"
	canaryToken   = "canary-bearer-token"
)

// doomed is a message that a stage gives up on, and why.
type doomed struct {
	subject         string
	header          nats.Header
	body            string
	service, reason string
	connection      string
	attempts        int
}

func (w *exits) doomedMessages() []doomed {
	canary := fmt.Sprintf(`{"email":%q,"token":%q}`, canaryAddress, canaryToken)
	event := func(subject, kind, id, data string) (string, nats.Header) {
		return subject, nats.Header{"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/hr"}, "ce-type": {kind},
			"ce-time": {w.began.Format(time.RFC3339Nano)}, "Content-Type": {"application/json"}, "X-Data": {data}}
	}
	sync, requested, cancelled := events.SyncRequestedSubject, events.DeprovisionRequestedSubject, events.DeprovisionCancelledSubject
	of := func(service, reason, connection, body string) func(subject string, header nats.Header) doomed {
		return func(subject string, header nats.Header) doomed {
			return doomed{subject, header, body, service, reason, connection, 1}
		}
	}
	plain := func(subject string) (string, nats.Header) {
		return subject, nats.Header{"X-Twice": {canaryAddress, canaryToken}, "Nats-Foo": {"kept"}}
	}
	return []doomed{
		of(streams.Fetcher, "undecodable", "acme", canary)(plain(sync + ".acme")),
		of(streams.Fetcher, "rejected", "elsewhere", canary)(plain(sync + ".elsewhere")),
		of(streams.Fetcher, "rejected", "unknown", canary)(plain(sync + ".No_Legal_Name")),
		of(streams.Fetcher, "rejected", "acme", `{}`)(event(sync+".acme", events.DeprovisionRequestedType, "wrong-type", canaryAddress)),
		of(streams.Fetcher, "rejected", "acme", `{"connection":"other"}`)(event(sync+".acme", events.SyncRequestedType, "elsewhere", canaryAddress)),
		of(streams.Normalizer, "undecodable", "acme", canaryAddress)(plain(streams.UsersFetchedSubject + ".acme.s.1")),
		of(streams.Normalizer, "rejected", "elsewhere", canary)(plain(streams.UsersFetchedSubject + ".elsewhere.s.1")),
		of(streams.Publisher, "undecodable", "acme", canaryAddress)(plain(streams.UsersSweptSubject + ".acme.s")),
		of(streams.Publisher, "rejected", "acme", `{"by":"grace"}`)(plain(streams.PublicationDecidedSubject + ".acme.nosweep.1")),
		of(streams.Deprovisioner, "undecodable", "acme", canary)(plain(requested + ".acme.hr")),
		of(streams.Deprovisioner, "undecodable", "acme", "\xff\xfe"+canaryAddress)(event(requested+".acme.hr", events.DeprovisionRequestedType, "bad-bytes", canaryAddress)),
		of(streams.Deprovisioner, "undecodable", "acme", strings.Repeat("[", 65)+strings.Repeat("]", 65))(event(requested+".acme.hr", events.DeprovisionRequestedType, "deep", canaryAddress)),
		of(streams.Deprovisioner, "rejected", "elsewhere", canary)(event(requested+".elsewhere.hr", events.DeprovisionRequestedType, "1", canaryAddress)),
		of(streams.Deprovisioner, "rejected", "acme", canary)(event(cancelled+".acme.hr", events.DeprovisionCancelledType, "of-nothing", canaryAddress)),
	}
}

// TestDeadLetters_everyStageAndReason: what each stage gives up on by its content. Body and headers are the original's,
// our own headers say where it came from and why, and hold nothing of what it says.
func TestDeadLetters_everyStageAndReason(t *testing.T) {
	t.Parallel()
	w := newExits(t, 5, settings{"apply": "dry-run"}).begin()
	js := w.session.conn.JS()
	all := w.doomedMessages()
	want := map[string]doomed{} // by subject and sequence
	for _, d := range all {
		header := nats.Header{}
		for name, values := range d.header {
			header[name] = values
		}
		ack, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: d.subject, Header: header, Data: []byte(d.body)})
		if err != nil {
			t.Fatal(err)
		}
		want[d.subject+" "+strconv.FormatUint(ack.Sequence, 10)] = d
	}
	w.deadLetters(len(all))
	for letter, err := range streams.Read(t.Context(), js, streams.DeadLetters, ">", 1) {
		if err != nil {
			t.Fatal(err)
		}
		key := letter.Header.Get(bus.HeaderDeadSubject) + " " + letter.Header.Get(bus.HeaderDeadSequence)
		d, known := want[key]
		if !known {
			t.Errorf("a dead letter of %s", key)
			continue
		}
		delete(want, key)
		d.check(t, letter)
	}
	for key := range want {
		t.Errorf("no dead letter of %s", key)
	}
}

func (d doomed) check(t *testing.T, letter *jetstream.RawStreamMsg) {
	t.Helper()
	if subject := events.Subject(events.DeadLetterSubject, d.service, d.connection); letter.Subject != subject {
		t.Errorf("%s: on %s, want %s", d.subject, letter.Subject, subject)
	}
	if h := letter.Header; h.Get(bus.HeaderDeadReason) != d.reason || h.Get(bus.HeaderDeadService) != d.service || h.Get(bus.HeaderDeadAttempts) != strconv.Itoa(d.attempts) {
		t.Errorf("%s: %s of %s after %s, want %s of %s", d.subject, h.Get(bus.HeaderDeadReason), h.Get(bus.HeaderDeadService), h.Get(bus.HeaderDeadAttempts), d.reason, d.service)
	}
	if !bytes.Equal(letter.Data, []byte(d.body)) {
		t.Errorf("%s: body %q", d.subject, letter.Data)
	}
	for name, values := range d.header {
		if strings.HasPrefix(name, "Nats-") {
			name = bus.OriginalPrefix + name
		}
		if diff := cmp.Diff(values, letter.Header[name]); diff != "" {
			t.Errorf("%s: header %s: %s", d.subject, name, diff)
		}
	}
	for name, values := range letter.Header {
		if text := strings.Join(values, " "); strings.HasPrefix(name, "Seatwire-Dead-") && strings.Contains(text, "canary") {
			t.Errorf("%s: %s tells %q", d.subject, name, text)
		}
	}
}

// TestDeadLetters_whatCannotBeStoredIsExhausted: a stage whose output has no room tries as often as the configuration
// says, and then sets the message aside with its reason.
func TestDeadLetters_whatCannotBeStoredIsExhausted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, func(s string) string { return s + "deadLetters: {maxDeliveries: 2}\n" })
	w.up()
	s := w.open()
	for _, name := range []string{streams.Sweeps, streams.Normalized} {
		stream, err := s.conn.JS().Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxBytes = 1
		if _, err := s.conn.JS().UpdateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	for _, msg := range []*nats.Msg{syncRequest("1"), {Subject: events.Subject(streams.UsersFetchedSubject, testPlan, "s", "1"), Data: []byte(`{}`)}} {
		if _, err := s.conn.JS().PublishMsg(t.Context(), msg); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range w.deadLetters(2) {
		if r.Reason != "exhausted" || r.Attempts != 2 || !strings.HasPrefix(r.Error, "stream-full") {
			t.Errorf("%+v", r)
		}
	}
}

// TestDeadLetters_delayNobody: good requests among a crowd that cannot be read are settled, each once.
func TestDeadLetters_delayNobody(t *testing.T) {
	t.Parallel()
	w := newExits(t, 60, settings{"apply": "dry-run"}).begin()
	const bad = 300
	people := w.staff(10)
	for i := range bad {
		if _, err := w.session.conn.JS().Publish(t.Context(), "seatwire.v1.deprovision.requested.acme.hr", []byte(canaryAddress)); err != nil {
			t.Fatal(err)
		}
		if i%30 == 0 {
			w.ask(request{source: "hr", id: fmt.Sprint(i), email: people[i/30].Email})
		}
	}
	for id, s := range w.outcomes(10) {
		if s.Outcome != "dry-run" {
			t.Errorf("%s: %+v", id, s)
		}
	}
	w.deadLetters(bad)
}
