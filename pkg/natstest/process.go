package natstest

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/embedded"
)

// childEnv tells a test binary that it is the server; its value is "listen address|store directory".
const childEnv = "SEATWIRE_NATSTEST_CHILD"

// Process is a server in a child process: the one kind that can be killed as a crash kills.
type Process struct {
	dir    string
	listen string
	cmd    *exec.Cmd
}

// ServeIfChild turns the process into the server when RunProcess started it, and otherwise returns at once. Call it
// first in TestMain; the child ends when its parent closes its standard input, so it cannot outlive the test.
func ServeIfChild() {
	listen, dir, ok := strings.Cut(os.Getenv(childEnv), "|")
	if !ok {
		return
	}
	s, err := embedded.Start(embedded.Config{StoreDir: dir, Listen: listen}, slog.Default())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	os.Exit(0)
}

// RunProcess starts a server in a child process; TestMain must call ServeIfChild.
func RunProcess(t testing.TB) *Process {
	t.Helper()
	p := &Process{dir: t.TempDir(), listen: FreeAddress(t).String()}
	p.Start(t)
	t.Cleanup(p.Kill)
	return p
}

// Start starts the server again on the same data and the same port, and returns when it is ready.
func (p *Process) Start(t testing.TB) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+p.listen+"|"+p.dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil { // closed when this process ends, however it ends
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.cmd = cmd
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("server process said %q: %v", line, err)
	}
}

// Kill is kill -9: nothing is flushed, nobody is told. It may be called twice.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	p.cmd.Wait()
	p.cmd = nil
}

// URL is where clients connect, also while the server is down.
func (p *Process) URL() string { return "nats://" + p.listen }

// Connect opens a connection that is closed with the test.
func (p *Process) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	return connect(t, p.URL())
}

// JetStream opens a connection for provisioning and looking; it is closed with the test.
func (p *Process) JetStream(t testing.TB) jetstream.JetStream {
	t.Helper()
	return jetStream(t, p.Connect(t))
}
