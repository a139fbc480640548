package faultbench

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func sequenceText(n int) string { return strconv.Itoa(n) }

// Whatever is wrong with the configuration, each program exits 2 with one plain line that names the file, the key and
// the mend, shows no secret, and starts nothing.
func TestPrograms_refuseAWrongConfiguration(t *testing.T) {
	t.Parallel()
	const good = `connections:
  - name: acme
    pluralsight: {token: {value: canary-key-acme}}
    sync: {every: 0}
`
	cases := []struct {
		name, text string
		says       []string
	}{
		{"no file", "", []string{"seatwire.yaml"}},
		{"no YAML", "connections: [", []string{"seatwire.yaml"}},
		{"unknown key", good + "retries: {}\n", []string{"seatwire.yaml", "retries"}},
		{"missing token", strings.Replace(good, "{value: canary-key-acme}", "{}", 1), []string{"seatwire.yaml", "token", "API token is missing"}},
		{"illegal name", strings.Replace(good, "acme", "Ac_me", 1), []string{"seatwire.yaml", "name"}},
		{"page size beyond the limit", strings.Replace(good, "{token:", "{pageSize: 1001, token:", 1), []string{"seatwire.yaml", "pageSize", "1000"}},
		{"two secrets in one", strings.Replace(good, "{value: canary-key-acme}", "{value: canary-key-acme, env: X}", 1), []string{"seatwire.yaml", "token"}},
	}
	for _, service := range services {
		for _, c := range cases {
			t.Run(service+" "+c.name, func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), "seatwire.yaml")
				if c.text != "" {
					if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				code, stderr := runToEnd(t, service, "-config", file)
				if code != 2 || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
					t.Errorf("exit %d, want 2 and one line:\n%s", code, stderr)
				}
				for _, want := range c.says {
					if !strings.Contains(stderr, want) {
						t.Errorf("the line does not say %q: %s", want, stderr)
					}
				}
				if leak.MatchString(stderr) {
					t.Error("the line shows a secret")
				}
			})
		}
		t.Run(service+" unknown flag", func(t *testing.T) {
			t.Parallel()
			if code, stderr := runToEnd(t, service, "-nosuch"); code != 2 || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, want 2 and one line:\n%s", code, stderr)
			}
		})
	}
}

// runToEnd runs a program that is to end by itself.
func runToEnd(t *testing.T, service string, args ...string) (code int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), drainLimit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(programs, service), args...)
	cmd.Stderr = &out
	_ = cmd.Run() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String()
}

// Alive without a broker, ready with everything bound, not ready without the broker and ready again with it; SIGTERM
// exits 0, with work in hand and without a broker too.
func TestPrograms_healthAndStop(t *testing.T) {
	t.Parallel()
	b := Start(t, Options{People: 400, Latency: 30 * time.Millisecond})
	b.every(func(p *program) {
		wantStatus(t, p, "/livez", http.StatusOK)
		wantStatus(t, p, "/readyz", http.StatusOK)
		if status, text := p.get("/metrics"); status != http.StatusOK || !strings.Contains(text, "go_goroutines") {
			t.Errorf("%s: /metrics answers %d", p.service, status)
		}
		if n := strings.Count(p.text(), `"listen":`); n != 1 {
			t.Errorf("%s logged the bound address %d times", p.service, n)
		}
	})
	b.KillNATS()
	b.Await(startLimit, "no program is ready without the broker", func() bool { return b.all("/readyz", http.StatusServiceUnavailable) })
	b.every(func(p *program) { wantStatus(t, p, "/livez", http.StatusOK) })
	b.RestartNATS()
	b.Await(startLimit, "every program is ready again", func() bool { return b.all("/readyz", http.StatusOK) })

	asked := b.Request("acme", "hr")
	b.Await(startLimit, "a sweep is under way", func() bool { return b.count(time.Time{}, of("fetcher")) > 2 })
	b.every(func(p *program) {
		if code := p.terminate(drainLimit); code != 0 {
			t.Errorf("%s: SIGTERM with a sync under way exits %d", p.service, code)
		}
	})
	b.every(func(p *program) { p.start(t) })
	b.AwaitReady()
	b.wantDone(b.Outcome(asked).RosterPublished)
	b.Judge()

	b.KillNATS()
	b.every(func(p *program) {
		if code := p.terminate(drainLimit); code != 0 {
			t.Errorf("%s: SIGTERM without a broker exits %d", p.service, code)
		}
	})
	b.RestartNATS() // the judges of a failure want to read
}

func (b *Bench) all(path string, status int) bool {
	same := true
	b.every(func(p *program) {
		got, _ := p.get(path)
		same = same && got == status
	})
	return same
}

func wantStatus(t *testing.T, p *program, path string, want int) {
	t.Helper()
	if got, _ := p.get(path); got != want {
		t.Errorf("%s: %s answers %d, want %d", p.service, path, got, want)
	}
}
