package pluralsight

import (
	"bytes"
	"encoding/csv"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seatwire/seatwire/pkg/fault"
)

// csvHeader is the first line of every file, exactly.
const csvHeader = "id,email,first_name,last_name"

// maxName is how many runes of a name are kept.
const maxName = 100

// Row is one person in a file for Pluralsight.
type Row struct {
	// ID is what the vendor matches first: the SSO identifier, where it is known and unique.
	ID string
	// Email is matched when ID is not found.
	Email     string
	FirstName string
	LastName  string
}

// Check says why the row cannot go into a file, or nil. An id or an address goes as it is or not at all: a changed one
// is another person's.
func (r Row) Check() error {
	if why := unfit(r.ID); why != "" {
		return fault.New(fault.Permanent, "csv-bad-id", "the id %s", why)
	}
	if why := unfit(r.Email); why != "" {
		return fault.New(fault.Permanent, "csv-bad-email", "the e-mail address %s", why)
	}
	if local, domain, ok := strings.Cut(r.Email, "@"); !ok || local == "" || domain == "" || strings.Contains(r.Email, " ") {
		return fault.New(fault.Permanent, "csv-bad-email", "the e-mail address is not one")
	}
	return nil
}

// unfit says why a value cannot stand in a file. Quoting is no way out: Pluralsight advises against quotes and commas,
// so its parser may not honour them.
func unfit(s string) string {
	switch {
	case s == "":
		return "is missing"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsAny(s, "\",;\u201c\u201d\u201e\u201f\u00ab\u00bb\ufffd"):
		return "holds a quote, a comma or a semicolon"
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "holds a character that cannot be printed"
	case strings.TrimSpace(s) != s:
		return "begins or ends with a blank"
	case strings.ContainsRune("=+-@", rune(s[0])):
		return "begins with a character that spreadsheets take for a formula"
	case s == `\.`:
		return "means the end of a file to some databases"
	}
	return ""
}

// WriteCSV returns the file for rows: UTF-8 without a mark, LF, no quotes. Names are only for people's eyes, so what
// could need quoting is taken out of them. A row that fails [Row.Check], and a repeated id or address whatever its
// case, refuse the whole file; the failure names the row by its number.
func WriteCSV(rows []Row) ([]byte, error) {
	if len(rows) == 0 {
		return nil, fault.New(fault.Permanent, "csv-empty", "a file needs at least one row")
	}
	if err := checkRows(rows); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.WriteString(csvHeader + "\n")
	for _, r := range rows {
		out.WriteString(strings.Join([]string{r.ID, r.Email, cleanName(r.FirstName), cleanName(r.LastName)}, ",") + "\n")
	}
	return out.Bytes(), nil
}

// ReadCSV reads a file that WriteCSV wrote, and refuses any other: what is sent is what this package made.
func ReadCSV(file []byte) ([]Row, error) {
	if bytes.ContainsAny(file, "\"\r") || !bytes.HasPrefix(file, []byte(csvHeader+"\n")) || !bytes.HasSuffix(file, []byte("\n")) {
		return nil, fault.New(fault.Permanent, "csv-foreign", "this file was not written by Seatwire")
	}
	r := csv.NewReader(bytes.NewReader(file))
	r.FieldsPerRecord = 4
	var rows []Row
	for {
		f, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fault.New(fault.Permanent, "csv-foreign", "this file was not written by Seatwire").Because(err)
		}
		rows = append(rows, Row{f[0], f[1], f[2], f[3]})
	}
	rows = rows[1:]
	written, err := WriteCSV(rows)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(written, file) {
		return nil, fault.New(fault.Permanent, "csv-foreign", "this file was not written by Seatwire")
	}
	return rows, nil
}

func checkRows(rows []Row) error {
	ids, emails := map[string]int{}, map[string]int{}
	for i, r := range rows {
		if err := r.Check(); err != nil {
			return fault.New(fault.Permanent, fault.ReasonOf(err), "row %d: %s", i+1, fault.Text(err))
		}
		for _, unique := range []struct {
			seen      map[string]int
			key, what string
		}{{ids, Fold(r.ID), "id"}, {emails, Fold(r.Email), "e-mail address"}} {
			if first := unique.seen[unique.key]; first > 0 {
				return fault.New(fault.Permanent, "csv-duplicate", "rows %d and %d have the same %s", first, i+1, unique.what)
			}
			unique.seen[unique.key] = i + 1
		}
	}
	return nil
}

// Fold maps texts that differ in case only to the same key, beyond what lower-casing does. Two ids, or addresses, of one
// key cannot stand in one file: nobody promises that Pluralsight tells them apart.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}

// cleanName keeps letters, marks, digits, full stops, hyphens and single blanks, and nothing at the front that a
// spreadsheet could take for a formula. The result may be empty.
func cleanName(s string) string {
	var out strings.Builder
	kept := 0
	for _, word := range strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		word = strings.TrimLeft(strings.Map(nameRune, word), "-.")
		if word == "" || kept >= maxName {
			continue
		}
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		runes := []rune(word)
		runes = runes[:min(len(runes), maxName-kept)]
		kept += len(runes) + 1
		out.WriteString(string(runes))
	}
	return out.String()
}

func nameRune(r rune) rune {
	if r == utf8.RuneError || r != '-' && r != '.' && !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) {
		return -1
	}
	return r
}
