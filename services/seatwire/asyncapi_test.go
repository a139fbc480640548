package seatwire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// asyncAPI is the public contract as other systems' tools read it.
const asyncAPI = "../../deploy/asyncapi.yaml"

// anyType stands for the messages of the dead-letter subject, which are of every type and of none.
const anyType = "deadletter"

// promised is what the contract says of each subject: the tokens behind it, the one event type there, and what
// Seatwire does with it.
var promised = map[string]channel{
	events.SyncRequestedSubject:         {"{connection}", events.SyncRequestedType, "receive", []string{"binary", "structured"}},
	events.RosterPublishedSubject:       {"{connection}", events.RosterPublishedType, "send", []string{"structured"}},
	events.DeprovisionRequestedSubject:  {"{connection}.{source}", events.DeprovisionRequestedType, "receive", []string{"binary", "structured"}},
	events.DeprovisionCancelledSubject:  {"{connection}.{source}", events.DeprovisionCancelledType, "receive", []string{"binary", "structured"}},
	events.DeprovisionProgressedSubject: {"{connection}.{source}", events.DeprovisionProgressedType, "send", []string{"structured"}},
	events.DeprovisionSettledSubject:    {"{connection}.{source}", events.DeprovisionSettledType, "send", []string{"structured"}},
	events.DeadLetterSubject:            {"{service}.{connection}", anyType, "send", []string{"original"}},
}

type channel struct {
	tokens    string
	eventType string
	action    string
	modes     []string
}

// document is an AsyncAPI file as plain JSON values, and where it is.
type document struct {
	file string
	root map[string]any
}

func readDocument(t *testing.T, file string) document {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := document{file: file}
	if err := yaml.Unmarshal(body, &d.root); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	return d
}

// at returns what a reference points to: file#/json/pointer, either part may be missing.
func (d document) at(t *testing.T, ref string) any {
	t.Helper()
	file, pointer, _ := strings.Cut(ref, "#")
	if file != "" {
		d = readDocument(t, filepath.Join(filepath.Dir(d.file), file))
	}
	var value any = d.root
	for _, token := range strings.Split(pointer, "/")[1:] {
		object, _ := value.(map[string]any) // a nil map has no members
		next, ok := object[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
		if !ok {
			t.Errorf("%s does not resolve", ref)
			return nil
		}
		value = next
	}
	return value
}

// object returns an object at a path of local keys, references followed.
func (d document) object(t *testing.T, from map[string]any, keys ...string) map[string]any {
	t.Helper()
	for _, key := range keys {
		next, ok := from[key].(map[string]any)
		if !ok {
			t.Fatalf("%s of %v is no object", key, keys)
		}
		if ref, ok := next["$ref"].(string); ok {
			if next, ok = d.at(t, ref).(map[string]any); !ok {
				t.Fatalf("%s is no object", ref)
			}
		}
		from = next
	}
	return from
}

// references returns every $ref under value.
func references(value any) (refs []string) {
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			if ref, ok := member.(string); ok && key == "$ref" {
				refs = append(refs, ref)
			}
			refs = append(refs, references(member)...)
		}
	case []any:
		for _, member := range value {
			refs = append(refs, references(member)...)
		}
	}
	return refs
}

func TestAsyncAPI_everyReferenceResolves(t *testing.T) {
	t.Parallel()
	d := readDocument(t, asyncAPI)
	if d.root["asyncapi"] != "3.0.0" {
		t.Errorf("version %v", d.root["asyncapi"])
	}
	refs := references(d.root)
	for _, ref := range refs {
		d.at(t, ref)
	}
	for subject, c := range promised {
		if file := "../pkg/events/schemas/" + c.eventType + ".json"; c.eventType != anyType && !slices.Contains(refs, file) {
			t.Errorf("%s: nothing refers to %s", subject, file)
		}
	}
}

// The table above holds every subject and type of the code, or this test says which one is missing.
func TestAsyncAPI_knowsEveryConstant(t *testing.T) {
	t.Parallel()
	parsed, err := parser.ParseFile(token.NewFileSet(), "../../pkg/events/subjects.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var subjects, types []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		switch name := spec.Names[0].Name; {
		case strings.HasSuffix(name, "Subject"):
			literal := spec.Values[0].(*ast.BinaryExpr).Y.(*ast.BasicLit) // Prefix + "…"
			rest, _ := strconv.Unquote(literal.Value)
			subjects = append(subjects, events.Prefix+rest)
		case strings.HasSuffix(name, "Type"):
			eventType, _ := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			types = append(types, eventType)
		}
		return true
	})
	known := []string{}
	for _, c := range promised {
		if c.eventType != anyType {
			known = append(known, c.eventType)
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(subjects)), slices.Sorted(maps.Keys(promised))); diff != "" {
		t.Errorf("subjects (-code +contract):\n%s", diff)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(types)), slices.Sorted(slices.Values(known))); diff != "" {
		t.Errorf("types (-code +contract):\n%s", diff)
	}
}

var parameter = regexp.MustCompile(`\{([a-z]+)\}`)

func TestAsyncAPI_channelsAreTheSubjects(t *testing.T) {
	t.Parallel()
	d := readDocument(t, asyncAPI)
	got := map[string]channel{}
	for id := range d.object(t, d.root, "channels") {
		c := d.object(t, d.root, "channels", id)
		address, _ := c["address"].(string)
		base, tokens, _ := strings.Cut(address, ".{")
		one := channel{tokens: "{" + tokens, modes: slices.Sorted(maps.Keys(d.object(t, c, "messages")))}
		for _, mode := range one.modes {
			name, _ := d.object(t, c, "messages", mode)["name"].(string)
			if one.eventType != "" && one.eventType != name {
				t.Errorf("%s holds %s and %s", id, one.eventType, name)
			}
			one.eventType = name
		}
		var parameters []string
		for _, match := range parameter.FindAllStringSubmatch(address, -1) {
			parameters = append(parameters, match[1])
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(parameters)), slices.Sorted(maps.Keys(d.object(t, c, "parameters")))); diff != "" {
			t.Errorf("%s, parameters (-address +listed):\n%s", id, diff)
		}
		one.action = d.action(t, id, one.modes)
		got[base] = one
	}
	if diff := cmp.Diff(promised, got, cmp.AllowUnexported(channel{})); diff != "" {
		t.Errorf("channels (-contract +document):\n%s", diff)
	}
}

// action returns what the one operation on a channel does, and checks that it is about every message there.
func (d document) action(t *testing.T, id string, modes []string) string {
	t.Helper()
	var want []any
	for _, mode := range modes {
		want = append(want, map[string]any{"$ref": "#/channels/" + id + "/messages/" + mode})
	}
	actions := []string{}
	for name, value := range d.object(t, d.root, "operations") {
		operation, _ := value.(map[string]any)
		if diff := cmp.Diff(map[string]any{"$ref": "#/channels/" + id}, operation["channel"]); diff != "" {
			continue
		}
		actions = append(actions, fmt.Sprint(operation["action"]))
		if diff := cmp.Diff(want, operation["messages"]); diff != "" {
			t.Errorf("messages of %s (-channel +operation):\n%s", name, diff)
		}
	}
	return strings.Join(actions, " and ")
}

func TestAsyncAPI_messagesAreInTheirChannels(t *testing.T) {
	t.Parallel()
	d := readDocument(t, asyncAPI)
	used := references(d.root["channels"])
	for name := range d.object(t, d.root, "components", "messages") {
		if !slices.Contains(used, "#/components/messages/"+name) {
			t.Errorf("%s is in no channel", name)
		}
	}
}

// enumeration returns the enumeration at a path of keys.
func (d document) enumeration(t *testing.T, keys ...string) (values []string) {
	t.Helper()
	list, _ := d.object(t, d.root, keys...)["enum"].([]any)
	for _, value := range list {
		values = append(values, fmt.Sprint(value))
	}
	return values
}

func TestAsyncAPI_enumerationsAreTheConstants(t *testing.T) {
	t.Parallel()
	d := readDocument(t, asyncAPI)
	services := []string{streams.Fetcher, streams.Normalizer, streams.Publisher, streams.Deprovisioner}
	if diff := cmp.Diff(services, d.enumeration(t, "channels", "deadLetter", "parameters", "service")); diff != "" {
		t.Errorf("services (-code +document):\n%s", diff)
	}
	headers := []string{"components", "schemas", "deadLetterHeaders", "properties"}
	reasons := []string{bus.ReasonUndecodable, bus.ReasonRejected, bus.ReasonExhausted, bus.ReasonPanic, bus.ReasonCrashSuspect}
	if diff := cmp.Diff(reasons, d.enumeration(t, append(headers, bus.HeaderDeadReason)...)); diff != "" {
		t.Errorf("reasons (-code +document):\n%s", diff)
	}
	names := []string{
		bus.HeaderDeadReason, bus.HeaderDeadError, bus.HeaderDeadService, bus.HeaderDeadSubject, bus.HeaderDeadSequence,
		bus.HeaderDeadAttempts, bus.HeaderDeadAt,
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(names)), slices.Sorted(maps.Keys(d.object(t, d.root, headers...)))); diff != "" {
		t.Errorf("headers (-code +document):\n%s", diff)
	}
}

// plain returns a YAML value as the validator wants it.
func plain(t *testing.T, value any) any {
	t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// schema compiles the schema at a pointer of the document; what it refers to is read from its file.
func (d document) schema(t *testing.T, pointer string) *jsonschema.Schema {
	t.Helper()
	path, err := filepath.Abs(d.file)
	if err != nil {
		t.Fatal(err)
	}
	location := (&url.URL{Scheme: "file", Path: path}).String()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(location, plain(t, d.root)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile(location + "#" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestAsyncAPI_examplesAreValid(t *testing.T) {
	t.Parallel()
	d := readDocument(t, asyncAPI)
	for name := range d.object(t, d.root, "components", "messages") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := d.object(t, d.root, "components", "messages", name)
			examples, _ := m["examples"].([]any)
			if len(examples) == 0 {
				t.Fatal("no examples")
			}
			pointer := "/components/messages/" + name
			headers, payload := d.schema(t, pointer+"/headers"), d.schema(t, pointer+"/payload")
			for _, value := range examples {
				example := value.(map[string]any)
				if err := headers.Validate(plain(t, example["headers"])); err != nil {
					t.Errorf("%v, headers: %v", example["name"], err)
				}
				if err := payload.Validate(plain(t, example["payload"])); err != nil {
					t.Errorf("%v, payload: %v", example["name"], err)
				}
				readExample(t, m, example)
			}
			if m["name"] != anyType && headers.Validate(map[string]any{}) == nil {
				t.Error("a message without headers is valid")
			}
			if m["name"] != anyType && payload.Validate(plain(t, []int{})) == nil {
				t.Error("an array is valid")
			}
		})
	}
}

// readExample reads an example as Seatwire reads a message.
func readExample(t *testing.T, m, example map[string]any) {
	t.Helper()
	if m["name"] == anyType {
		return
	}
	header := map[string][]string{}
	for name, value := range example["headers"].(map[string]any) {
		header[name] = []string{fmt.Sprint(value)}
	}
	body, err := json.Marshal(example["payload"])
	if err != nil {
		t.Fatal(err)
	}
	e, err := events.Read(header, body)
	if err != nil || e.Type != m["name"] {
		t.Errorf("%v is read as %q, %v", example["name"], e.Type, err)
	}
}

// What a sender gets wrong most often must not pass for right.
func TestAsyncAPI_refuses(t *testing.T) {
	t.Parallel()
	d := readDocument(t, asyncAPI)
	tests := map[string]struct {
		schema string
		value  map[string]any
	}{
		"a leaver without a time": {"deprovisionRequested/headers", map[string]any{
			"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/hr", "ce-type": events.DeprovisionRequestedType,
		}},
		"a leaver of another type": {"deprovisionRequested/headers", map[string]any{
			"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/hr", "ce-type": "leaver", "ce-time": "2026-11-23T10:00:00Z",
		}},
		"binary mode with the other mode's content type": {"syncRequested/headers", map[string]any{
			"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/hr", "ce-type": events.SyncRequestedType, "Content-Type": events.ContentTypeStructured,
		}},
		"a leaver without a name": {"deprovisionRequested/payload", map[string]any{"reason": "left"}},
		"a structured leaver without a name": {"deprovisionRequestedStructured/payload", map[string]any{
			"specversion": "1.0", "id": "1", "source": "/hr", "type": events.DeprovisionRequestedType, "time": "2026-11-23T10:00:00Z",
			"data": map[string]any{"reason": "left"},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if d.schema(t, "/components/messages/"+tt.schema).Validate(plain(t, tt.value)) == nil {
				t.Error("accepted")
			}
		})
	}
}
