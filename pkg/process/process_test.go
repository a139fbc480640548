package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/fault"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(stubbornEnv); path != "" { // we are the child of TestMain_SecondSignalKills
		os.Exit(Main(stubborn, []string{"-config", path}, noEnv, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

const stubbornEnv = "SEATWIRE_TEST_STUBBORN"

// stubborn never drains.
var stubborn = Program{Name: "stubborn", Run: func(ctx context.Context, p *Process) error {
	p.Log.Info("running")
	<-ctx.Done()
	p.Log.Info("asked to stop")
	select {}
}}

func noEnv(string) string { return "" }

// sampleConfig writes a legal configuration and returns its path.
func sampleConfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seatwire.yaml")
	text := "connections: [{name: acme, pluralsight: {token: {value: hunter2-hunter2}}}]"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is a program started in the test's process, its signals simulated by cancel.
type running struct {
	cancel context.CancelFunc
	url    string // http://bound address
	exit   chan int
	log    *bytes.Buffer // whole after exit
}

// launch starts p and waits for the line that tells the bound address.
func launch(t *testing.T, p Program) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	run := &running{cancel: cancel, exit: make(chan int, 1), log: new(bytes.Buffer)}
	go func() {
		code := start(ctx, p, []string{"-config", sampleConfig(t)}, noEnv, w)
		w.Close()
		run.exit <- code
	}()
	lines := bufio.NewScanner(io.TeeReader(r, run.log))
	for run.url == "" && lines.Scan() {
		run.url = listenLine(lines.Bytes())
	}
	if run.url == "" {
		t.Fatalf("no listen attribute in:\n%s", run.log)
	}
	drained := make(chan struct{})
	go func() {
		for lines.Scan() {
		}
		close(drained)
	}()
	t.Cleanup(func() { cancel(); <-drained })
	return run
}

func listenLine(line []byte) string {
	var l struct{ Listen string }
	if json.Unmarshal(line, &l) != nil || l.Listen == "" {
		return ""
	}
	return "http://" + l.Listen
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// TestStart_HealthThroughALife follows a process from its start over readiness and trouble to its drain.
func TestStart_HealthThroughALife(t *testing.T) {
	t.Parallel()
	register, registered := make(chan struct{}), make(chan struct{})
	release, draining := make(chan struct{}), make(chan struct{})
	trouble := make(chan error, 1)
	run := launch(t, Program{Name: "fetcher", Run: func(ctx context.Context, p *Process) error {
		<-register
		p.Health.Register("streams", func(context.Context) error { return nil })
		p.Health.Register("nats", func(context.Context) error {
			select {
			case err := <-trouble:
				return err
			default:
				return nil
			}
		})
		close(registered)
		<-ctx.Done()
		close(draining)
		<-release
		return ctx.Err()
	}})

	expect(t, run.url+"/livez", 200, `{"status":"alive"}`)
	expect(t, run.url+"/readyz", 503, `{"status":"not ready","failing":["starting"]}`)
	close(register)
	<-registered
	expect(t, run.url+"/readyz", 200, `{"status":"ready"}`)
	trouble <- errors.New("lost hunter2 at ada@example.com")
	expect(t, run.url+"/readyz", 503, `{"status":"not ready","failing":["nats"]}`)
	expect(t, run.url+"/readyz", 200, `{"status":"ready"}`)
	run.cancel()
	<-draining
	expect(t, run.url+"/readyz", 503, `{"status":"not ready","failing":["draining"]}`)
	expect(t, run.url+"/livez", 200, `{"status":"alive"}`)
	close(release)
	if code := <-run.exit; code != ExitOK {
		t.Errorf("exit %d after a drain", code)
	}
}

func expect(t *testing.T, url string, code int, body string) {
	t.Helper()
	if gotCode, gotBody := get(t, url); gotCode != code || strings.TrimSpace(gotBody) != body {
		t.Errorf("%s: got %d %s; want %d %s", url, gotCode, gotBody, code, body)
	}
}

func TestStart_MetricsAreOurRegistrys(t *testing.T) {
	t.Parallel()
	run := launch(t, Program{Name: "fetcher", Run: func(ctx context.Context, _ *Process) error {
		<-ctx.Done()
		return nil
	}})
	code, body := get(t, run.url+"/metrics")
	for _, want := range []string{"go_goroutines ", "process_open_fds ", `seatwire_build_info{goversion="go`, `program="fetcher"`} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("%d, lacks %s", code, want)
		}
	}
	if code, _ := get(t, run.url+"/debug/pprof/"); code != http.StatusNotFound {
		t.Errorf("an address that we do not serve answers %d", code)
	}
	run.cancel()
	if code := <-run.exit; code != ExitOK {
		t.Errorf("exit %d", code)
	}
}

func TestStart_FailureExits1(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	p := Program{Name: "fetcher", Run: func(context.Context, *Process) error {
		return fmt.Errorf("run: %w", fault.New(fault.Permanent, "stream-missing", "stream X is not there"))
	}}
	if code := start(t.Context(), p, []string{"--config=" + sampleConfig(t)}, noEnv, &stderr); code != ExitFailure {
		t.Errorf("exit %d", code)
	}
	for line := range strings.Lines(stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a JSON line: %s", line)
		}
	}
	if !strings.Contains(stderr.String(), `"reason":"stream-missing"`) {
		t.Errorf("the failure is not logged:\n%s", &stderr)
	}
}

func TestStart_OccupiedAddressExits1(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var stderr bytes.Buffer
	args := []string{"-config", sampleConfig(t), "-listen", taken.Addr().String()}
	if code := start(t.Context(), mustNotRun(t), args, noEnv, &stderr); code != ExitFailure {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(stderr.String(), "address already in use; give -listen a free address") {
		t.Errorf("stderr: %s", &stderr)
	}
}

// TestStart_RefusalsStartNothing: wrong usage and configuration end with code 2 and one plain line.
func TestStart_RefusalsStartNothing(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("connections: [{name: acme}]"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := func(name string) string { return map[string]string{"SEATWIRE_CONFIG": bad}[name] }
	for name, c := range map[string]struct {
		args   []string
		getenv func(string) string
		want   string
	}{
		"unknown flag":      {[]string{"-x"}, noEnv, "fetcher: flag provided but not defined: -x; fetcher -h lists the flags\n"},
		"argument":          {[]string{"x"}, noEnv, "fetcher: takes no arguments, only flags; fetcher -h lists the flags\n"},
		"default file":      {nil, noEnv, "fetcher: ./seatwire.yaml: cannot read the configuration: no such file or directory; name it with -config FILE or SEATWIRE_CONFIG\n"},
		"file from flag":    {[]string{"-config", bad}, noEnv, "fetcher: " + bad + ":1: connections[acme].pluralsight.token: API token is missing; write {file: PATH}, {env: NAME} or {value: TEXT}\n"},
		"file from env":     {nil, env, "fetcher: " + bad + ":1: connections[acme].pluralsight.token: API token is missing; write {file: PATH}, {env: NAME} or {value: TEXT}\n"},
		"the flag wins":     {[]string{"--config", "/none.yaml"}, env, "fetcher: /none.yaml: cannot read the configuration: no such file or directory; name it with -config FILE or SEATWIRE_CONFIG\n"},
		"flag without file": {[]string{"-config"}, noEnv, "fetcher: flag needs an argument: -config; fetcher -h lists the flags\n"},
	} {
		var stderr bytes.Buffer
		if code := start(t.Context(), mustNotRun(t), c.args, c.getenv, &stderr); code != ExitUsage || stderr.String() != c.want {
			t.Errorf("%s: exit %d\n got %swant %s", name, code, &stderr, c.want)
		}
	}
}

func TestStart_HelpListsTheFlags(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	if code := start(t.Context(), mustNotRun(t), []string{"-h"}, noEnv, &stderr); code != ExitOK {
		t.Errorf("exit %d", code)
	}
	if !strings.Contains(stderr.String(), "-config FILE") || !strings.Contains(stderr.String(), "-listen ADDR") {
		t.Errorf("stderr: %s", &stderr)
	}
	if _, err := parseFlags("x", []string{"-h"}, noEnv, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v", err)
	}
}

func mustNotRun(t *testing.T) Program {
	return Program{Name: "fetcher", Run: func(context.Context, *Process) error {
		t.Error("the service was started")
		return nil
	}}
}

// TestMain_TakesARealSignal is the one test of the signal itself, sent once Run is known to be reached. It is not
// parallel: a signal is the whole process's.
func TestMain_TakesARealSignal(t *testing.T) {
	p := Program{Name: "fetcher", Run: func(ctx context.Context, _ *Process) error {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}}
	var stderr bytes.Buffer
	if code := Main(p, []string{"-config", sampleConfig(t)}, noEnv, &stderr); code != ExitOK {
		t.Errorf("exit %d:\n%s", code, &stderr)
	}
}

// TestMain_SecondSignalKills: a drain that hangs can be ended by hand. It takes a process of its own.
func TestMain_SecondSignalKills(t *testing.T) {
	t.Parallel()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), stubbornEnv+"="+sampleConfig(t))
	stderr, err := child.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	waitLine(t, lines, "running")
	signalChild(t, child)
	waitLine(t, lines, "asked to stop")
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	again := time.NewTicker(20 * time.Millisecond) // the first signal's effect on the second may be a moment late
	defer again.Stop()
	limit := time.After(20 * time.Second)
	for {
		select {
		case <-again.C:
			_ = child.Process.Signal(syscall.SIGTERM) // it may be gone, which is what we wait for
		case err := <-ended:
			status, ok := child.ProcessState.Sys().(syscall.WaitStatus)
			if !ok || !status.Signaled() || status.Signal() != syscall.SIGTERM {
				t.Errorf("it ended with %v", err)
			}
			return
		case <-limit:
			_ = child.Process.Kill()
			t.Fatal("the second signal does not kill")
		}
	}
}

func signalChild(t *testing.T, child *exec.Cmd) {
	t.Helper()
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func waitLine(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("no line says %q", text)
}

func TestNewLogger_ScrubsWhatOthersQuote(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLogger(&out)
	log.Error("cannot reach nats://ops:hunter2@broker:4222",
		"error", errors.New(`post "https://x?e=ada@example.com": header "Bearer abcdef.0123456789": <Grace.Hopper+1@sub.example.org>`),
		"users", []string{"Alan@localhost", "o'brien@example.ie"})
	text := out.String()
	for _, secret := range []string{"hunter2", "ada", "Grace", "Hopper", "Alan", "brien", "abcdef", "0123456789", "@example", "@localhost"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %s", secret, text)
		}
	}
	for _, kept := range []string{"cannot reach nats://[redacted]@broker:4222", "[address]", "Bearer [redacted]"} {
		if !strings.Contains(text, kept) {
			t.Errorf("%q is not in %s", kept, text)
		}
	}
	if !json.Valid(out.Bytes()) {
		t.Errorf("no longer JSON: %s", text)
	}
}
