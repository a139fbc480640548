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

	"github.com/seatwire/seatwire/pkg/natstest"
)

// serverPackage is the NATS server's program, as make images builds it from this tree's modules.
const serverPackage = "github.com/nats-io/nats-server/v2"

// maxStore is what a server may fill: as much as seatwire up allows, since the streams reserve their limits.
const maxStore = 128 << 30

// node is one NATS server, a process: the only one, or one of a cluster's.
type node struct {
	name, client, dir string
	// key encrypts what it stores; empty leaves it plain.
	key string
	// route is where other nodes find it, routes are where it finds them: proxies of its own. One without is alone.
	route  string
	routes []string
	// program is the file that runs it, monitor where it says how it is.
	program, monitor string
	cmd              *exec.Cmd
	// log is of the process that was started last, ended closes when that is gone.
	log   *serverLog
	ended chan struct{}
}

// newNode returns one that runs this tree's server, which the test ends.
func newNode(t *testing.T, name, dir string) *node {
	t.Helper()
	n := &node{name: name, client: natstest.FreeAddress(t).String(), monitor: natstest.FreeAddress(t).String(), dir: dir, program: filepath.Join(programs, "nats-server")}
	t.Cleanup(n.kill)
	return n
}

// start starts the server on its data, and returns when it listens; that a cluster's has caught up is another matter.
func (n *node) start(t *testing.T) {
	t.Helper()
	file := filepath.Join(n.dir, "nats.conf")
	if err := os.WriteFile(file, []byte(n.settings()), 0o600); err != nil {
		t.Fatal(err)
	}
	n.run(t, "-c", file)
}

// run is start with arguments of any kind.
func (n *node) run(t *testing.T, args ...string) {
	t.Helper()
	n.log = &serverLog{ready: make(chan struct{})}
	n.cmd = exec.Command(n.program, args...)
	n.cmd.Stderr, n.cmd.SysProcAttr = n.log, leash()
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan<- struct{}) {
		_ = cmd.Wait() // its state says how
		close(ended)
	}(n.cmd, n.ended)
	select {
	case <-n.log.ready:
	case <-n.ended:
		t.Fatalf("%s ended before it was ready: %s\n%s", n.name, n.cmd.ProcessState, n.log.all())
	case <-time.After(startLimit):
		t.Fatalf("%s is not ready:\n%s", n.name, n.log.all())
	}
}

// settings syncs whatever is confirmed, as a deployment's does. Nobody may hear of a way round the proxies, so none is told
// to clients, and one that leads nowhere to nodes.
func (n *node) settings() string {
	text := fmt.Sprintf(`server_name: %s
listen: %q
http: %q
jetstream: {store_dir: %q, sync_interval: always, max_file_store: %d, cipher: chachapoly, key: %q}
`, n.name, n.client, n.monitor, n.dir, int64(maxStore), n.key)
	if n.route == "" {
		return text
	}
	var routes []string
	for _, address := range n.routes {
		routes = append(routes, fmt.Sprintf("%q", "nats-route://"+address))
	}
	return text + fmt.Sprintf(`cluster: {name: faultbench, listen: %q, no_advertise: true, advertise: "127.0.0.1:1", routes: [%s]}
`, n.route, strings.Join(routes, ", "))
}

// kill is kill -9: nothing is flushed, nobody is told. It may be called twice.
func (n *node) kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill() // an error says that it is gone already
	<-n.ended
	n.cmd = nil
}

// terminate ends the server as a deployment does.
func (n *node) terminate(t *testing.T) {
	t.Helper()
	process := n.cmd.Process
	_ = process.Signal(syscall.SIGTERM) // an error says that it is gone already, and its state says how
	late := time.AfterFunc(drainLimit, func() { _ = process.Kill() })
	defer late.Stop()
	<-n.ended
	if !n.cmd.ProcessState.Success() {
		t.Errorf("%s: SIGTERM: %s\n%s", n.name, n.cmd.ProcessState, n.log.all())
	}
	n.cmd = nil
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
