package productiv

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// maxBody bounds an answer after decompression; a page of 1000 people is about 200 KB.
	maxBody = 8 << 20
	// maxDiscard is as much as is read of an answer that nobody wants.
	maxDiscard = 64 << 10
)

// newHTTPClient returns a client for calls that change nothing. It has no timeout of its own: the attempt's context
// bounds the whole exchange, body included. It follows no redirect, or the token would go wherever one points.
func newHTTPClient() *http.Client {
	return &http.Client{CheckRedirect: keepRedirect, Transport: newTransport()}
}

// newGuardedClient returns a client for writes. Each has a connection of its own, HTTP/1 alone, whose every write asks
// guard first: below TLS, right before the system call. Its own connection also keeps net/http from sending again by
// itself, which it does only on a connection that was used before.
func newGuardedClient(guard func() error) *http.Client {
	t := newTransport()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return guardedConn{conn, guard}, nil
	}
	t.DisableKeepAlives = true
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return &http.Client{CheckRedirect: keepRedirect, Transport: t}
}

// guardedConn refuses to write once guard objects. What Productiv has got by then is a request cut short of its
// Content-Length, which has no effect. It embeds the interface, and so hides the ReadFrom that would go round Write.
type guardedConn struct {
	net.Conn
	guard func() error
}

func (c guardedConn) Write(p []byte) (int, error) {
	if err := c.guard(); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// guard asks Config.Guard and classifies its objection.
func (c *Client) guard() error {
	if c.cfg.Guard == nil {
		return nil
	}
	if err := c.cfg.Guard(); err != nil {
		return fault.New(fault.Permanent, "lane-lost", "this process may not write for the connection any more; the request was not completed").Because(err)
	}
	return nil
}

func keepRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newTransport trusts the system's certificates and, like every program at a bank, goes through HTTPS_PROXY when
// there is one.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           16,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// discard reads what is left of a body, within reason, so that the connection can serve another call.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDiscard) // whether that worked decides about reuse only
	_ = body.Close()
}
