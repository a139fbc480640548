package failpoint_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/failpoint"
)

// visitor reaches D11 three times and says so, with a body in between.
const visitor = "./testdata/visitor"

func build(t *testing.T, tags string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "visitor")
	cmd := exec.Command("go", "build", "-tags", tags, "-o", out, visitor)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

func run(program, dir string) (out string, code int) {
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), failpoint.Env+"="+dir)
	text, _ := cmd.Output() // the exit code says it
	return string(text), cmd.ProcessState.ExitCode()
}

func TestShippedPrograms_holdNoPoint(t *testing.T) {
	t.Parallel()
	program := build(t, "")
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(binary, []byte(failpoint.D11)) || bytes.Contains(binary, []byte(failpoint.Env)) {
		t.Error("a program without the tag knows of points")
	}
	dir := t.TempDir()
	arm(t, dir, failpoint.D11, failpoint.Order{Action: failpoint.Kill, At: 1})
	if out, code := run(program, dir); code != 0 || out != "one\ntwo\nthree\n" {
		t.Errorf("an order moved it: %q, exit %d", out, code)
	}
}

func TestTaggedPrograms_obey(t *testing.T) {
	t.Parallel()
	program := build(t, "failpoints")
	cases := map[string]struct {
		point   failpoint.Point
		order   failpoint.Order
		out     string
		code    int
		strikes int
	}{
		"no order for it": {failpoint.D12, failpoint.Order{Action: failpoint.Kill, At: 1}, "one\ntwo\nthree\n", 0, 0},
		"never so often":  {failpoint.D11, failpoint.Order{Action: failpoint.Kill, At: 4}, "one\ntwo\nthree\n", 0, 0},
		"kill":            {failpoint.D11, failpoint.Order{Action: failpoint.Kill, At: 2}, "one\n", -1, 1},
		"exit":            {failpoint.D11, failpoint.Order{Action: failpoint.Exit, At: 1}, "", 3, 1},
		"stack":           {failpoint.D11, failpoint.Order{Action: failpoint.Stack, At: 3}, "one\ntwo\n", 2, 1},
		"memory":          {failpoint.D11, failpoint.Order{Action: failpoint.Memory, At: 3}, "one\ntwo\n", 2, 1},
		"one panic":       {failpoint.D11, failpoint.Order{Action: failpoint.Panic, At: 1}, "caught\ntwo\nthree\n", 0, 1},
		"panics for ever": {failpoint.D11, failpoint.Order{Action: failpoint.Panic, At: 2, Always: true}, "one\ncaught\ncaught\n", 0, 2},
		"half a body":     {failpoint.D10, failpoint.Order{Action: failpoint.Kill, At: 1}, "", -1, 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			arm(t, dir, c.point, c.order)
			if out, code := run(program, dir); out != c.out || code != c.code {
				t.Errorf("%q, exit %d; want %q, exit %d", out, code, c.out, c.code)
			}
			if counts, err := failpoint.Strikes(dir); err != nil || counts[c.point] != c.strikes {
				t.Errorf("%d strikes, want %d: %v", counts[c.point], c.strikes, err)
			}
		})
	}
}

func TestDisarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	arm(t, dir, failpoint.D11, failpoint.Order{Action: failpoint.Kill, At: 1})
	for range 2 {
		if err := failpoint.Disarm(dir, failpoint.D11); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d orders are left", len(left))
	}
}

// Two points of one number would take each other's orders.
func TestAll_haveTheirOwnNumbers(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range failpoint.All() {
		number, _, _ := strings.Cut(string(p), " ")
		if seen[number] {
			t.Errorf("%s is there twice", number)
		}
		seen[number] = true
	}
	if len(seen) != 46 {
		t.Errorf("%d points", len(seen))
	}
}

func arm(t *testing.T, dir string, p failpoint.Point, o failpoint.Order) {
	t.Helper()
	if err := failpoint.Arm(dir, p, o); err != nil {
		t.Fatal(err)
	}
}
