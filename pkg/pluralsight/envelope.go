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

// decodeEnvelope reads one GraphQL answer, its data into data, which is a pointer. Bytes after the answer are as wrong as
// bytes missing from it.
func decodeEnvelope(body []byte, data any) (envelope, error) {
	d := json.NewDecoder(bytes.NewReader(body)) // unlike Unmarshal, it tells a cut answer from a foreign one
	var members map[string]json.RawMessage
	if err := d.Decode(&members); err != nil {
		return envelope{}, decodeFault(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return envelope{}, fault.New(fault.Transient, "not-json", "something follows the answer")
	}
	if members == nil {
		return envelope{}, fault.New(fault.Permanent, "bad-shape", "the answer is not a JSON object")
	}
	raw := members["data"]
	env := envelope{
		hasData:  len(raw) > 0 && string(raw) != "null",
		errors:   parseErrors(members["errors"]),
		warnings: parseWarnings(members["extensions"]),
	}
	if env.hasData {
		if err := json.Unmarshal(raw, data); err != nil {
			return envelope{}, decodeFault(err)
		}
	}
	return env, nil
}

// decodeFault classifies what encoding/json says. A cut or foreign body may be whole next time; a wrong type will
// not be right. What is neither a wrong type nor bad syntax is an end too early: nothing else can happen to bytes.
func decodeFault(err error) error {
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fault.New(fault.Permanent, "bad-shape", "a part of the answer has a type that the schema does not allow").Because(err)
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fault.New(fault.Transient, "not-json", "the answer is not JSON").Because(err)
	}
	return fault.New(fault.Transient, "truncated", "the answer ends too early").Because(err)
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

// list returns the elements of a JSON array, or a single other value as the only one; null and nothing are none.
func list(raw json.RawMessage) []json.RawMessage {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) == nil {
		return items
	}
	return []json.RawMessage{raw}
}
