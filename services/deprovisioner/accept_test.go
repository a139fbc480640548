package deprovisioner

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
)

func compileSchema(t testing.TB, eventType string) *jsonschema.Schema {
	t.Helper()
	document, _ := events.Schema(eventType)
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", value); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("schema.json")
}

// FuzzAccept: whatever is published on an intake subject ends as a document that the ledger takes and gives back, or in
// a dead letter whose text quotes nothing. A request that is not refused keeps to the schema, once white space around
// its names is gone; a refused one says why with a reason of the contract.
func FuzzAccept(f *testing.F) {
	f.Add(false, "acme", "hr", "2026-11-23T10:00:00Z", `{"email":" Ada@example.com ","effectiveAt":"2026-12-01T00:00:00Z"}`)
	f.Add(false, "acme", "hr", "9999-12-31T23:59:59-23:59", `{"email":"canary@example.com","psUserId":"u-1","reason":"<left>"}`)
	f.Add(false, "acme", "hr", "0000-01-01T00:00:00+23:59", `{"psUserId":"u 1","connection":"other"}`)
	f.Add(true, "acme", "hr", "", `{"source":"/hr","id":"1","reason":"canary"}`)
	f.Add(true, "Acme", "h.r", "", `{"source":7,"id":"canary"}`)
	requested, cancelled := compileSchema(f, events.DeprovisionRequestedType), compileSchema(f, events.DeprovisionCancelledType)
	r := rules{connection: "acme", Deprovision: config.DefaultConnection("acme").Deprovision}
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	in := newIntake(nil, map[string]rules{"acme": r}, nil, func() time.Time { return now })
	f.Fuzz(func(t *testing.T, cancel bool, connection, source, at, data string) {
		subject, kind := events.DeprovisionRequestedSubject, events.DeprovisionRequestedType
		if cancel {
			subject, kind = events.DeprovisionCancelledSubject, events.DeprovisionCancelledType
		}
		entry, err := in.read(bus.Delivery{Subject: events.Subject(subject, connection, source), Header: map[string][]string{
			"ce-specversion": {"1.0"}, "ce-id": {"1"}, "ce-source": {"/hr"}, "ce-type": {kind}, "ce-time": {at},
		}}, []byte(data))
		if err != nil {
			if fault.ClassOf(err) != fault.Permanent || strings.Contains(err.Error(), "canary") {
				t.Fatalf("refused by %v", err)
			}
			return
		}
		msg, err := newDocument(entry)
		if err != nil {
			t.Fatal(err)
		}
		if len(msg.Data) > 960<<10 || strings.ContainsAny(msg.Subject, "*> \r\n") {
			t.Fatalf("%d bytes for %q", len(msg.Data), msg.Subject)
		}
		switch document := entry.document.(type) {
		case deprovision.Cancel:
			checkStored(t, msg.Data, document)
			checkSchema(t, cancelled, events.DeprovisionCancelled{Source: document.TargetSource, ID: document.TargetID, Reason: document.Reason})
		case deprovision.Request:
			checkStored(t, msg.Data, document)
			if document.State == deprovision.Settled {
				return
			}
			checkSchema(t, requested, events.DeprovisionRequested{
				Email: document.Email, PsUserID: document.PsUserID, FirstName: document.FirstName, LastName: document.LastName,
				Reason: document.Reason, EffectiveAt: document.Effective,
			})
		}
	})
}

func checkStored[T any](t *testing.T, body []byte, want T) {
	t.Helper()
	var got T
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the ledger gives back something else (-want +got):\n%s", diff)
	}
}

func checkSchema(t *testing.T, schema *jsonschema.Schema, accepted any) {
	t.Helper()
	body, err := json.Marshal(accepted)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err = errors.Join(err, schema.Validate(value)); err != nil {
		t.Fatalf("accepted, against the schema: %v", err)
	}
}
