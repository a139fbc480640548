package natstest

import (
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
)

// Ports that systems give to nobody who asks for just any: Linux gives from 32768 up, others from 49152.
const (
	firstPort = 16384
	ports     = 16384
)

// nextPort starts anywhere, so that test binaries that run at the same time seldom meet.
var nextPort atomic.Uint32

func init() { nextPort.Store(rand.Uint32N(ports)) }

// FreeAddress is one on loopback that nobody listens on and that stays free until the caller does, again and again if it
// restarts what listens. One of the system's own choice would not: it may be some connection's by then.
func FreeAddress(t testing.TB) *net.TCPAddr {
	t.Helper()
	for range ports {
		a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: firstPort + int(nextPort.Add(1)%ports)}
		if l, err := net.ListenTCP("tcp", a); err == nil {
			_ = l.Close()
			return a
		}
	}
	t.Fatal("no port is free")
	return nil
}
