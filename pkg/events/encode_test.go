package events

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/fault"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The golden files are the wire form of version 1 as it is released. One that is out is never edited: a member may be
// added, which shows here as a difference to be looked at, and nothing may change or go.
func TestEncode_golden(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 123000000, time.UTC)
	tests := map[string]struct {
		kind string
		data any
	}{
		"sync.requested.v1.json": {SyncRequestedType, SyncRequested{Reason: "schedule"}},
		"roster.published.v1.json": {RosterPublishedType, RosterPublished{
			SweepID: "20261123t100000z-0badcafe", RequestID: "req-1", Outcome: OutcomeHeld, Reason: "maxRemovals: 3 people would go, 2 may",
			Counts: Counts{Fetched: 10, Active: 4, Removed: 3, Excluded: 2, Admins: 5, Rejected: 1, Added: 6, Changed: 7, Deleted: 8},
			Plan:   PlanCounts{Licenses: 12, Assigned: 11},
		}},
		"deprovision.requested.v1.json": {DeprovisionRequestedType, DeprovisionRequested{
			Connection: "acme", Email: "ada@example.com", PsUserID: "u-1", EmployeeID: "e-1", FirstName: "Ada", LastName: "Lovelace",
			Reason: "left the company", EffectiveAt: new(at.Add(time.Hour)), RetainPrivileges: new(false),
		}},
		"deprovision.requested.least.v1.json": {DeprovisionRequestedType, DeprovisionRequested{Email: "ada@example.com"}},
		"deprovision.cancelled.v1.json":       {DeprovisionCancelledType, DeprovisionCancelled{Source: "/hr", ID: "req-1", Reason: "stays"}},
		"deprovision.progressed.v1.json": {DeprovisionProgressedType, DeprovisionProgressed{
			RequestSource: "/hr", RequestID: "req-1", State: "batched", BatchID: "b-1", At: at,
		}},
		"deprovision.settled.v1.json": {DeprovisionSettledType, DeprovisionSettled{
			RequestSource: "/hr", RequestID: "req-1", Email: "ada@example.com", PsUserID: "u-1", Outcome: "removed", BatchID: "b-1",
			Evidence: Evidence{IsOnAccount: new(false), RemovedOn: new(at), ReadAt: new(at.Add(time.Minute))},
		}},
		"deprovision.settled.unread.v1.json": {DeprovisionSettledType, DeprovisionSettled{
			RequestSource: "/hr", RequestID: "req-1", Outcome: "rejected", Reason: "unknown-user", DryRun: true,
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := json.Marshal(tt.data)
			if err != nil {
				t.Fatal(err)
			}
			_, body := Event{ID: "id-1", Source: "seatwire/test", Type: tt.kind, Time: at, Data: data}.Encode()
			compareGolden(t, filepath.Join("testdata", name), indented(t, body))
		})
	}
}

func indented(t *testing.T, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func compareGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestEncode_readsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "data"))
		if err != nil {
			t.Fatal(err)
		}
		attribute := rapid.StringN(1, 40, 200)
		want := Event{
			ID: attribute.Draw(t, "id"), Source: attribute.Draw(t, "source"), Type: attribute.Draw(t, "type"),
			Time: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "seconds"), rapid.Int64Range(0, 999999999).Draw(t, "nanos")).UTC(),
			Data: data,
		}
		got, err := Read(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if want.Key() != got.Key() || want.Content() != got.Content() {
			t.Fatal("another identity or content after a round trip")
		}
	})
}

// Whatever can be read can be said again, and is the same event then. White space and the escapes of JSON strings
// are the encoder's own. What cannot be read is not quoted.
func FuzzRead(f *testing.F) {
	f.Add(ContentTypeStructured, "", "", wholeBody)
	f.Add("application/json", "id-1", "2026-11-23T10:00:00Z", `{"a":["<",1e400,"\u2028"]}`)
	f.Add("", "%C3%A9", "never", "")
	f.Add(ContentTypeStructured, "", "", `{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"e30="}`)
	f.Add(ContentTypeStructured, "", "", `{"specversion":"canary@example.com","ID":"1","id":7,"source":"canary"}`)
	f.Add("", "%ff%canary", "9999-12-31T23:59:59-23:59", `{"canary":`)
	f.Fuzz(func(t *testing.T, contentType, id, at, body string) {
		header := map[string][]string{"Content-Type": {contentType}}
		if contentType != ContentTypeStructured {
			header = binaryHeader(set("Content-Type", contentType), set("ce-id", id), set("ce-time", at))
		}
		first, err := Read(header, []byte(body))
		if err != nil {
			if fault.ReasonOf(err) != "undecodable" || strings.Contains(err.Error(), "canary") {
				t.Fatalf("refused by %v", err)
			}
			return
		}
		if len(first.Data) > MaxBody/8 || depth(first.Data) >= MaxDepth {
			return // the envelope, and escapes, may push it over the limits
		}
		again, err := Read(first.Encode())
		if err != nil {
			t.Fatalf("not readable again: %v", err)
		}
		if again.ID != first.ID || again.Source != first.Source || again.Type != first.Type || again.Key() != first.Key() {
			t.Fatalf("read %+v, then %+v", first, again)
		}
		if !again.Time.Equal(first.Time) {
			t.Fatalf("time %v became %v", first.Time, again.Time)
		}
		if !bytes.Equal(canonicalJSON(t, first.Data), canonicalJSON(t, again.Data)) {
			t.Fatalf("data %q became %q", first.Data, again.Data)
		}
	})
}

// canonicalJSON is compact, with one spelling for each string; numbers keep their digits.
func canonicalJSON(t *testing.T, data []byte) []byte {
	t.Helper()
	var value any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKey_tellsWherePartsEnd(t *testing.T) {
	t.Parallel()
	if Key("ab", "c") == Key("a", "bc") || Key("a") == Key("a", "") || Key() == Key("") {
		t.Fatal("two lists of parts have one key")
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringMatching(`[ab\x00]{0,3}`), 0, 4)
		a, b := parts.Draw(t, "a"), parts.Draw(t, "b")
		if same := strings.Join(a, "|") == strings.Join(b, "|") && len(a) == len(b); same != (Key(a...) == Key(b...)) {
			t.Fatalf("%q and %q", a, b)
		}
		if k := Key(a...); len(k) != 32 || strings.ContainsAny(k, ".*> ") {
			t.Fatalf("%q is no token", k)
		}
	})
}

func TestContent_isWhatTheEventSays(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	base := Event{ID: "1", Source: "s", Type: "t", Time: at, Data: json.RawMessage(`{"a": 1}`)}
	change := func(f func(*Event)) Event {
		e := base
		f(&e)
		return e
	}
	same := map[string]Event{
		"white space": change(func(e *Event) { e.Data = json.RawMessage("{\n \"a\" :1 }") }),
		"a time zone": change(func(e *Event) { e.Time = at.In(time.FixedZone("", 3600)) }),
		"identity":    change(func(e *Event) { e.ID, e.Source = "2", "other" }),
	}
	for name, e := range same {
		if e.Content() != base.Content() {
			t.Errorf("%s changes the content", name)
		}
	}
	other := map[string]Event{
		"data": change(func(e *Event) { e.Data = json.RawMessage(`{"a":2}`) }),
		"type": change(func(e *Event) { e.Type = "u" }),
		"time": change(func(e *Event) { e.Time = at.Add(time.Nanosecond) }),
	}
	for name, e := range other {
		if e.Content() == base.Content() {
			t.Errorf("%s does not change the content", name)
		}
	}
}

// A scheduled request has no time: replicas that ask for one slot must say the same, and the year 1 says nothing true.
func TestEncode_leavesOutATimeThatIsNotSet(t *testing.T) {
	t.Parallel()
	_, body := Event{ID: "1", Source: "s", Type: "t"}.Encode()
	if bytes.Contains(body, []byte(`"time"`)) {
		t.Errorf("%s", body)
	}
}
