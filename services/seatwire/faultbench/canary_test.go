package faultbench

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// canary is a secret and an address in one, for every place where text of others comes in.
const canary = keyPrefix + "planted canary@people.example.com"

// TestCanary_isFoundNowhere plants a secret and an address in every input: each field and header of events, good ones and
// bad, and whatever a vendor can say, errors above all. The configuration's secrets are canaries on every bench. None of
// it may show in a log, a metric, a dead letter's reason, or what a command prints to whoever asks for an overview.
func TestCanary_isFoundNowhere(t *testing.T) {
	t.Parallel()
	w := startWorld(t, draw(t, 900), Options{People: 60, PageSize: 20, BatchSize: 20})
	w.singEvents()
	w.singVendors()
	w.Await(startLimit, "every bad event is a dead letter", func() bool { return len(w.deadLetters()) >= w.letters })
	w.judge()
	w.wantQuietCommands()
	w.wantNoLeak()
}

// singEvents publishes canaries: each field of an event by turns, and messages that are no events.
func (w *world) singEvents() {
	w.t.Helper()
	data, _ := json.Marshal(map[string]string{"reason": canary, "requestedBy": canary, canary: canary}) // strings always encode
	odd := binaryMode(events.Event{ID: "no-address", Source: "/" + canary, Type: events.DeprovisionRequestedType, Time: time.Now(), Data: data})
	for _, name := range []string{"ce-subject", "ce-dataschema", "ce-traceparent", "X-Other", "Traceparent"} {
		odd.Header.Set(name, canary)
	}
	w.wanted["hr no-address"], w.spared["invalid"] = "invalid", "invalid"
	w.put(subject(events.DeprovisionRequestedSubject, w.connection, "hr"), odd)

	for i, field := range []string{"email", "psUserId", "employeeId", "firstName", "lastName", "effectiveAt", "retainPrivileges", "connection"} {
		data, _ := json.Marshal(map[string]string{field: canary})
		id, reason := fmt.Sprintf("field-%d", i), "invalid"
		if field == "connection" {
			reason = "wrong-connection"
		}
		w.wanted["hr "+id], w.spared[reason] = reason, reason
		w.put(subject(events.DeprovisionRequestedSubject, w.connection, "hr"), structured(events.Event{
			ID: id, Source: "/hr", Type: events.DeprovisionRequestedType, Time: time.Now(), Data: data,
		}))
	}
	w.wanted["hr "+canary] = "invalid"
	w.put(subject(events.DeprovisionRequestedSubject, w.connection, "hr"), structured(events.Event{
		ID: canary, Source: canary, Type: events.DeprovisionRequestedType, Time: time.Now(), Data: []byte("{}"),
	}))
	for _, bad := range []*nats.Msg{
		{Data: []byte(canary)},
		{Header: nats.Header{"Content-Type": {canary}}, Data: []byte(`{"email":"` + canary + `"}`)},
		{Header: nats.Header{"ce-id": {canary, canary}, "ce-specversion": {canary}}, Data: []byte("{}")},
		{Header: nats.Header{"Content-Type": {events.ContentTypeStructured}}, Data: []byte(`{"specversion":"` + canary + `","id":"1"}`)},
		{Header: nats.Header{"Content-Type": {events.ContentTypeStructured}}, Data: []byte(`{"specversion":"1.0","id":"2","source":"x","type":"` + canary + `"}`)},
	} {
		for _, base := range []string{subject(events.DeprovisionRequestedSubject, w.connection, "hr"), subject(events.DeprovisionCancelledSubject, w.connection, "hr"), to("acme")} {
			w.put(base, &nats.Msg{Header: bad.Header, Data: bad.Data})
			w.letters++
		}
	}
	// The last one is an event, and a request of another type is answered.
	w.wanted["hr 2"] = "invalid"
	w.letters--
}

// singVendors has each call of both vendors answered with canaries once, in each form that an error can have.
func (w *world) singVendors() {
	w.t.Helper()
	quoted := `{"error":"` + canary + `","message":"` + canary + `","status":"` + canary + `"}`
	for _, f := range []pluralsightsim.Fault{
		{Action: pluralsightsim.Answer, Status: 500, Body: quoted}, {Action: pluralsightsim.Answer, Status: 400, Body: quoted},
		{Action: pluralsightsim.Answer, Status: 403, Body: canary, Headers: map[string]string{"WWW-Authenticate": canary, "X-Request-Id": canary}},
		{Action: pluralsightsim.Answer, Status: 200, Body: canary}, {Action: pluralsightsim.Answer, Status: 302, Headers: map[string]string{"Location": "https://people.example.com/" + keyPrefix}},
		{Action: pluralsightsim.ErrorsOnly, Message: canary, Code: canary}, {Action: pluralsightsim.ErrorsPartial, Message: canary},
		{Action: pluralsightsim.Truncate},
	} {
		for _, path := range []string{"/graphql", "/deprovision"} {
			f.Match = pluralsightsim.Match{Path: path, Times: 2}
			if _, err := w.pluralsight.Inject(f); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for _, f := range []productivsim.Fault{
			{Kind: productivsim.FaultStatus, Status: 400, Body: quoted}, {Kind: productivsim.FaultStatus, Status: 500, Body: canary},
			{Kind: productivsim.FaultStatus, Status: 200, Body: quoted}, {Kind: productivsim.FaultTruncate},
			{Kind: productivsim.FaultRedirect, Location: "https://people.example.com/" + keyPrefix},
		} {
			f.Endpoint, f.Method = productivsim.EndpointUsers, method
			if err := w.productiv.Inject(f); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	w.leave(10)
	for left := 1; left > 0; { // until every fault was met
		w.Change(w.rng, "acme", 3)
		w.Outcome(w.Request("acme", "hr"))
		left = 0
		for _, f := range w.pluralsight.Faults() {
			if f.Match.Path == "/graphql" && f.Fired == 0 {
				left++
			}
		}
		for _, f := range w.productiv.Faults() {
			if f.Fired == 0 {
				left++
			}
		}
	}
	w.Await(layoffLimit, "every request is settled", w.over)
	w.pluralsight.ClearFaults()
	w.productiv.ClearFaults()
}

// wantQuietCommands looks at what an operator is shown who asked about nobody in particular.
func (w *world) wantQuietCommands() {
	w.t.Helper()
	orders := w.t.TempDir()
	for _, command := range []string{
		"status", "status -o json", "check", "publications list", "publications list -o json", "deprovision list --batches",
		"deadletters list", "deadletters list -o json", "sync acme --wait", "pause acme", "resume acme", "sync nosuch", "deadletters show --sequence 999999",
	} {
		out, _ := w.operator(orders, strings.Fields(command)...)
		found.tests(noLeaks, 1)
		if at := leak.FindStringIndex(out); at != nil {
			found.violation(w.t, noLeaks, "%q shows a secret or an address: …%s…", command, out[max(0, at[0]-60):at[0]])
		}
	}
}
