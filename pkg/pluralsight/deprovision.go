package pluralsight

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/policy"
)

// basicUser is the user name for basic authentication. Pluralsight ignores it.
const basicUser = "pluralsight"

// Deprovision sends an order and returns Pluralsight's answer.
//
// A dry run is repeated as config.Retry says. An armed order is sent once, and its failures mean:
//
//   - transient and throttled: Pluralsight did not take the order. It may be sent again, as a new attempt.
//   - permanent: Pluralsight refused it, and would again.
//   - unknown: it may have been carried out, in part or whole. Read the people back before anything else. The Answer
//     beside this failure holds what there was of one.
func (c *Client) Deprovision(ctx context.Context, o Order) (Answer, error) {
	if _, err := ReadCSV(o.csv); err != nil {
		return Answer{}, err
	}
	if !o.armed {
		return policy.Do(ctx, c.dryRuns, func(ctx context.Context) (Answer, error) {
			a, err := c.post(ctx, o)
			c.requests.Count("deprovision-dry-run", err)
			return a, err
		})
	}
	if c.cfg.Retry.CallTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Retry.CallTimeout)
		defer cancel()
	}
	a, err := c.post(ctx, o)
	c.requests.Count("deprovision-apply", err)
	return a, err
}

// post sends an order once.
func (c *Client) post(ctx context.Context, o Order) (Answer, error) {
	// A connection was handed to the request: from here on nobody can say that no byte of it arrived. Asking instead
	// whether bytes were written is no use, since those reports race with Do's return.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := c.deprovisionRequest(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	resp, err := c.writes.Do(req)
	if err != nil {
		return Answer{}, unanswered(o.armed, connected.Load(), err)
	}
	failpoint.Hit(failpoint.Either(o.armed, failpoint.D11, failpoint.D6))
	defer discard(resp.Body)
	if f := orderFault(o.armed, resp.StatusCode, resp.Header, time.Now()); f != nil {
		return Answer{HTTP: resp.StatusCode, Status: Other}, f
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return Answer{HTTP: resp.StatusCode, Status: Other}, unanswered(o.armed, true, err)
	}
	a := parseAnswer(resp.StatusCode, body)
	if a.Status == Other {
		return a, fault.New(effect(o.armed), "unreadable-answer", "Pluralsight's answer (%d) holds no known status", a.HTTP)
	}
	return a, nil
}

// deprovisionRequest builds the request, and is the only place that does.
func (c *Client) deprovisionRequest(ctx context.Context, o Order) (*http.Request, error) {
	token, err := c.token()
	if err != nil {
		return nil, err
	}
	target, err := deprovisionURL(c.cfg.DeprovisionURL, o)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(o.csv))
	if err != nil {
		return nil, fault.New(fault.Permanent, "bad-url", "the deprovision URL is not one").Because(err)
	}
	req.GetBody = nil // what cannot be rewound is never replayed
	req.Body = failpoint.Body(failpoint.Either(o.armed, failpoint.D10, failpoint.None), req.Body)
	if c.cfg.DeprovisionAuth == "basic" {
		req.SetBasicAuth(basicUser, token)
	} else {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("Content-Type", "text/csv")
	req.Header.Set("Content-Disposition", `attachment; filename="deprovision.csv"`)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	return req, nil
}

// deprovisionURL adds every flag, since the defaults are Pluralsight's to change. "reatinPrivileges" is how the
// documentation spells it, throughout.
func deprovisionURL(base string, o Order) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", fault.New(fault.Permanent, "bad-url", "the deprovision URL is not one").Because(err)
	}
	q := u.Query()
	q.Set("dryRun", strconv.FormatBool(!o.armed))
	q.Set("exitOnError", strconv.FormatBool(o.opts.ExitOnError))
	q.Set("reatinPrivileges", strconv.FormatBool(o.opts.RetainPrivileges))
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// effect is the class of a failure after which the order may have been carried out.
func effect(armed bool) fault.Class {
	if armed {
		return fault.Unknown
	}
	return fault.Transient
}

// unanswered classifies an order that got no whole answer.
func unanswered(armed, connected bool, err error) error {
	err = networkFault(err)
	switch {
	case !armed:
		return err
	case connected:
		return fault.New(fault.Unknown, "no-answer", "the order was on its way when the connection failed").Because(err)
	case fault.ClassOf(err) == fault.Permanent:
		return err // an untrusted certificate, say: not sent, and not to be
	default:
		return fault.New(fault.Transient, "not-sent", "no connection: the order never left").Because(err)
	}
}

// orderFault classifies an answer to an order by its status. It returns nil where the body decides: for a 2xx, and
// for 400, which "completed with errors" comes as.
func orderFault(armed bool, status int, h http.Header, now time.Time) *fault.Error {
	wait, asked := policy.ParseRetryAfter(h.Get("Retry-After"), now)
	switch {
	case status >= 200 && status < 300, status == http.StatusBadRequest:
		return nil
	case status == http.StatusServiceUnavailable && asked:
		return fault.New(fault.Throttled, "unavailable", "Pluralsight takes no orders for now (503)").After(wait)
	case status == http.StatusConflict:
		return fault.New(fault.Throttled, "conflict", "Pluralsight is busy with another file (409)").After(wait)
	case armed && (status >= 500 || status < 400):
		return fault.New(fault.Unknown, "no-answer", "Pluralsight answered with status %d, which does not say what became of the order", status)
	default:
		return statusFault(status, h, now)
	}
}
