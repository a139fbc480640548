package faultbench

import (
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// proxy is a TCP link that can be made to swallow what goes through it, one way or both, and to let it go on: what a
// broken network does, where a closed connection would tell both ends at once.
type proxy struct {
	ln     net.Listener
	target string
	// forth is the gate of what the dialling side sends, back that of what comes back.
	forth, back gate
	// speaks passes on what it understands of one direction, instead of every byte; nil passes everything.
	speaks func(to io.Writer, from io.Reader)

	over  chan struct{}
	tasks sync.WaitGroup
	mu    sync.Mutex
	conns map[net.Conn]bool
}

// startProxy listens for connections to the target, which need not be there yet.
func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, target: target, over: make(chan struct{}), conns: map[net.Conn]bool{}}
	p.tasks.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) address() string { return p.ln.Addr().String() }

func (p *proxy) serve() {
	for {
		near, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.tasks.Go(func() { p.link(near) })
	}
}

// link joins a connection with one to the target. A dial into a broken link waits like everything else.
func (p *proxy) link(near net.Conn) {
	defer p.drop(near)
	if !p.keep(near) || !p.forth.pass(p.over) || !p.back.pass(p.over) {
		return
	}
	far, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.drop(far)
	if !p.keep(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(far, near, &p.forth) })
	both.Go(func() { p.copy(near, far, &p.back) })
	both.Wait()
}

// piece is what was read at once, and when it may arrive.
type piece struct {
	data []byte
	due  time.Time
}

// copy passes on what it reads, through the gate and no earlier than the weather allows.
func (p *proxy) copy(to, from net.Conn, g *gate) {
	defer p.drop(from)
	defer p.drop(to)
	if p.speaks != nil {
		p.speaks(to, from)
		return
	}
	pieces := make(chan piece, 256)
	p.tasks.Go(func() {
		defer p.drop(from)
		for piece := range pieces {
			if !p.sleepUntil(piece.due) || !g.pass(p.over) {
				break
			}
			if _, err := to.Write(piece.data); err != nil {
				break
			}
		}
		p.drop(from) // or the reader goes on for ever
		for range pieces {
		}
	})
	defer close(pieces)
	buffer := make([]byte, 32<<10)
	for last := time.Now(); ; {
		n, err := from.Read(buffer)
		now := time.Now()
		due, arrives := g.arrival(now, now.Sub(last))
		last = now
		if n > 0 && arrives {
			pieces <- piece{slices.Clone(buffer[:n]), due}
		}
		if err != nil || !arrives {
			return
		}
	}
}

// sleepUntil waits for a moment; false means that everything is over.
func (p *proxy) sleepUntil(due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.over:
		return false
	}
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *proxy) drop(c net.Conn) {
	_ = c.Close() // perhaps the second time
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) close() {
	_ = p.ln.Close()
	close(p.over)
	p.mu.Lock()
	for c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
	p.mu.Unlock()
	p.tasks.Wait()
}

// gate lets everything pass until it is shut; then it holds whoever comes until it is opened again.
type gate struct {
	mu      sync.Mutex
	shut    chan struct{} // closed when it opens; nil while it is open
	weather *weather      // nil is fair
}

// weather is what a bad line does to what goes over it.
type weather struct {
	rng *rand.Rand
	// delay of every piece, more or less by up to jitter.
	delay, jitter time.Duration
	// loss is the chance of a piece to be sent again after a retransmission time-out.
	loss float64
	// life is how long a connection lasts, in the mean, before one direction of it ends it.
	life time.Duration
}

// retransmission is the shortest time-out of TCP on Linux.
const retransmission = 200 * time.Millisecond

func (g *gate) set(w *weather) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.weather = w
}

// arrival is when a piece that is sent now arrives, so long after the one before; false is the connection's end. Those
// behind a late one wait for it, as in TCP.
func (g *gate) arrival(now time.Time, after time.Duration) (due time.Time, arrives bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.weather
	if w == nil {
		return now, true
	}
	due = now.Add(w.delay - w.jitter + time.Duration(w.rng.Int64N(int64(2*w.jitter))))
	if w.rng.Float64() < w.loss {
		due = due.Add(retransmission)
	}
	return due, w.rng.ExpFloat64()*float64(w.life) > float64(after)
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// pass waits until the gate is open; false means that everything is over.
func (g *gate) pass(over <-chan struct{}) bool {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return true
	}
	select {
	case <-shut:
		return true
	case <-over:
		return false
	}
}
