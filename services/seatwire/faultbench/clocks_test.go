package faultbench

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// clock is how wrong a host's clock is: by so much, and from some seconds after the start of a process by something else.
type clock struct {
	name              string
	off, later, after time.Duration
}

// clocks are those of research/reliability.md 3.2.
var clocks = []clock{
	{name: "ten minutes fast", off: 10 * time.Minute, later: 10 * time.Minute},
	{name: "ten minutes slow", off: -10 * time.Minute, later: -10 * time.Minute},
	{name: "a day fast", off: 24 * time.Hour, later: 24 * time.Hour},
	{name: "a day slow", off: -24 * time.Hour, later: -24 * time.Hour},
	{name: "stepping back by ten minutes", off: 10 * time.Minute, later: 0, after: 5 * time.Second},
	{name: "stepping on by ten minutes", off: 0, later: 10 * time.Minute, after: 5 * time.Second},
}

// env is what the programs of skewed read.
func (c clock) env() string {
	return fmt.Sprintf("%s=%d %d %d", clockEnv, int64(c.off.Seconds()), int64(c.later.Seconds()), int64(c.after.Seconds()))
}

// TestClocks_oneHostIsWrong has one of two replicas of each service live at another time of day: work goes to and fro
// between it and the other, each leaves some unfinished, and no decision is different for it.
func TestClocks_oneHostIsWrong(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("builds the standard library with another time.Now: make chaos")
	}
	wrong := skewed(t)
	w := startWorld(t, draw(t, 870), Options{People: 200, PageSize: 20, BatchSize: 20, Replicas: 2, Latency: 3 * time.Millisecond})
	for range passes(2) {
		for _, c := range clocks {
			began := time.Now()
			for _, service := range services {
				w.replicas[service][1].env = c.env()
				w.replace(service, 1, wrong)
			}
			w.round(func() { w.handOver(0) }) // everything to the wrong one
			w.round(func() { w.handOver(1) }) // and back
			found.fault(rowClock, 1)
			found.tests(clockFree, 2)
			t.Logf("everything done with a clock %s, in %s", c.name, time.Since(began).Round(time.Second))
		}
	}
	w.judge()
}

// handOver kills a replica of each service with work in hand, and starts it again when the other had time to go on.
func (w *world) handOver(replica int) {
	w.t.Helper()
	for _, service := range services {
		w.Kill9(service, replica)
	}
	w.pass()
	for _, service := range services {
		w.Restart(service, replica)
	}
}

// clockEnv holds seconds: by how much the clock is wrong, by how much later, and from which second of the process on.
const clockEnv = "FAULTBENCH_CLOCK"

// wrongNow takes the place of the beginning of time.Now. The monotonic reading stays what it is, as on a real host.
const wrongNow = `
	sec, nsec, mono := runtimeNow()
	clockOnce.Do(readClock)
	if mono-startNano < clockAfter*1e9 {
		sec += clockOff
	} else {
		sec += clockLater
	}
`

const readClock = `
var (
	clockOnce                       sync.Once
	clockOff, clockLater, clockAfter int64
)

func readClock() {
	text, _ := syscall.Getenv("` + clockEnv + `")
	for _, number := range []*int64{&clockOff, &clockLater, &clockAfter} {
		sign := int64(1)
		for len(text) > 0 && text[0] == ' ' {
			text = text[1:]
		}
		if len(text) > 0 && text[0] == '-' {
			sign, text = -1, text[1:]
		}
		for len(text) > 0 && text[0] >= '0' && text[0] <= '9' {
			*number, text = *number*10+int64(text[0]-'0'), text[1:]
		}
		*number *= sign
	}
}
`

// skewed builds the programs with a standard library whose clock obeys clockEnv, and returns their directory.
func skewed(t *testing.T) string {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	source, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	const begins = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	text, imports := string(source), "import (\n"
	if strings.Count(text, begins) != 1 || strings.Count(text, imports) != 1 {
		t.Fatalf("time.Now of this Go begins in another way: adapt %s", t.Name())
	}
	text = strings.Replace(text, begins, "func Now() Time {"+wrongNow, 1)
	text = strings.Replace(text, imports, imports+"\t\"sync\"\n\t\"syscall\"\n", 1) + readClock
	dir := t.TempDir()
	replaced, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	body, err := json.Marshal(map[string]map[string]string{"Replace": {original: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string][]byte{replaced: []byte(text), overlay: body} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := build(dir, ".", "-overlay="+overlay); err != nil {
		t.Fatal(err)
	}
	return dir
}
