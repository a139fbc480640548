package faultbench

import (
	"bytes"
	"context"
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

	"github.com/seatwire/seatwire/pkg/failpoint"
)

// owner names one process: a service, its replica and how often that replica was started.
type owner struct {
	service        string
	replica, start int
}

func (o owner) String() string { return fmt.Sprintf("%s.%d.%d", o.service, o.replica, o.start) }

func parseOwner(s string) (o owner) {
	parts := strings.Split(s, ".")
	if len(parts) == 3 {
		o.service = parts[0]
		fmt.Sscan(parts[1], &o.replica)
		fmt.Sscan(parts[2], &o.start)
	}
	return o
}

// program is one replica of a service: a process, and the next one after each end.
type program struct {
	service string
	replica int
	// from is the directory of its program.
	from string
	// configure writes the file for a start and returns its path.
	configure func(owner) string
	ring      func()
	// env is a variable for it, NAME=value; empty is none.
	env string
	// orders is the directory of its failpoints, which all its processes look into.
	orders string

	mu     sync.Mutex
	starts int
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process and its log came to an end
	frozen bool
	// doomed says that we end it, or gave an order that does; alone counts the ends that nobody asked for.
	doomed bool
	alone  int
	// crashes says that an order lets the Go runtime have the last word, which is no JSON, in the process or its child.
	crashes bool
	logs    bytes.Buffer
	unread  []byte
	address string
	ready   time.Time // zero until /readyz said yes
	readies []time.Time
}

// start starts the process, and looks for its readiness beside what comes next.
func (p *program) start(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starts++
	p.doomed = false
	p.address, p.ready, p.unread = "", time.Time{}, nil
	p.cmd = exec.Command(filepath.Join(p.from, p.service), "-config", p.configure(owner{p.service, p.replica, p.starts}))
	p.cmd.Env = append(os.Environ(), failpoint.Env+"="+p.orders, p.env)
	p.cmd.Stderr, p.cmd.SysProcAttr = logOf{p}, leash()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
		p.mu.Lock()
		if !p.doomed {
			p.alone++
		}
		p.mu.Unlock()
		close(ended)
		p.ring()
	}(p.cmd, p.ended)
	go p.probe(p.ended)
}

// probe asks /readyz until it says yes.
func (p *program) probe(ended chan struct{}) {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case <-ended:
			return
		case <-look.C:
		}
		if status, _ := p.get("/readyz"); status == http.StatusOK {
			p.mu.Lock()
			p.ready = time.Now()
			p.readies = append(p.readies, p.ready)
			p.mu.Unlock()
			p.ring()
			return
		}
	}
}

// get asks the process itself; status 0 is no answer. One that is gone refuses at once, and one that lives answers late on
// a busy machine.
func (p *program) get(path string) (status int, body string) {
	p.mu.Lock()
	address := p.address
	p.mu.Unlock()
	if address == "" {
		return 0, ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, ""
	}
	req.Close = true // the next process on this port is another one
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	var text bytes.Buffer
	_, _ = text.ReadFrom(resp.Body)
	return resp.StatusCode, text.String()
}

func (p *program) readyAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// readyAfter is when some process of the replica became ready first after a moment.
func (p *program) readyAfter(moment time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.readies {
		if at.After(moment) {
			return at
		}
	}
	return moment
}

// kill9 ends the process in the middle of whatever it does, and returns when it is gone.
func (p *program) kill9() {
	p.doom()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// shoot is kill9 without waiting, for the one who sees the moment.
func (p *program) shoot() {
	p.doom()
	p.signal(syscall.SIGKILL)
}

func (p *program) doom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
}

// arm gives the program an order. It dies by it, so its end is ours.
func (p *program) arm(t testing.TB, point failpoint.Point, o failpoint.Order) {
	t.Helper()
	if o.Action != failpoint.Panic {
		p.doom()
	}
	p.mu.Lock()
	p.crashes = p.crashes || o.Action != failpoint.Kill && o.Action != failpoint.Exit
	p.mu.Unlock()
	if err := failpoint.Arm(p.orders, point, o); err != nil {
		t.Fatal(err)
	}
}

// strikes is how often orders about a point were carried out.
func (p *program) strikes(t testing.TB, point failpoint.Point) int {
	t.Helper()
	counts, err := failpoint.Strikes(p.orders)
	if err != nil {
		t.Fatal(err)
	}
	return counts[point]
}

// isGone reports whether the process has ended.
func (p *program) isGone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// freeze is SIGSTOP: the process holds all it had, and does not know that time passes.
func (p *program) freeze() {
	p.mu.Lock()
	p.frozen = true
	p.mu.Unlock()
	p.signal(syscall.SIGSTOP)
}

// thaw is SIGCONT.
func (p *program) thaw() {
	p.mu.Lock()
	p.frozen = false
	p.mu.Unlock()
	p.signal(syscall.SIGCONT)
}

// terminate is SIGTERM; it returns the exit code once the process has drained, -1 when it did not within limit.
func (p *program) terminate(limit time.Duration) int {
	p.doom()
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode()
	case <-timer.C:
		p.kill9()
		return -1
	}
}

func (p *program) signal(s os.Signal) { _ = p.cmd.Process.Signal(s) } // an error says that it is gone already

// text is everything that the replica's processes logged.
func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.logs.String()
}

// mayCrash reports whether some of text may be the Go runtime's.
func (p *program) mayCrash() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashes
}

// tail is the last lines of text.
func (p *program) tail(n int) string {
	lines := strings.Split(strings.TrimSpace(p.text()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// between is what was logged from one moment to another.
func (p *program) between(from, to time.Time) string {
	var said strings.Builder
	for line := range strings.Lines(p.text()) {
		var entry struct{ Time time.Time }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Time.After(from) && entry.Time.Before(to) {
			said.WriteString(line)
		}
	}
	return said.String()
}

// logOf keeps what a process writes, and reads its address from it.
type logOf struct{ *program }

func (l logOf) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logs.Write(b)
	if l.address != "" {
		return len(b), nil
	}
	l.unread = append(l.unread, b...)
	for {
		line, rest, whole := bytes.Cut(l.unread, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		l.unread = rest
		var entry struct{ Listen string }
		if json.Unmarshal(line, &entry) == nil && entry.Listen != "" {
			l.address = entry.Listen
		}
	}
}
