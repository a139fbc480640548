package pluralsight

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/fault"
)

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	got, err := WriteCSV([]Row{
		{ID: "21", Email: "user1@example.com", FirstName: "John", LastName: "Doe"},
		{ID: `CORP\ada l`, Email: "o'brien@example.com", FirstName: "  Ada\n\"Queen\", of ", LastName: "=O'Brien-Łoś"},
		{ID: "ü-3", Email: "x@y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "id,email,first_name,last_name\n" +
		"21,user1@example.com,John,Doe\n" +
		"CORP\\ada l,o'brien@example.com,Ada Queen of,OBrien-Łoś\n" +
		"ü-3,x@y,,\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestWriteCSV_Refuses(t *testing.T) {
	t.Parallel()
	row := func(id, email string) Row { return Row{ID: id, Email: email} }
	cases := map[string]struct {
		rows   []Row
		reason string
	}{
		"nobody":                     {nil, "csv-empty"},
		"no id":                      {[]Row{row("", "a@b")}, "csv-bad-id"},
		"no address":                 {[]Row{row("1", "")}, "csv-bad-email"},
		"no at sign":                 {[]Row{row("1", "ada")}, "csv-bad-email"},
		"nothing after it":           {[]Row{row("1", "ada@")}, "csv-bad-email"},
		"a blank in the address":     {[]Row{row("1", "a da@b")}, "csv-bad-email"},
		"the same id":                {[]Row{row("1", "a@b"), row("1", "c@d")}, "csv-duplicate"},
		"the same id but its case":   {[]Row{row("aK", "a@b"), row("A\u212a", "c@d")}, "csv-duplicate"},
		"the same address":           {[]Row{row("1", "a@b"), row("2", "A@B")}, "csv-duplicate"},
		"one bad row of many":        {[]Row{row("1", "a@b"), row("2", "=c@d")}, "csv-bad-email"},
		"an end of file to Postgres": {[]Row{row(`\.`, "a@b")}, "csv-bad-id"},
	}
	for _, bad := range []string{
		"a\"b", "a,b", "a;b", "\u201ca\u201d", "a\nb", "a\rb", "a\tb", "a\x00b", "a\x7fb", "a\xffb", "a\u2028b", "a\u0085b", "a\u200bb",
		"a\u00a0b", "\ufeffa", "a\ufffdb", "=a", "+a", "-a", "@a", " a", "a ",
	} {
		cases[fmt.Sprintf("the id %q", bad)] = struct {
			rows   []Row
			reason string
		}{[]Row{row(bad, "a@b")}, "csv-bad-id"}
		cases[fmt.Sprintf("the address %q", bad)] = struct {
			rows   []Row
			reason string
		}{[]Row{row("1", bad+"@b")}, "csv-bad-email"}
	}
	delete(cases, `the address "a "`) // that blank is inside: a case of its own above
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := WriteCSV(c.rows)
			if fault.ReasonOf(err) != c.reason || fault.ClassOf(err) != fault.Permanent || got != nil {
				t.Errorf("got %q, %v; want %s", got, err, c.reason)
			}
			if err != nil && strings.Contains(err.Error(), "@") {
				t.Errorf("the error quotes the row: %v", err)
			}
		})
	}
}

// TestWriteCSV_EveryParserReadsTheSame is the reason for all the refusals: a strict parser, a lazy one, one that only
// splits, and one that takes any line end must agree, or somebody else loses their licence.
func TestWriteCSV_EveryParserReadsTheSame(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9 "',;=+@.\-]{0,12}`))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "rows")
		var rows []Row
		for i := range n {
			rows = append(rows, Row{
				ID:        fmt.Sprintf("%d%s", i, text.Draw(t, "id")),
				Email:     fmt.Sprintf("%d%s@example.com", i, text.Draw(t, "email")),
				FirstName: text.Draw(t, "first"), LastName: text.Draw(t, "last"),
			})
		}
		file, err := WriteCSV(rows)
		if err != nil {
			return
		}
		read, err := ReadCSV(file)
		if err != nil || len(read) != n {
			t.Fatalf("read back %d rows, %v", len(read), err)
		}
		checkParsers(t, file, rows)
	})
}

// checkParsers wants every parser to see the same file, and in it the ids and addresses of rows.
func checkParsers(t rapid.TB, file []byte, rows []Row) {
	t.Helper()
	strict, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil || !utf8.Valid(file) {
		t.Fatalf("strict: %v in %q", err, file)
	}
	if diff := cmp.Diff(splitLines(string(file)), strict); diff != "" {
		t.Fatal(diff)
	}
	for i, r := range rows {
		got := strict[i+1]
		if got[0] != r.ID || got[1] != r.Email {
			t.Fatalf("row %d is %q; want %q", i, got, r)
		}
		for _, f := range got {
			if f != strings.TrimSpace(f) || strings.ContainsAny(f, "\"") || f != "" && strings.ContainsRune("=+-@", rune(f[0])) {
				t.Fatalf("%q cannot stand unquoted", f)
			}
		}
	}
}

// splitLines is the naive parser: any line end that anybody honours, then commas.
func splitLines(s string) [][]string {
	var out [][]string
	lines := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("\n\r\v\f\u0085\u2028\u2029", r) })
	for _, l := range lines {
		out = append(out, strings.Split(l, ","))
	}
	return out
}

func TestReadCSV_RefusesForeignFiles(t *testing.T) {
	t.Parallel()
	const head = "id,email,first_name,last_name\n"
	for _, file := range []string{
		"", head, "id,email\n1,a@b\n", strings.ToUpper(head) + "1,a@b,,\n", head + "1,a@b,,", head + "1,a@b,\n", head + "1,a@b,,,\n",
		head + "\"1\",a@b,,\n", head + "1,a@b,,\r\n", head + "1,a@b,,\n\n", head + "1,a@b,O'B,\n", head + "1,a@b,,\n1,c@d,,\n", "\ufeff" + head + "1,a@b,,\n",
	} {
		if rows, err := ReadCSV([]byte(file)); err == nil {
			t.Errorf("%q passed as %v", file, rows)
		}
	}
}

func TestRow_Check(t *testing.T) {
	t.Parallel()
	if err := (Row{ID: "1", Email: "a@b", FirstName: "\"\x00"}).Check(); err != nil {
		t.Errorf("a name is no reason: %v", err)
	}
	if err := (Row{ID: "1", Email: "a,b@c"}).Check(); fault.ReasonOf(err) != "csv-bad-email" {
		t.Errorf("got %v", err)
	}
}

// FuzzCSV: what is written, of any text, is the same to everybody; what is refused is not quoted.
func FuzzCSV(f *testing.F) {
	f.Add("1", "a@b", "Ada", "L")
	f.Add("=1", "canary@example.com", "\"", ",")
	f.Add("\u212a", "a\u2028@b", strings.Repeat("ab ", 60), "-.-")
	f.Fuzz(func(t *testing.T, id, email, first, last string) {
		rows := []Row{{id, email, first, last}, {"0" + id, "0" + email, last, first}}
		file, err := WriteCSV(rows)
		if err != nil {
			checkUnquoted(t, err)
			return
		}
		checkParsers(t, file, rows)
	})
}

// FuzzReadCSV: a file that is taken for ours reads the same to everybody, whoever wrote it.
func FuzzReadCSV(f *testing.F) {
	f.Add([]byte(csvHeader + "\n1,a@b,Ada,L\n"))
	f.Add([]byte(csvHeader + "\n1,canary@example.com,\"Ada\",L\r\n"))
	f.Add([]byte(csvHeader + "\n\n1,a@b,,\n1,a@b,,\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		rows, err := ReadCSV(file)
		if err != nil {
			checkUnquoted(t, err)
			return
		}
		checkParsers(t, file, rows)
	})
}
