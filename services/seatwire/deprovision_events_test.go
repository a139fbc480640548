package seatwire

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// nextStates are the ways of a request, as those who listen may rely on them. A batch that changes before it is sent
// sends its requests back to accepted.
var nextStates = map[string][]string{
	"":          {"accepted"},
	"accepted":  {"deferred", "batched"},
	"deferred":  {"batched"},
	"batched":   {"held", "approved", "submitted", "verifying", "accepted"},
	"held":      {"approved", "accepted"},
	"approved":  {"submitted", "held", "accepted"},
	"submitted": {"verifying", "approved"},
	"verifying": {"accepted"},
}

// The events are what the contract says, member by member, because somebody else's code reads them.
func TestDeprovision_eventsAreWhatTheContractSays(t *testing.T) {
	t.Parallel()
	w := newExits(t, 40, nil)
	w.hire(pluralsightsim.Person{Email: "ceo@acme.example.com", Admin: true})
	w.begin()
	people := w.staff(2)
	w.ask(
		request{source: "hr", id: "1", email: strings.ToUpper(people[0].Email)},
		request{source: "hr", id: "admin", email: "ceo@acme.example.com"},
		request{source: "hr", id: "unknown", email: "nobody@acme.example.com"},
		request{source: "hr", id: "deferred", data: map[string]any{"email": people[1].Email, "effectiveAt": time.Now().Add(time.Second).UTC()}},
	)
	w.structured("idp", "1", people[0].Email)
	settled := w.outcomes(5)
	removed, unknown := settled["hr 1"], settled["hr unknown"]
	w.wantData("hr", "unknown", map[string]any{
		"requestSource": "/hr", "requestId": "unknown", "email": "nobody@acme.example.com", "psUserId": "", "outcome": "rejected",
		"reason": "unknown-user", "batchId": "", "dryRun": false,
		"evidence": map[string]any{"isOnAccount": nil, "removedOn": nil, "readAt": nil},
	})
	if unknown.Evidence.ReadAt != nil {
		t.Error("nothing was read, and there is evidence")
	}
	if removed.Evidence.ReadAt == nil || removed.Evidence.RemovedOn == nil || removed.BatchID == "" {
		t.Fatalf("removed: %+v", removed)
	}
	w.wantData("hr", "1", map[string]any{
		"requestSource": "/hr", "requestId": "1", "email": people[0].Email, "psUserId": people[0].PsUserID, "outcome": "removed",
		"reason": "", "batchId": removed.BatchID, "dryRun": false,
		"evidence": map[string]any{
			"isOnAccount": false, "removedOn": removed.Evidence.RemovedOn.Format(time.RFC3339Nano), "readAt": removed.Evidence.ReadAt.Format(time.RFC3339Nano),
		},
	})
	if other := settled["idp 1"]; other.RequestSource != "/idp" || other.Outcome != "removed" && other.Outcome != "already-removed" {
		t.Errorf("the other source's: %+v", other)
	}
	if got, want := w.progress("hr", "1"), []string{"accepted", "batched", "approved", "submitted", "verifying"}; !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
	if got, want := w.progress("hr", "deferred"), []string{"accepted", "deferred", "batched", "approved", "submitted", "verifying"}; !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
	w.checkTold()
}

// structured publishes a request in structured mode.
func (w *exits) structured(source, id, email string) {
	w.t.Helper()
	data, err := json.Marshal(map[string]any{"email": email})
	if err != nil {
		w.t.Fatal(err)
	}
	header, body := events.Event{ID: id, Source: "/" + source, Type: events.DeprovisionRequestedType, Time: w.began, Data: data}.Encode()
	msg := &nats.Msg{Subject: events.Subject(events.DeprovisionRequestedSubject, testPlan, source), Header: header, Data: body}
	if _, err := w.session.conn.JS().PublishMsg(w.t.Context(), msg); err != nil {
		w.t.Fatal(err)
	}
}

// wantData compares the data of the settled event of one request, as raw JSON.
func (w *exits) wantData(source, id string, want map[string]any) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.told {
		var got map[string]any
		w.decode(e.event.Data, &got)
		if e.event.Type == events.DeprovisionSettledType && strings.HasSuffix(e.subject, "."+source) && got["requestId"] == id {
			if diff := cmp.Diff(want, got); diff != "" {
				w.t.Errorf("settled %s (-want +got):\n%s", id, diff)
			}
			return
		}
	}
	w.t.Errorf("%s is not settled", id)
}

// checkTold checks the frame of everything that was told: structured, on its subject, each id once, states in order.
func (w *exits) checkTold() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, states := map[string]bool{}, map[string]string{}
	for _, e := range w.told {
		var frame map[string]any
		w.decode(e.body, &frame)
		for _, name := range []string{"specversion", "id", "source", "type", "time", "datacontenttype", "data"} {
			if frame[name] == nil {
				w.t.Errorf("%s has no %s", e.subject, name)
			}
		}
		if got := e.header.Get("Content-Type"); got != "application/cloudevents+json" {
			w.t.Errorf("content type %q", got)
		}
		if ids[e.event.ID] {
			w.t.Errorf("event %s was told twice", e.event.ID)
		}
		ids[e.event.ID] = true
		w.checkState(e, states)
	}
}

func (w *exits) checkState(e toldEvent, states map[string]string) {
	var data map[string]any
	w.decode(e.event.Data, &data)
	base := events.DeprovisionProgressedSubject
	if e.event.Type == events.DeprovisionSettledType {
		base = events.DeprovisionSettledSubject
	}
	tokens := events.Tokens(base, e.subject)
	if len(tokens) != 2 || tokens[0] != testPlan || data["requestSource"] != "/"+tokens[1] {
		w.t.Errorf("%s is told about a request of %v", e.subject, data["requestSource"])
		return
	}
	key := tokens[1] + " " + fmt.Sprint(data["requestId"])
	switch {
	case states[key] == "settled":
		if data["state"] != "cancel-too-late" {
			w.t.Errorf("%s: %v after it was settled", key, data["state"])
		}
	case e.event.Type == events.DeprovisionSettledType:
		states[key] = "settled"
	default:
		if names := sortedKeys(data); !slices.Equal(names, []string{"at", "batchId", "requestId", "requestSource", "state"}) {
			w.t.Errorf("progressed has the members %v", names)
		}
		state := fmt.Sprint(data["state"])
		if !slices.Contains(nextStates[states[key]], state) {
			w.t.Errorf("%s: %s after %q", key, state, states[key])
		}
		states[key] = state
	}
}
