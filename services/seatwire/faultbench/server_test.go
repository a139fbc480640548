package faultbench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// serverPackage is the NATS server's program, as make images builds it from this tree's modules.
	serverPackage = "github.com/nats-io/nats-server/v2"
	// previousServer is the module that pins the release before it. A new minor release moves it.
	previousServer = "../../../deploy/tools/nats-previous"
)

// buildServer makes the NATS server of this tree, and returns its file.
func buildServer(t *testing.T) string {
	t.Helper()
	return goBuild(t, os.Environ(), ".", serverPackage, "nats-server")
}

// buildPreviousServer makes the release before it, whose module never meets ours.
func buildPreviousServer(t *testing.T) string {
	t.Helper()
	return goBuild(t, append(os.Environ(), "GOWORK=off"), previousServer, "tool", "nats-server")
}

// goBuild builds a package and returns its program, a file of that name.
func goBuild(t *testing.T, env []string, dir, what, name string) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command("go", "build", "-o", out+string(filepath.Separator), what)
	cmd.Env, cmd.Dir = append(env, "CGO_ENABLED=0"), dir
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, said)
	}
	return filepath.Join(out, name)
}

// launch starts the server's own program as the node, and returns when it listens.
func (n *node) launch(t *testing.T) {
	t.Helper()
	file := filepath.Join(n.Dir, "nats.conf")
	if err := os.WriteFile(file, []byte(n.settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	n.run(t, "-c", file)
}

// run starts the program with any arguments, and returns when it listens.
func (n *node) run(t *testing.T, args ...string) {
	t.Helper()
	n.log = &serverLog{ready: make(chan struct{})}
	cmd := exec.Command(n.program, args...)
	cmd.Stderr, cmd.SysProcAttr = n.log, leash()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.child = &child{cmd}
	select {
	case <-n.log.ready:
	case <-time.After(startLimit):
		t.Fatalf("%s is not ready:\n%s", n.Name, n.log.all())
	}
}

// settings are those of serve, as a file. The monitoring address is besides them.
func (n *node) settings() string {
	var routes []string
	for _, address := range n.Routes {
		routes = append(routes, fmt.Sprintf("%q", "nats-route://"+address))
	}
	return fmt.Sprintf(`server_name: %s
listen: %q
http: %q
jetstream: {store_dir: %q, sync_interval: always, max_file_store: %d, cipher: chachapoly, key: %q}
cluster: {name: faultbench, listen: %q, no_advertise: true, advertise: "127.0.0.1:1", routes: [%s]}
`, n.Name, n.Client, n.monitor, n.Dir, int64(maxStore), n.Key, n.Route, strings.Join(routes, ", "))
}

// terminate ends the server as a deployment does.
func (n *node) terminate(t *testing.T) {
	t.Helper()
	cmd := n.child.cmd
	_ = cmd.Process.Signal(syscall.SIGTERM) // an error says that it is gone already, and Wait says how
	late := time.AfterFunc(drainLimit, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: SIGTERM: %v\n%s", n.Name, err, n.log.all())
	}
	n.child.cmd = nil
}

// healthy reports whether the server says that all it keeps is as new as the others'.
func (n *node) healthy() bool {
	var health struct {
		Status string `json:"status"`
	}
	return n.ask("/healthz", &health) && health.Status == "ok"
}

// version is what the server says it is; empty is no answer.
func (n *node) version() string {
	var about struct {
		Version string `json:"version"`
	}
	n.ask("/varz", &about)
	return about.Version
}

func (n *node) ask(path string, answer any) bool {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + n.monitor + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(answer) == nil
}

// serverLog keeps what one process of a server wrote, and sees when it is ready.
type serverLog struct {
	mu     sync.Mutex
	text   bytes.Buffer
	ready  chan struct{}
	isOpen bool
}

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	if !l.isOpen && bytes.Contains(l.text.Bytes(), []byte("Server is ready")) {
		l.isOpen = true
		close(l.ready)
	}
	return len(b), nil
}

func (l *serverLog) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// complaints are the lines that are no mere information.
func (l *serverLog) complaints() (lines []string) {
	for line := range strings.Lines(l.all()) {
		if strings.Contains(line, "[WRN]") || strings.Contains(line, "[ERR]") || strings.Contains(line, "[FTL]") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
