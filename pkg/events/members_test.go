package events_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/seatwire/seatwire/pkg/events"
)

// incoming is how the data of each event that others send is read.
var incoming = []struct {
	eventType string
	read      func(json.RawMessage) (any, error)
}{
	{events.SyncRequestedType, func(d json.RawMessage) (any, error) { return events.ReadSyncRequested(d) }},
	{events.DeprovisionRequestedType, func(d json.RawMessage) (any, error) { return events.ReadDeprovisionRequested(d) }},
	{events.DeprovisionCancelledType, func(d json.RawMessage) (any, error) { return events.ReadDeprovisionCancelled(d) }},
}

func TestRead_takesMembersByTheirExactNames(t *testing.T) {
	t.Parallel()
	got, err := events.ReadDeprovisionCancelled([]byte(`{"source":"/hr","SOURCE":"/other","id":"1","ID":"2","Connection":7}`))
	if diff := cmp.Diff(events.DeprovisionCancelled{Source: "/hr", ID: "1"}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if requested, err := events.ReadDeprovisionRequested([]byte(`{"connection":"acme","email":7,"reason":"left"}`)); err == nil ||
		requested.Connection != "acme" || requested.Reason != "left" {
		t.Errorf("a member of a wrong type hides others: %+v, %v", requested, err)
	}
}

// What the schemas allow our types take, and see nothing else in it than whoever reads it by the schema.
func FuzzSchema(f *testing.F) {
	schemas := make([]*jsonschema.Schema, len(incoming))
	for kind, in := range incoming {
		schemas[kind] = compile(f, in.eventType)
	}
	for _, e := range golden(f) {
		for kind := range incoming {
			f.Add(kind, string(e.Data))
		}
	}
	f.Add(1, `{"email":"canary@example.com","EMAIL":"b@example.com","retainPrivileges":"canary"}`)
	f.Add(2, `{"source":"s","id":"1","Id":"2","connection":null}`)
	f.Add(0, `["canary"]`)
	f.Fuzz(func(t *testing.T, kind int, data string) {
		kind = int(uint(kind) % uint(len(incoming)))
		in := incoming[kind]
		e, err := events.Read(map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"s"}, "ce-type": {in.eventType},
		}, []byte(data))
		if err != nil {
			return
		}
		document := decode(t, e.Data)
		got, err := in.read(e.Data)
		switch valid := schemas[kind].Validate(document) == nil; {
		case valid && err != nil && writableTime(document):
			t.Fatalf("%s keeps to the schema: %v", e.Data, err)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Fatalf("quotes the data: %v", err)
		case valid && err == nil:
			compareMembers(t, document.(map[string]any), encode(t, got).(map[string]any))
		}
	})
}

// writableTime: of RFC 3339, package time does not take leap seconds and small letters.
func writableTime(document any) bool {
	at, found := document.(map[string]any)["effectiveAt"].(string)
	_, err := time.Parse(time.RFC3339, at)
	return !found || err == nil
}

// compareMembers wants every member that we read to be the document's. Those that are empty are left out by us.
func compareMembers(t *testing.T, document, ours map[string]any) {
	t.Helper()
	for name, value := range ours {
		if name != "effectiveAt" && !cmp.Equal(document[name], value) {
			t.Fatalf("%s is %v in the document, and %v to us", name, document[name], value)
		}
	}
}
