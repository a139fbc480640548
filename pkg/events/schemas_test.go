package events_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
)

// described is the Go type behind each schema, and whether we send it.
var described = map[string]struct {
	data reflect.Type
	ours bool
}{
	events.SyncRequestedType:         {reflect.TypeFor[events.SyncRequested](), false},
	events.RosterPublishedType:       {reflect.TypeFor[events.RosterPublished](), true},
	events.DeprovisionRequestedType:  {reflect.TypeFor[events.DeprovisionRequested](), false},
	events.DeprovisionCancelledType:  {reflect.TypeFor[events.DeprovisionCancelled](), false},
	events.DeprovisionProgressedType: {reflect.TypeFor[events.DeprovisionProgressed](), true},
	events.DeprovisionSettledType:    {reflect.TypeFor[events.DeprovisionSettled](), true},
}

// object is the part of JSON Schema that is compared with Go types.
type object struct {
	Schema      string            `json:"$schema"`
	ID          string            `json:"$id"`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Type        any               `json:"type"`
	Format      string            `json:"format"`
	Enum        []string          `json:"enum"`
	Additional  *bool             `json:"additionalProperties"`
	Required    []string          `json:"required"`
	Properties  map[string]object `json:"properties"`
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func readSchema(t *testing.T, eventType string) object {
	t.Helper()
	document, ok := events.Schema(eventType)
	if !ok {
		t.Fatalf("%s has no schema", eventType)
	}
	var o object
	if err := json.Unmarshal(document, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// constants returns the values of the string constants whose block's comment begins so. It reads the source: a
// constant that somebody adds is then missed by its schema, and not by this test.
func constants(t *testing.T, file, comment string) (values []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range parsed.Decls {
		block, ok := d.(*ast.GenDecl)
		if !ok || block.Tok != token.CONST || !strings.HasPrefix(block.Doc.Text(), comment) {
			continue
		}
		ast.Inspect(block, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, _ := strconv.Unquote(literal.Value)
				values = append(values, value)
			}
			return true
		})
	}
	if len(values) == 0 {
		t.Fatalf("%s has no constants under %q", file, comment)
	}
	slices.Sort(values)
	return values
}

func TestSchema_oneForEachEventType(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("schemas/*")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range files {
		got = append(got, strings.TrimSuffix(filepath.Base(file), ".json"))
	}
	if diff := cmp.Diff(constants(t, "subjects.go", "Event types"), got); diff != "" {
		t.Errorf("event types and files (-want +got):\n%s", diff)
	}
	for _, unknown := range []string{"", "seatwire.sync.requested", "seatwire.sync.requested.v2", "../schemas/seatwire.sync.requested.v1"} {
		if _, ok := events.Schema(unknown); ok {
			t.Errorf("%q has a schema", unknown)
		}
	}
}

func TestSchema_isTheGoType(t *testing.T) {
	t.Parallel()
	for eventType, want := range described {
		t.Run(eventType, func(t *testing.T) {
			t.Parallel()
			o := readSchema(t, eventType)
			if o.Schema != "https://json-schema.org/draft/2020-12/schema" || o.ID != "https://seatwire.invalid/schemas/"+eventType+".json" || o.Title == "" {
				t.Errorf("$schema %q, $id %q, title %q", o.Schema, o.ID, o.Title)
			}
			compareObject(t, o, want.data, want.ours)
		})
	}
}

// compareObject compares an object's members, and those of the objects in it, with a struct's.
func compareObject(t *testing.T, o object, s reflect.Type, ours bool) {
	t.Helper()
	if o.Type != "object" || o.Description == "" {
		t.Errorf("type %v, description %q", o.Type, o.Description)
	}
	if o.Additional == nil || *o.Additional == ours {
		t.Errorf("additionalProperties must be there, and %t", !ours)
	}
	var required []string
	members := map[string]bool{}
	for _, field := range reflect.VisibleFields(s) {
		if field.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		members[name] = true
		if options == "" {
			required = append(required, name)
		}
		p, ok := o.Properties[name]
		if !ok {
			t.Errorf("the member %s is no property", name)
			continue
		}
		t.Run(name, func(t *testing.T) { compareMember(t, p, field.Type, options != "", ours) })
	}
	for name := range o.Properties {
		if !members[name] {
			t.Errorf("the property %s is no member", name)
		}
	}
	if diff := cmp.Diff(required, o.Required); diff != "" {
		t.Errorf("required (-want +got):\n%s", diff)
	}
}

func compareMember(t *testing.T, p object, member reflect.Type, optional, ours bool) {
	t.Helper()
	if p.Description == "" {
		t.Error("no description")
	}
	nullable := member.Kind() == reflect.Pointer && !optional
	if member.Kind() == reflect.Pointer {
		member = member.Elem()
	}
	if (member == reflect.TypeFor[time.Time]()) != (p.Format == "date-time") {
		t.Errorf("a %s of format %q", member, p.Format)
	}
	if p.Enum != nil {
		return // compared with its constants
	}
	want := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Bool: "boolean", reflect.Struct: "object"}[member.Kind()]
	if member == reflect.TypeFor[time.Time]() {
		want = "string"
	}
	if want == "object" {
		compareObject(t, p, member, ours)
		return
	}
	if nullable {
		if diff := cmp.Diff([]any{want, "null"}, p.Type); diff != "" {
			t.Errorf("type (-want +got):\n%s", diff)
		}
	} else if p.Type != want {
		t.Errorf("type %v, want %s", p.Type, want)
	}
}

func TestSchema_enumerationsAreTheConstants(t *testing.T) {
	t.Parallel()
	const source = "../deprovision/request.go"
	reasons := constants(t, source, "Reasons of OutcomeRejected")
	tests := map[string]struct{ got, want []string }{
		"outcomes of a sync": {
			readSchema(t, events.RosterPublishedType).Properties["outcome"].Enum, constants(t, "roster.go", "Outcomes of a sync request"),
		},
		"outcomes of a request": {
			readSchema(t, events.DeprovisionSettledType).Properties["outcome"].Enum, constants(t, source, "Outcomes of a settled request"),
		},
		// Settled is a state that is told by an event of its own.
		"states of a request": {
			append(readSchema(t, events.DeprovisionProgressedType).Properties["state"].Enum, deprovision.Settled),
			constants(t, source, "States of a request"),
		},
		"reasons of a refusal":            {reasonsAllowed(t, deprovision.OutcomeRejected, append(reasons, "", "else")), reasons},
		"reason of what is no refusal":    {reasonsAllowed(t, deprovision.OutcomeCancelled, append(reasons, "", "else")), []string{""}},
		"reasons of a failure are tokens": {reasonsAllowed(t, deprovision.OutcomeFailed, []string{"timeout", "repeated-cursor"}), []string{"repeated-cursor", "timeout"}},
	}
	for name, tt := range tests {
		got := slices.Sorted(slices.Values(tt.got))
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-constants +schema):\n%s", name, diff)
		}
	}
}

// reasonsAllowed returns those of the candidates that the schema lets an outcome have.
func reasonsAllowed(t *testing.T, outcome string, candidates []string) (allowed []string) {
	t.Helper()
	schema := compile(t, events.DeprovisionSettledType)
	for _, reason := range candidates {
		settled := encode(t, events.DeprovisionSettled{RequestSource: "/hr", RequestID: "1", Outcome: outcome, Reason: reason})
		if schema.Validate(settled) == nil {
			allowed = append(allowed, reason)
		}
	}
	return allowed
}

func compile(t testing.TB, eventType string) *jsonschema.Schema {
	t.Helper()
	document, ok := events.Schema(eventType)
	if !ok {
		t.Fatalf("%s has no schema", eventType)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", decode(t, document)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func decode(t testing.TB, document []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func encode(t testing.TB, data any) any {
	t.Helper()
	document, err := json.Marshal(data)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, document)
}

// golden returns type and data of the golden events; see TestEncode_golden.
func golden(t testing.TB) map[string]events.Event {
	t.Helper()
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]events.Event{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := events.Read(map[string][]string{"Content-Type": {events.ContentTypeStructured}}, body)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[file] = e
	}
	return all
}

func TestSchema_acceptsTheGoldenEvents(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for file, e := range golden(t) {
		seen[e.Type] = true
		if err := compile(t, e.Type).Validate(decode(t, e.Data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	for eventType := range described {
		if !seen[eventType] {
			t.Errorf("%s has no golden event", eventType)
		}
	}
}

// What is wrong with these is exactly one thing: each is a golden event with one member set, or taken away.
func TestSchema_refuses(t *testing.T) {
	t.Parallel()
	const absent = "-"
	files := golden(t)
	tests := map[string]struct{ file, member, value string }{
		"sync: reason of a wrong type":         {"sync.requested", "reason", `17`},
		"sync: no legal connection":            {"sync.requested", "connection", `"a.b"`},
		"published: another outcome":           {"roster.published", "outcome", `"done"`},
		"published: nobody asked":              {"roster.published", "requestId", `""`},
		"published: no counts":                 {"roster.published", "counts", absent},
		"published: not all counts":            {"roster.published", "counts", `{"fetched": 1}`},
		"published: half a licence":            {"roster.published", "plan", `{"licenses": 0.5, "assigned": 0}`},
		"published: fewer than none":           {"roster.published", "plan", `{"licenses": 1, "assigned": -1}`},
		"published: a member too many":         {"roster.published", "more", `1`},
		"requested: nobody named":              {"deprovision.requested.least", "email", absent},
		"requested: an address of no address":  {"deprovision.requested", "email", `"ada"`},
		"requested: an address with a comma":   {"deprovision.requested", "email", `"ada,@example.com"`},
		"requested: an address in quotes":      {"deprovision.requested", "email", `"\"ada\"@example.com"`},
		"requested: an address that is a sum":  {"deprovision.requested", "email", `"=ada@example.com"`},
		"requested: an address with a space":   {"deprovision.requested", "email", `"ada @example.com"`},
		"requested: an address with a control": {"deprovision.requested", "email", `"ada\u0000@example.com"`},
		"requested: an endless address":        {"deprovision.requested", "email", `"` + strings.Repeat("a", 320) + `@example.com"`},
		"requested: an id with a comma":        {"deprovision.requested", "psUserId", `"u,1"`},
		"requested: an empty id":               {"deprovision.requested", "psUserId", `""`},
		"requested: an endless reason":         {"deprovision.requested", "reason", `"` + strings.Repeat("a", 5121) + `"`},
		"requested: a day is no time":          {"deprovision.requested", "effectiveAt", `"2026-12-01"`},
		"requested: yes is no boolean":         {"deprovision.requested", "retainPrivileges", `"yes"`},
		"cancelled: no id":                     {"deprovision.cancelled", "id", absent},
		"cancelled: an empty source":           {"deprovision.cancelled", "source", `""`},
		"progressed: an end is no progress":    {"deprovision.progressed", "state", `"settled"`},
		"progressed: no batch member":          {"deprovision.progressed", "batchId", absent},
		"progressed: no time":                  {"deprovision.progressed", "at", `""`},
		"settled: another outcome":             {"deprovision.settled", "outcome", `"deleted"`},
		"settled: removed for a reason":        {"deprovision.settled", "reason", `"stale"`},
		"settled: rejected for none":           {"deprovision.settled.unread", "reason", `""`},
		"settled: removed without proof":       {"deprovision.settled", "evidence", `{"isOnAccount": null, "removedOn": null, "readAt": null}`},
		"settled: removed and still there":     {"deprovision.settled", "evidence", `{"isOnAccount": true, "removedOn": null, "readAt": "2026-11-23T10:00:00Z"}`},
		"settled: evidence of something else":  {"deprovision.settled.unread", "evidence", `{"isOnAccount": null, "removedOn": null, "readAt": null, "x": 1}`},
		"settled: no evidence":                 {"deprovision.settled.unread", "evidence", absent},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := files[filepath.Join("testdata", tt.file+".v1.json")]
			var data map[string]json.RawMessage
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			data[tt.member] = json.RawMessage(tt.value)
			if tt.value == absent {
				delete(data, tt.member)
			}
			if compile(t, e.Type).Validate(encode(t, data)) == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestSchema_lets(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ eventType, data string }{
		"nothing to say":                    {events.SyncRequestedType, `{}`},
		"a member that we do not know":      {events.SyncRequestedType, `{"ticket": "T-1"}`},
		"an id alone":                       {events.DeprovisionRequestedType, `{"psUserId": "0f3c-1", "ticket": {"id": 1}}`},
		"an address with a plus":            {events.DeprovisionRequestedType, `{"email": "Ada+x=1@Example.com"}`},
		"an address of a single letter":     {events.DeprovisionRequestedType, `{"email": "a@b"}`},
		"a time with an offset":             {events.DeprovisionRequestedType, `{"email": "ada@example.com", "effectiveAt": "2026-12-01T01:00:00+01:00"}`},
		"a cancel with a member of its own": {events.DeprovisionCancelledType, `{"source": "/hr", "id": "1", "by": "x"}`},
	}
	for name, tt := range tests {
		if err := compile(t, tt.eventType).Validate(decode(t, []byte(tt.data))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
