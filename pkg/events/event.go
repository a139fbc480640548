// Package events is what is said between Seatwire and other systems: CloudEvents 1.0 over NATS, their subjects
// and their data.
//
// Read accepts both content modes, structured and binary, from anybody; Encode writes structured. Read never
// panics and never guesses: what cannot be read as an event is an "undecodable" fault, which the messaging adapter
// turns into a dead letter. Whether a readable event makes sense is for the service that asked for it.
//
// Identity of a request is (connection, source token of the subject, CloudEvents source, CloudEvents id). The
// token is part of it so that no publisher can use up another's identity.
package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// MaxBody is the largest event body, in bytes.
	MaxBody = 128 << 10
	// MaxDepth is how deep the JSON of an event may nest.
	MaxDepth = 64

	// ContentTypeStructured marks an event whose attributes are in the body.
	ContentTypeStructured = "application/cloudevents+json"

	specVersion = "1.0"
	// maxAttribute bounds id, source and type, in bytes: they end up in keys and listings.
	maxAttribute = 1024
)

// Event is one CloudEvent. Time is zero when the attribute is missing or no RFC 3339 time.
type Event struct {
	ID     string
	Source string
	Type   string
	Time   time.Time
	// Data is the event's JSON, "{}" when there was none.
	Data json.RawMessage
}

// wire is the structured form. Pointers tell a missing attribute from an empty one.
type wire struct {
	SpecVersion     *string         `json:"specversion"`
	ID              *string         `json:"id"`
	Source          *string         `json:"source"`
	Type            *string         `json:"type"`
	Time            json.RawMessage `json:"time,omitempty"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
	DataBase64      []byte          `json:"data_base64,omitempty"`
}

// Read decodes a message in either content mode. Every error is a permanent fault with reason "undecodable".
func Read(header map[string][]string, body []byte) (Event, error) {
	if len(body) > MaxBody {
		return Event{}, undecodable("the body is larger than %d bytes", MaxBody)
	}
	attributes, contentType, err := attributes(header)
	if err != nil {
		return Event{}, err
	}
	if err := checkJSON(body); err != nil {
		return Event{}, err
	}
	var w wire
	if contentType == ContentTypeStructured {
		w, err = structured(body)
	} else {
		w, err = binaryMode(attributes, body)
	}
	if err != nil {
		return Event{}, err
	}
	return w.event()
}

func undecodable(detail string, args ...any) *fault.Error {
	return fault.New(fault.Permanent, "undecodable", detail, args...)
}

// attributes collects the ce- headers, lower-cased and percent-decoded, and the bare content type.
func attributes(header map[string][]string) (map[string]string, string, error) {
	found, contentType := map[string]string{}, ""
	for name, values := range header {
		name = strings.ToLower(name)
		switch {
		case name == "content-type" && (contentType != "" || len(values) != 1):
			return nil, "", undecodable("the content type is repeated")
		case name == "content-type":
			contentType, _, _ = strings.Cut(strings.ToLower(values[0]), ";")
			contentType = strings.TrimSpace(contentType)
		case strings.HasPrefix(name, "ce-"):
			if _, again := found[name]; again || len(values) != 1 {
				return nil, "", undecodable("a ce- header is repeated")
			}
			value, err := url.PathUnescape(values[0])
			if err != nil {
				value = values[0]
			}
			if !utf8.ValidString(value) {
				return nil, "", undecodable("a ce- header is not UTF-8")
			}
			found[name] = value
		}
	}
	return found, contentType, nil
}

func structured(body []byte) (wire, error) {
	var w wire
	err := members(body, map[string]any{
		"specversion": &w.SpecVersion, "id": &w.ID, "source": &w.Source, "type": &w.Type,
		"time": &w.Time, "datacontenttype": &w.DataContentType, "data": &w.Data, "data_base64": &w.DataBase64,
	})
	if err != nil {
		return wire{}, undecodable("the body is no structured CloudEvent").Because(err)
	}
	if w.Data == nil && w.DataBase64 != nil {
		w.Data = w.DataBase64
		return w, checkJSON(w.Data)
	}
	return w, nil
}

func binaryMode(attributes map[string]string, body []byte) (wire, error) {
	attribute := func(name string) *string {
		if value, ok := attributes[name]; ok {
			return &value
		}
		return nil
	}
	if len(attributes) == 0 {
		return wire{}, undecodable("neither ce- headers nor content type %s", ContentTypeStructured)
	}
	w := wire{
		SpecVersion: attribute("ce-specversion"), ID: attribute("ce-id"),
		Source: attribute("ce-source"), Type: attribute("ce-type"),
		Data: body,
	}
	if at := attribute("ce-time"); at != nil {
		w.Time, _ = json.Marshal(*at)
	}
	return w, nil
}

// event checks the required attributes. A bad time is left zero: such an event can still be answered.
func (w wire) event() (Event, error) {
	for _, required := range []struct {
		name  string
		value *string
	}{{"specversion", w.SpecVersion}, {"id", w.ID}, {"source", w.Source}, {"type", w.Type}} {
		if required.value == nil || *required.value == "" {
			return Event{}, undecodable("the attribute %s is missing", required.name)
		}
		if len(*required.value) > maxAttribute {
			return Event{}, undecodable("the attribute %s is longer than %d bytes", required.name, maxAttribute)
		}
	}
	if *w.SpecVersion != specVersion {
		return Event{}, undecodable("specversion is not %s", specVersion)
	}
	e := Event{ID: *w.ID, Source: *w.Source, Type: *w.Type, Data: w.Data}
	var at string
	if json.Unmarshal(w.Time, &at) == nil {
		e.Time = parseTime(at)
	}
	if trimmed := bytes.TrimSpace(e.Data); len(trimmed) == 0 || bytes.Equal(trimmed, []byte("null")) {
		e.Data = json.RawMessage("{}")
	}
	return e, nil
}

// parseTime returns zero for what is no RFC 3339 time, and for one whose year has no four digits once its zone is taken
// off: no such time can be written down again.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if year := t.UTC().Year(); err != nil || year < 0 || year > 9999 {
		return time.Time{}
	}
	return t
}

// checkJSON refuses what encoding/json would repair or choke on: bad UTF-8, deep nesting, trailing text.
func checkJSON(body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		return undecodable("the body is not UTF-8")
	}
	if depth(body) > MaxDepth {
		return undecodable("the JSON is nested deeper than %d", MaxDepth)
	}
	if !json.Valid(body) {
		return undecodable("the body is not JSON")
	}
	return nil
}

// depth is the deepest nesting of objects and arrays outside strings.
func depth(body []byte) (deepest int) {
	now, inString, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// Encode returns the structured form: header and body of one message.
func (e Event) Encode() (map[string][]string, []byte) {
	version := specVersion
	var at json.RawMessage
	if !e.Time.IsZero() {
		at, _ = json.Marshal(e.Time.UTC().Format(time.RFC3339Nano))
	}
	// Marshalling plain strings and JSON that was valid before cannot fail.
	body, err := json.Marshal(wire{
		SpecVersion: &version, ID: &e.ID, Source: &e.Source, Type: &e.Type,
		Time: at, DataContentType: "application/json", Data: e.Data,
	})
	if err != nil {
		panic("events: encode: data is not JSON")
	}
	return map[string][]string{"Content-Type": {ContentTypeStructured}}, body
}

// Key is the event's identity within a connection, as a token: a hash, because ids are free text and may be personal.
func (e Event) Key(scope ...string) string { return Key(append(scope, e.Source, e.ID)...) }

// Key hashes parts into a 32 character token. Parts are length-prefixed, so ("ab","c") and ("a","bc") differ.
func Key(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Content is a hash of everything the event says besides its identity: type, time and data, white space aside.
// Two events of one identity and one content are the same event sent twice, whatever content mode each used.
func (e Event) Content() string {
	var compact bytes.Buffer
	if json.Compact(&compact, e.Data) != nil {
		return Key(e.Type, e.Time.UTC().Format(time.RFC3339Nano), string(e.Data))
	}
	return Key(e.Type, e.Time.UTC().Format(time.RFC3339Nano), compact.String())
}
