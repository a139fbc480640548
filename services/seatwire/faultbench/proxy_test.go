package faultbench

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is a TCP link that can be made to swallow what goes through it, one way or both, and to let it go on: what a
// broken network does, where a closed connection would tell both ends at once.
type proxy struct {
	ln     net.Listener
	target string
	// forth is the gate of what the dialling side sends, back that of what comes back.
	forth, back gate

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

func (p *proxy) copy(to io.Writer, from net.Conn, g *gate) {
	defer p.drop(from)
	if other, ok := to.(net.Conn); ok {
		defer p.drop(other)
	}
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !g.pass(p.over) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
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
	mu   sync.Mutex
	shut chan struct{} // closed when it opens; nil while it is open
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
