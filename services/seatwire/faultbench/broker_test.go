package faultbench

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/embedded"
)

// brokerFlag makes a test binary the NATS server; its value is "listen address|store directory".
const brokerFlag = "broker"

var brokerPlace = flag.String(brokerFlag, "", "internal: be the NATS server, at `ADDR|DIR`")

// maxStore is what the server may fill: as much as seatwire up allows, since the streams reserve their limits.
const maxStore = 128 << 30

// serveBroker is the child's life. It ends when the parent closes its standard input, so it cannot outlive the test.
func serveBroker(place string) error {
	listen, dir, _ := strings.Cut(place, "|")
	s, err := embedded.Start(embedded.Config{StoreDir: dir, Listen: listen, SyncAlways: true, MaxStore: maxStore}, slog.Default())
	if err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // the end, however it comes, is what we wait for
	s.Shutdown()
	return nil
}

// broker is the NATS server's process.
type broker struct {
	dir, listen string
	child       *child
}

func startBroker(t *testing.T, dir string) *broker {
	t.Helper()
	b := &broker{dir: dir, listen: freeAddress(t)}
	b.start(t)
	t.Cleanup(b.kill)
	return b
}

// start starts the server on the same data and port, and returns when it is ready.
func (b *broker) start(t *testing.T) {
	t.Helper()
	b.child = startChild(t, "-"+brokerFlag+"="+b.listen+"|"+b.dir)
}

// kill is kill -9. It may be called twice.
func (b *broker) kill() { b.child.kill() }

func (b *broker) url() string    { return "nats://" + b.listen }
func (b *broker) direct() string { return b.url() }
func (b *broker) replicas() int  { return 1 }

// linked is a server that services reach over a link.
type linked struct {
	*broker
	link *proxy
}

func (l linked) url() string { return "nats://" + l.link.address() }

// child is this test binary again, as a server.
type child struct{ cmd *exec.Cmd }

// startChild returns when the server says that it is ready.
func startChild(t *testing.T, place string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], place)
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, leash()
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
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the NATS server said %q: %v", line, err)
	}
	return &child{cmd}
}

// kill is kill -9: nothing is flushed, nobody is told. It may be called twice.
func (c *child) kill() {
	if c == nil || c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
	c.cmd = nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
