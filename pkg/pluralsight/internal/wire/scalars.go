// Package wire holds the generated GraphQL types and the scalars that they are made of. Nothing outside
// package pluralsight sees it: what callers get are that package's own types.
package wire

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"
)

// ID is an identifier. The schema says string; numbers are taken too, digit for digit, because ids of products have
// been seen as both. Null leaves it empty.
type ID string

// UnmarshalJSON takes a string, a number or null.
func (id *ID) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		return nil
	case b[0] == '"':
		return json.Unmarshal(b, (*string)(id))
	}
	var n json.Number
	if err := json.Unmarshal(b, &n); err != nil {
		// The type's own error, so that encoding/json adds which field it was.
		return &json.UnmarshalTypeError{Value: "neither string nor number", Type: reflect.TypeFor[ID]()}
	}
	*id = ID(n)
	return nil
}

// DateTime is a moment as Pluralsight writes it. One odd date must not cost a page of a hundred people, so what cannot
// be read becomes the zero time, marked Odd for the page to report.
type DateTime struct {
	time.Time
	Odd bool
}

// layouts in order of likelihood. Fractions of a second are accepted after any of them that has seconds.
var layouts = []string{
	time.RFC3339,
	"2006-01-02T15:04:05",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05",
	time.DateOnly,
}

// UnmarshalJSON never fails on well-formed JSON.
func (d *DateTime) UnmarshalJSON(b []byte) error {
	*d = DateTime{}
	var s *string
	if json.Unmarshal(b, &s) != nil {
		d.Odd = true
		return nil
	}
	if s != nil {
		*d = ParseDateTime(*s)
	}
	return nil
}

// ParseDateTime reads RFC 3339 and its usual losses: no fraction, no colon or no zone at all (then it is UTC), no time.
// The empty text is no date, and not an odd one; a date that is beyond the year 9999 in UTC is, because JSON has no such.
func ParseDateTime(s string) DateTime {
	s = strings.TrimSpace(s)
	if s == "" {
		return DateTime{}
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil && t.UTC().Year() >= 0 && t.UTC().Year() <= 9999 {
			return DateTime{Time: t.UTC()}
		}
	}
	return DateTime{Odd: true}
}
