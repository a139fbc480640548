package pluralsightsim

import (
	"bytes"
	"encoding/csv"
	"strings"
	"unicode/utf8"
)

// csvHeader is the documented first line, to the letter.
const csvHeader = "id,email,first_name,last_name"

// sheet is what validation makes of a file: the rows as they came and, for each, what is wrong with it.
type sheet struct {
	rows    []Row
	invalid []bool // parallel to rows
	broken  bool   // the file as a whole: header, encoding, quoting, or duplicates where these refuse it
}

func (s *sheet) errors() bool {
	for _, bad := range s.invalid {
		if bad {
			return true
		}
	}
	return s.broken
}

// good returns the rows without errors; a broken file has none.
func (s *sheet) good() []Row {
	var out []Row
	for i, row := range s.rows {
		if !s.broken && !s.invalid[i] {
			out = append(out, row)
		}
	}
	return out
}

// readSheet parses and validates a file. A byte-order mark, another header or a bad encoding break it as a whole.
func readSheet(body []byte, sw *DeprovisionSwitches) *sheet {
	s := &sheet{}
	head, rest, _ := bytes.Cut(body, []byte("\n"))
	if !utf8.Valid(body) || strings.TrimSuffix(string(head), "\r") != csvHeader {
		s.broken = true
		return s
	}
	if sw.Parser == "naive" {
		s.split(string(rest))
	} else {
		s.parse(rest)
	}
	s.validate(sw)
	return s
}

// parse reads RFC 4180. A quote where none may be breaks the file, since nobody can say where the next row begins.
func (s *sheet) parse(b []byte) {
	r := csv.NewReader(bytes.NewReader(b))
	r.FieldsPerRecord = -1
	records, err := r.ReadAll()
	if err != nil {
		s.broken = true
	}
	for _, fields := range records {
		s.add(fields)
	}
}

// split knows commas and line ends and nothing else: a quoted comma makes a field too many, and a quote stays in its
// field, where it breaks the row.
func (s *sheet) split(text string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		s.add(strings.Split(line, ","))
		if strings.Contains(line, `"`) {
			s.invalid[len(s.invalid)-1] = true
		}
	}
}

func (s *sheet) add(fields []string) {
	var row Row
	for i, into := range []*string{&row.ID, &row.Email, &row.FirstName, &row.LastName} {
		if i < len(fields) {
			*into = fields[i]
		}
	}
	s.rows = append(s.rows, row)
	s.invalid = append(s.invalid, len(fields) != 4 || row.ID == "" || row.Email == "")
}

// validate finds refused rows and duplicates. An address differing only in case is the same address.
func (s *sheet) validate(sw *DeprovisionSwitches) {
	first := map[string]int{}
	for i, row := range s.rows {
		for _, refused := range sw.RefuseRows {
			s.invalid[i] = s.invalid[i] || row.ID == refused || strings.EqualFold(row.Email, refused)
		}
		for _, key := range []string{"id " + row.ID, "email " + strings.ToLower(row.Email)} {
			if strings.HasSuffix(key, " ") {
				continue
			}
			if earlier, seen := first[key]; seen {
				s.duplicate(earlier, i, sw.Duplicates)
				continue
			}
			first[key] = i
		}
	}
}

func (s *sheet) duplicate(earlier, later int, policy string) {
	switch policy {
	case "drop-one":
		s.invalid[later] = true
	case "drop-both":
		s.invalid[earlier], s.invalid[later] = true, true
	default:
		s.broken = true
	}
}
