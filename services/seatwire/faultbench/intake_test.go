package faultbench

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// The same event ten times, in both content modes, before, during and after its sweep: one outcome.
func TestIntake_absorbsTheSameEvent(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{People: 300, Latency: 20 * time.Millisecond})
	r := b.Request("acme", "hr")
	again := r.event("the bench asks")
	for range 2 {
		b.put(to("acme"), binaryMode(again))
		b.put(to("acme"), structured(again))
	}
	b.wantDone(b.Outcome(r).RosterPublished)
	for range 3 {
		b.put(to("acme"), binaryMode(again))
		b.put(to("acme"), structured(again))
	}
	b.Judge()
}

func to(connection string) string { return subject(events.SyncRequestedSubject, connection) }

// badRequest is a message that cannot be obeyed, and what must become of it.
type badRequest struct {
	name, connection, reason string
	m                        *nats.Msg
	// letter is the connection's token in the dead letter's subject.
	letter string
}

// badRequests are all kinds of them. Their sources and bodies have canaries in them.
func badRequests(known request) []badRequest {
	stranger := func(id string) events.Event { return request{"acme", "canary@people.example.com", id}.event("x") }
	wrongType := stranger("type")
	wrongType.Type = events.DeprovisionRequestedType
	noID := stranger("")
	repeated := binaryMode(stranger("repeated"))
	repeated.Header["Ce-Id"] = []string{"repeated", "again"}
	reserved := structured(wrongType)
	reserved.Header.Set("Nats-Bench", "kept under another name")
	return []badRequest{
		{"a known identity with other content", "acme", "rejected", structured(known.event("second")), "acme"},
		{"another type", "acme", "rejected", reserved, "acme"},
		{"no id", "acme", "undecodable", structured(noID), "acme"},
		{"a repeated header", "acme", "undecodable", repeated, "acme"},
		{"no JSON", "acme", "undecodable", &nats.Msg{
			Header: nats.Header{"Content-Type": {events.ContentTypeStructured}}, Data: []byte("canary@people.example.com " + keyPrefix),
		}, "acme"},
		{"nothing at all", "acme", "undecodable", &nats.Msg{}, "acme"},
		{"not UTF-8", "acme", "undecodable", &nats.Msg{
			Header: nats.Header{"Content-Type": {events.ContentTypeStructured}}, Data: []byte("{\"id\":\"\xff\"}"),
		}, "acme"},
		{"nested too deep", "acme", "undecodable", &nats.Msg{
			Header: binaryMode(stranger("deep")).Header, Data: []byte(strings.Repeat("[", 65) + strings.Repeat("]", 65)),
		}, "acme"},
		{"too large", "acme", "undecodable", &nats.Msg{
			Header: binaryMode(stranger("large")).Header, Data: append(bytes.Repeat([]byte(" "), 128<<10), '{', '}'),
		}, "acme"},
		{"data of another form", "acme", "rejected", &nats.Msg{Header: binaryMode(stranger("form")).Header, Data: []byte(`{"reason":7}`)}, "acme"},
		{"an unknown connection", "nosuch", "rejected", structured(stranger("nosuch")), "nosuch"},
		{"an illegal connection", "No_Such", "rejected", structured(stranger("illegal")), "unknown"},
	}
}

// What is not a good request becomes a dead letter that says why, under the connection that its subject names, body and
// headers as they came; and the good requests among the bad are answered.
func TestIntake_setsAsideWhatIsNoRequest(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{People: 300})
	known := request{"acme", "hr", "known"}
	b.put(to("acme"), structured(known.event("first")))
	b.mu.Lock()
	b.requests = append(b.requests, known)
	b.mu.Unlock()
	b.Outcome(known)

	bad := badRequests(known)
	for _, c := range bad {
		b.put(to(c.connection), c.m)
	}
	good := b.Request("acme", "hr")
	b.wantDone(b.Outcome(good).RosterPublished)

	letters := map[string]*jetstream.RawStreamMsg{}
	b.Await(startLimit, "every bad message is a dead letter", func() bool {
		for _, l := range b.deadLetters() {
			letters[l.Header.Get("Seatwire-Dead-Sequence")] = l
		}
		return len(letters) >= len(bad)
	})
	b.Quiet()
	if n := len(b.deadLetters()); n != len(bad) {
		t.Errorf("%d dead letters for %d bad messages", n, len(bad))
	}
	for i, c := range bad {
		t.Run(c.name, func(t *testing.T) {
			letter := b.letterOf(t, c.m, i)
			wantHeader(t, letter, map[string]string{
				"Seatwire-Dead-Reason": c.reason, "Seatwire-Dead-Service": streams.Fetcher, "Seatwire-Dead-Subject": to(c.connection),
				"Seatwire-Dead-Attempts": "1",
			})
			if want := subject(events.DeadLetterSubject, streams.Fetcher, c.letter); letter.Subject != want {
				t.Errorf("it is on %s, want %s", letter.Subject, want)
			}
			if _, err := time.Parse(time.RFC3339, letter.Header.Get("Seatwire-Dead-At")); err != nil {
				t.Errorf("Seatwire-Dead-At: %v", err)
			}
			if letter.Header.Get("Seatwire-Dead-Error") == "" {
				t.Error("Seatwire-Dead-Error says nothing")
			}
			wantOriginal(t, letter, c.m)
		})
	}
	b.wantOneOutcome()
	b.wantSame("acme")
	b.wantNoLeak()
}

// letterOf finds the dead letter of the i-th bad message by its sequence: one good request was before them.
func (b *Bench) letterOf(t *testing.T, m *nats.Msg, i int) *jetstream.RawStreamMsg {
	t.Helper()
	for _, l := range b.deadLetters() {
		if bytes.Equal(l.Data, m.Data) && l.Header.Get("Seatwire-Dead-Sequence") == sequenceText(i+2) {
			return l
		}
	}
	t.Fatal("there is no dead letter with its body and sequence")
	return nil
}

func wantHeader(t *testing.T, letter *jetstream.RawStreamMsg, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for name := range want {
		got[name] = letter.Header.Get(name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("headers (-want +got):\n" + diff)
	}
}

// wantOriginal checks that the headers are there as they came, those that the broker would act on under another name.
func wantOriginal(t *testing.T, letter *jetstream.RawStreamMsg, m *nats.Msg) {
	t.Helper()
	for name, values := range m.Header {
		if strings.HasPrefix(name, "Nats-") {
			name = "Seatwire-Orig-" + name
		}
		if diff := cmp.Diff(values, letter.Header[name]); diff != "" {
			t.Errorf("header %s (-want +got):\n%s", name, diff)
		}
	}
}
