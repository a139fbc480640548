package productiv

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
)

// call is one request to the push API. One with a body is a write.
type call struct {
	operation string // the metric's label
	method    string
	url       string
	body      []byte
}

func (k call) writes() bool { return k.body != nil }

// exchange makes one attempt at a call and reads its 2xx answer. A token that is refused is replaced once, and the
// call made once more: it may have been revoked, or replaced in its file, since it was read.
func exchange[T any](ctx context.Context, c *Client, k call, read func([]byte) (T, error)) (T, error) {
	var zero T
	token, err := c.tokens.Token(ctx)
	if err != nil {
		return zero, err
	}
	answer, err := send(ctx, c, k, token, read)
	if fault.ReasonOf(err) != reasonUnauthorized {
		return answer, err
	}
	c.tokens.Invalidate(token)
	next, tokenErr := c.tokens.Token(ctx)
	switch {
	case tokenErr != nil:
		return zero, tokenErr
	case next == token: // the same token would be refused again
		return zero, err
	}
	return send(ctx, c, k, next, read)
}

func send[T any](ctx context.Context, c *Client, k call, token string, read func([]byte) (T, error)) (T, error) {
	var answer T
	text, err := c.roundTrip(ctx, k, token)
	if err == nil {
		answer, err = read(text)
	}
	c.requests.Count(k.operation, err)
	return answer, err
}

func (c *Client) roundTrip(ctx context.Context, k call, token string) ([]byte, error) {
	client := c.reads
	if k.writes() {
		if err := c.guard(); err != nil {
			return nil, err
		}
		client = c.writes
	}
	req, err := c.request(ctx, k, token)
	if err != nil {
		return nil, err
	}
	return c.do(client, req)
}

func (c *Client) request(ctx context.Context, k call, token string) (*http.Request, error) {
	// A bytes.Reader makes net/http send Content-Length, which a DELETE needs to get its body through proxies.
	req, err := http.NewRequestWithContext(ctx, k.method, k.url, bytes.NewReader(k.body))
	if err != nil {
		return nil, fault.New(fault.Permanent, "bad-url", "productiv.baseUrl is not a URL").Because(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if k.writes() {
		req.Header.Set("Content-Type", "application/json")
		req.Body = failpoint.Body(failpoint.P6, req.Body)
	}
	return req, nil
}

// do sends req and returns the body of a 2xx answer; any other status is a fault, its body unread but for the
// connection's sake.
func (c *Client) do(client *http.Client, req *http.Request) ([]byte, error) {
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	resp, err := client.Do(req)
	if err != nil {
		return nil, networkFault(req.Context(), err)
	}
	failpoint.Hit(failpoint.Either(req.Method != http.MethodGet, failpoint.P7, failpoint.None))
	resp.Body = failpoint.Body(failpoint.Either(req.Method == http.MethodGet, failpoint.P2, failpoint.None), resp.Body)
	defer discard(resp.Body)
	if f := statusFault(resp.StatusCode, resp.Header, time.Now()); f != nil {
		return nil, f
	}
	return readBody(req.Context(), resp.Body)
}

// readBody reads an answer to its end or to its limit.
func readBody(ctx context.Context, body io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, maxBody+1))
	switch {
	case err != nil:
		return nil, networkFault(ctx, err)
	case len(text) > maxBody:
		return nil, fault.New(fault.Permanent, "answer-too-large", "the answer is larger than %d bytes", maxBody)
	}
	return text, nil
}
