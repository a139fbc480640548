package faultbench

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	chaos = flag.Duration("chaos", 0, "strike for `DURATION`, with 20,000 people, and each fault at least once; 0 is the short form")
	seed  = flag.Uint64("seed", 0, "draw the faults of an earlier run again; 0 draws a new `SEED`")
	tally = flag.String("tally", "", "report the figures of earlier runs in `FILE` too, and leave all of them there")
)

// programs is the directory of the built programs.
var programs string

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	// The default is as many tests at once as there are processors; these wait for take-overs nearly all the time. In the
	// long form each of them writes through to the one disk all the time.
	parallel := "16"
	if *chaos > 0 {
		parallel = "6"
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err) // the flag is go test's own
	}
	goleak.VerifyTestMain(built{m})
}

// built runs the tests with the programs built, and removes them.
type built struct{ *testing.M }

func (b built) Run() int {
	dir, err := os.MkdirTemp("", "faultbench-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(build(dir, "."), goBuild(dir, ".", nil, serverPackage)); err != nil {
		fmt.Println(err)
		return 1
	}
	programs = dir
	code := b.M.Run()
	if *tally != "" {
		if err := found.join(*tally); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	found.report(os.Stdout)
	return code
}

// build makes the programs of a working tree, of which source is a directory, as make build does but with failpoints, and
// without the race detector, whose slowness would hide races between processes instead of finding them.
func build(out, source string, flags ...string) error {
	args := append([]string{"-tags", "failpoints"}, flags...)
	for _, s := range append([]string{"seatwire"}, services...) {
		args = append(args, "github.com/seatwire/seatwire/services/"+s+"/cmd/"+s)
	}
	return goBuild(out, source, nil, args...)
}

// goBuild leaves static programs in the directory out.
func goBuild(out, source string, env []string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-o", out + string(filepath.Separator)}, args...)...)
	cmd.Env, cmd.Dir = append(append(os.Environ(), "CGO_ENABLED=0"), env...), source
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return nil
}

// outside builds a program of a module that never meets ours, and returns its file.
func outside(t *testing.T, module, what, name string) string {
	t.Helper()
	out := t.TempDir()
	if err := goBuild(out, module, []string{"GOWORK=off"}, what); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(out, name)
}

// draw returns a show's own source of chance; shows run side by side and must not disturb each other's.
func draw(t *testing.T, stream uint64) *rand.Rand {
	t.Helper()
	t.Logf("seed %d (-seed=%d)", *seed, *seed)
	return rand.New(rand.NewPCG(*seed, stream))
}
