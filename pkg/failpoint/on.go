//go:build failpoints

package failpoint

import (
	"encoding/json"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
)

// dir is read once: by then the bench has made it, or there are no orders.
var dir = os.Getenv(Env)

var (
	mu sync.Mutex
	// seen counts the occurrences of a point since there was an order about it.
	seen = map[Point]int{}
)

// Hit says that the program has come to a point, and carries out the order about it when its occurrence is there.
func Hit(p Point) {
	if dir == "" || p == None {
		return
	}
	o, ok := due(p)
	if !ok || !o.Always && os.Remove(orderFile(dir, p)) != nil { // another process took it
		return
	}
	report(p)
	carryOut(p, o.Action)
}

// due counts an occurrence and returns the order when it is the one.
func due(p Point) (o Order, ok bool) {
	mu.Lock()
	defer mu.Unlock()
	body, err := os.ReadFile(orderFile(dir, p))
	if err != nil || json.Unmarshal(body, &o) != nil {
		delete(seen, p)
		return o, false
	}
	seen[p]++
	return o, seen[p] == o.At || o.Always && seen[p] > o.At
}

// report adds a line in one write, which outlives the process.
func report(p Point) {
	f, err := os.OpenFile(struckFile(dir), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic("failpoint: " + err.Error()) // a strike that nobody hears of would pass for a flaw of the program
	}
	defer f.Close()
	if _, err := f.WriteString(string(p) + "\n"); err != nil {
		panic("failpoint: " + err.Error())
	}
}

func carryOut(p Point, a Action) {
	switch a {
	case Panic:
		panic("failpoint " + p.name())
	case Stack:
		debug.SetMaxStack(16 << 20) // the limit of a gigabyte takes minutes to reach on a busy machine
		overflow(0)
	case Memory:
		hold = make([]byte, 1<<47)
	case Exit:
		os.Exit(3)
	default:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL) // cannot fail: it is our own process
		select {}
	}
}

// hold keeps the compiler from leaving the allocation out.
var hold []byte

func overflow(n int) int { return overflow(n+1) + len(hold) }

// halfway is more than what net/http buffers, so that a part of a body of that size has left when the point is reached.
const halfway = 6 << 10

// Body returns body; the point is reached when some kilobytes of it were read and more is asked for.
func Body(p Point, body io.ReadCloser) io.ReadCloser {
	if body == nil {
		return nil
	}
	return &half{point: p, ReadCloser: body}
}

type half struct {
	io.ReadCloser
	point Point
	begun bool
}

func (h *half) Read(b []byte) (int, error) {
	if h.begun {
		Hit(h.point)
	}
	h.begun = true
	return h.ReadCloser.Read(b[:min(len(b), halfway)])
}
