package pluralsightsim

import (
	"strconv"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string. It is written by hand because a page holds thousands of them and the users query
// is what throughput is measured with; invalid UTF-8 becomes the replacement character, as in encoding/json.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(append(b, s[start:i]...), `\ufffd`...)
		} else {
			b = appendEscape(append(b, s[start:i]...), c)
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	}
}

// encoder builds the JSON of an answer in the plan's dialect.
type encoder struct {
	buf []byte
	sw  *Switches
}

func (e *encoder) raw(s string)    { e.buf = append(e.buf, s...) }
func (e *encoder) byte(c byte)     { e.buf = append(e.buf, c) }
func (e *encoder) null()           { e.raw("null") }
func (e *encoder) int(n int)       { e.buf = strconv.AppendInt(e.buf, int64(n), 10) }
func (e *encoder) string(s string) { e.buf = appendString(e.buf, s) }
func (e *encoder) bool(v bool)     { e.buf = strconv.AppendBool(e.buf, v) }

// text writes a nullable string: "" is null.
func (e *encoder) text(s string) {
	if s == "" {
		e.null()
		return
	}
	e.string(s)
}

// list writes a nullable list of strings.
func (e *encoder) list(items []string, write func(string)) {
	e.byte('[')
	for i, s := range items {
		if i > 0 {
			e.byte(',')
		}
		write(s)
	}
	e.byte(']')
}

// id writes an id as a string, or as a number where the plan's ids are numbers.
func (e *encoder) id(s string) {
	if e.sw.Users.NumericIDs {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			e.buf = strconv.AppendInt(e.buf, n, 10)
			return
		}
	}
	e.text(s)
}

var dateForms = map[string]string{
	"millis":  "2006-01-02T15:04:05.000Z",
	"seconds": "2006-01-02T15:04:05Z",
	"nanos":   "2006-01-02T15:04:05.000000000Z",
	"offset":  "2006-01-02T15:04:05.000-07:00",
	"date":    "2006-01-02",
}

// mountain is where the vendor sits; offsets are only written in that form.
var mountain = time.FixedZone("MST", -7*60*60)

// time writes a nullable DateTime.
func (e *encoder) time(t time.Time) {
	switch {
	case t.IsZero() && e.sw.Users.EmptyDates:
		e.raw(`""`)
	case t.IsZero():
		e.null()
	case e.sw.Users.DateForm == "millis":
		e.millis(t.UTC())
	case e.sw.Users.DateForm == "offset":
		e.string(t.In(mountain).Format(dateForms["offset"]))
	default:
		e.string(t.UTC().Format(dateForms[e.sw.Users.DateForm]))
	}
}

// millis is the documented form, by hand: four of them for each person.
func (e *encoder) millis(t time.Time) {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	e.byte('"')
	e.digits(year, 4)
	e.byte('-')
	e.digits(int(month), 2)
	e.byte('-')
	e.digits(day, 2)
	e.byte('T')
	e.digits(hour, 2)
	e.byte(':')
	e.digits(minute, 2)
	e.byte(':')
	e.digits(second, 2)
	e.byte('.')
	e.digits(t.Nanosecond()/1_000_000, 3)
	e.raw(`Z"`)
}

func (e *encoder) digits(n, width int) {
	for range width {
		e.byte('0')
	}
	for i := len(e.buf) - 1; n > 0 && width > 0; i, n, width = i-1, n/10, width-1 {
		e.buf[i] = byte('0' + n%10)
	}
}

// object writes the selected fields of one value; table says how. __typename needs no entry, and a field of the schema
// that the table lacks has no value here: null.
func object[T any](e *encoder, sel []selection, table map[string]func(*encoder, *selection, T), v T) {
	e.byte('{')
	for i := range sel {
		s := &sel[i]
		if i > 0 {
			e.byte(',')
		}
		e.raw(s.prefix)
		write := table[s.name]
		switch {
		case s.name == "__typename":
			e.string(s.typeName)
		case write == nil:
			e.null()
		default:
			write(e, s, v)
		}
	}
	e.byte('}')
}
