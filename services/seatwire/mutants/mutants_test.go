package mutants

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	runAll = flag.Bool("mutants", false, "run the judges of every mutant, and print the table")
	only   = flag.String("mutant", "", "with -mutants: only those whose name matches this expression")
)

// root is the workspace.
const root = "../../.."

// edit replaces a text that stands exactly once in a file.
type edit struct{ file, old, new string }

// mutant is one bug and who must notice it.
type mutant struct {
	name      string
	invariant string
	edits     []edit
	// judge is the test that must fail, in the package at dir.
	dir, judge string
	// note says how the bug of the list was read where our design knows no such thing.
	note string
}

// planted returns the files as they would be with the bug, by their absolute paths.
func (m mutant) planted(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, e := range m.edits {
		path, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			t.Fatal(err)
		}
		text, seen := files[path]
		if !seen {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text = string(body)
		}
		if n := strings.Count(text, e.old); n != 1 {
			t.Fatalf("%s has the text %d times, want once:\n%s", e.file, n, e.old)
		}
		files[path] = strings.Replace(text, e.old, e.new, 1)
	}
	return files
}

// Every bug can be planted: what it replaces is there, and the result is Go. A change of the code that makes one of
// them impossible has to bring the table along.
func TestMutants_canBePlanted(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, m := range table {
		for path, text := range m.planted(t) {
			if _, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution); err != nil {
				t.Errorf("%s: %v", m.name, err)
			}
		}
		if seen[m.name] || m.judge == "" || m.dir == "" || !regexp.MustCompile(`^I-\d\d$`).MatchString(m.invariant) {
			t.Errorf("%q: a name twice, or a judge or an invariant is missing", m.name)
		}
		seen[m.name] = true
	}
	if len(table) < 35 {
		t.Errorf("%d mutants, want 35", len(table))
	}
}

// TestMutants_areCaught runs the judge of each bug.
func TestMutants_areCaught(t *testing.T) {
	if !*runAll {
		t.Skip("make mutants runs them; it takes minutes")
	}
	chosen := slices.DeleteFunc(slices.Clone(table), func(m mutant) bool { return !regexp.MustCompile(*only).MatchString(m.name) })
	checkJudges(t, chosen)
	caught := 0
	fmt.Printf("%-44s %-5s %-8s %5s  %s\n", "planted bug", "inv.", "verdict", "s", "caught by")
	for _, m := range chosen {
		began := time.Now()
		verdict, output := m.run(t)
		fmt.Printf("%-44s %-5s %-8s %5.1f  %s %s\n", m.name, m.invariant, verdict, time.Since(began).Seconds(), m.dir, m.judge)
		if m.note != "" {
			fmt.Printf("%44s %s\n", "", m.note)
		}
		if verdict == "caught" {
			caught++
			continue
		}
		t.Errorf("%s: %s\n%s", m.name, verdict, output)
	}
	fmt.Printf("%d of %d planted bugs caught, each by the test that should\n", caught, len(chosen))
}

// checkJudges proves that the judges pass when no bug is planted: a test that always fails catches everything.
func checkJudges(t *testing.T, chosen []mutant) {
	t.Helper()
	judges := map[string][]string{}
	for _, m := range chosen {
		if !slices.Contains(judges[m.dir], m.judge) {
			judges[m.dir] = append(judges[m.dir], m.judge)
		}
	}
	for dir, names := range judges {
		output, err := goTest(dir, strings.Join(names, "|"))
		if err != nil {
			t.Fatalf("without a bug: %v\n%s", err, output)
		}
		for _, name := range names {
			if !strings.Contains(output, "--- PASS: "+name+" ") {
				t.Fatalf("%s has no test %s that passes without a bug", dir, name)
			}
		}
	}
}

// run plants the bug and returns what its judge says: caught, survived, or what went wrong instead.
func (m mutant) run(t *testing.T) (verdict, output string) {
	t.Helper()
	dir := t.TempDir()
	var overlay struct{ Replace map[string]string }
	overlay.Replace = map[string]string{}
	for path, text := range m.planted(t) {
		with := filepath.Join(dir, fmt.Sprintf("%d.go", len(overlay.Replace)))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = with
	}
	body, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err = goTest(m.dir, m.judge, "-overlay", file)
	switch {
	case err == nil:
		return "SURVIVED", output
	case strings.Contains(output, "[build failed]") || strings.Contains(output, "[setup failed]"):
		return "no Go", output
	case !strings.Contains(output, "--- FAIL: "+m.judge+" "):
		return "by another", output
	default:
		return "caught", output
	}
}

// goTest runs tests by their names, as they are in make test but for the race detector.
func goTest(dir, names string, flags ...string) (string, error) {
	args := append([]string{"test", "-count=1", "-vet=off", "-v", "-timeout=5m", "-run=^(" + names + ")$"}, flags...)
	cmd := exec.Command("go", append(args, "./"+dir)...)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	return string(out), err
}
