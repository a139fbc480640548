package pluralsight

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seatwire/seatwire/pkg/fault"
)

// envelope is what a GraphQL answer carries around its data.
type envelope struct {
	hasData  bool
	errors   []responseError
	warnings []json.RawMessage
}

// responseError is one entry of an answer's errors. All of it is the vendor's text: decide by it, never print it.
type responseError struct {
	message string
	path    []string
	codes   []string
}

// responseErrors is the cause of faults that an answer's errors led to. Its own text is about their number only.
type responseErrors struct {
	status int
	list   []responseError
}

func (e *responseErrors) Error() string { return fmt.Sprintf("%d GraphQL errors", len(e.list)) }

// maxObjects bounds what an answer takes once decoded: an empty object is two bytes on the wire, and two hundred as a
// person. A page has at most a thousand people.
const maxObjects = 100_000

// decodeEnvelope reads one GraphQL answer, its data into data, which is a pointer. Bytes after the answer are as wrong as
// bytes missing from it. The data is decoded in place: a page is 70 KB, and every look at it counts.
func decodeEnvelope(body []byte, data any) (envelope, error) {
	if bytes.Count(body, []byte("{")) > maxObjects {
		return envelope{}, fault.New(fault.Permanent, "too-large", "the answer holds more than %d objects", maxObjects)
	}
	members := struct {
		Data       any             `json:"data"`
		Errors     json.RawMessage `json:"errors"`
		Extensions json.RawMessage `json:"extensions"`
	}{Data: data}
	if trimmed := bytes.TrimSpace(body); len(trimmed) > 0 && trimmed[0] != '{' && json.Valid(trimmed) {
		return envelope{}, fault.New(fault.Permanent, "bad-shape", "the answer is not a JSON object")
	}
	if err := json.Unmarshal(body, &members); err != nil {
		return envelope{}, decodeFault(err, body)
	}
	return envelope{
		// A null takes the pointer away; a missing member leaves it, and leaves no trace of itself either.
		hasData:  members.Data != nil && bytes.Contains(body, []byte(`"data"`)),
		errors:   parseErrors(members.Errors),
		warnings: parseWarnings(members.Extensions),
	}, nil
}

// decodeFault classifies what encoding/json says of an answer. A cut or foreign body may be whole next time; a wrong
// type will not be right.
func decodeFault(err error, body []byte) error {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fault.New(fault.Permanent, "bad-shape", "a part of the answer has a type that the schema does not allow").Because(err)
	}
	// Only a decoder tells a cut answer from a foreign one.
	var whole json.RawMessage
	if cut := json.NewDecoder(bytes.NewReader(body)).Decode(&whole); errors.Is(cut, io.EOF) || errors.Is(cut, io.ErrUnexpectedEOF) {
		return fault.New(fault.Transient, "truncated", "the answer ends too early").Because(err)
	}
	return fault.New(fault.Transient, "not-json", "the answer is not JSON").Because(err)
}

// parseErrors reads the errors of an answer in whatever shape they come. Anything but null and the empty list is at
// least one error: an answer must not become sound because its complaint is malformed.
func parseErrors(raw json.RawMessage) []responseError {
	items := list(raw)
	out := make([]responseError, 0, len(items))
	for _, item := range items {
		out = append(out, parseError(item))
	}
	return out
}

func parseError(raw json.RawMessage) responseError {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return responseError{message: text}
	}
	var members struct{ Message, Path, Extensions, Code json.RawMessage }
	if json.Unmarshal(raw, &members) != nil {
		return responseError{}
	}
	e := responseError{codes: codes(members.Extensions)}
	_ = json.Unmarshal(members.Message, &e.message) // an odd message is no message
	for _, step := range list(members.Path) {
		var name string
		if json.Unmarshal(step, &name) == nil {
			e.path = append(e.path, name)
		}
	}
	var code string
	if json.Unmarshal(members.Code, &code) == nil && code != "" {
		e.codes = append(e.codes, strings.ToUpper(code))
	}
	return e
}

// codes reads extensions, which Pluralsight documents as a list and everybody else as an object.
func codes(raw json.RawMessage) []string {
	var out []string
	for _, item := range list(raw) {
		var ext struct{ Code string }
		if json.Unmarshal(item, &ext) == nil && ext.Code != "" {
			out = append(out, strings.ToUpper(ext.Code))
		}
	}
	return out
}

// maxItems is how many elements of a list are looked at. An answer with more errors than that is as wrong as with fewer,
// and each would take two hundred times its two bytes in memory.
const maxItems = 1000

// list returns the elements of a JSON array, or a single other value as the only one; null and nothing are none.
func list(raw json.RawMessage) []json.RawMessage {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if raw[0] != '[' {
		return []json.RawMessage{raw}
	}
	var items []json.RawMessage
	d := json.NewDecoder(bytes.NewReader(raw))
	_, err := d.Token() // the bracket
	for err == nil && d.More() && len(items) < maxItems {
		var item json.RawMessage
		if err = d.Decode(&item); err == nil {
			items = append(items, item)
		}
	}
	return items
}
