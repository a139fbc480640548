package pluralsight

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// maxBody bounds an answer after decompression; a page of 100 people is about 70 KB.
	maxBody = 8 << 20
	// maxErrorBody is as much as is read of an answer that is refused anyway.
	maxErrorBody = 64 << 10
)

// newHTTPClient returns a client for calls that change nothing. It has no timeout of its own: the attempt's context
// bounds the whole exchange, body included. It follows no redirect, or the token would go wherever one points.
func newHTTPClient() *http.Client {
	return &http.Client{CheckRedirect: keepRedirect, Transport: newTransport()}
}

// newOneShotClient returns a client for the call that takes licences back. net/http sends such a request exactly
// once: it replays a POST only on a connection that was used before, after an HTTP/2 refusal, or with an idempotency
// key. Here every call has a connection of its own, HTTP/1 alone is spoken, and there is no such key.
func newOneShotClient() *http.Client {
	t := newTransport()
	t.DisableKeepAlives = true
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return &http.Client{CheckRedirect: keepRedirect, Transport: t}
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
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// token returns the API key of this moment: the file that it comes from may have changed since the last call.
func (c *Client) token() (string, error) {
	token, err := c.cfg.Token()
	failpoint.Hit(failpoint.F8)
	switch {
	case err != nil:
		return "", fault.New(fault.Permanent, "no-token", "the API token could not be read").Because(err)
	case token == "":
		return "", fault.New(fault.Permanent, "no-token", "API token is missing")
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return "", fault.New(fault.Permanent, "no-token", "the API token holds characters that no token has")
	}
	return token, nil
}

// discard reads what is left of a body, within reason, so that the connection can serve another call.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxErrorBody) // whether that worked decides about reuse only
	_ = body.Close()
}
