package pluralsight

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/Khan/genqlient/graphql"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/fault"
)

// exchange is one GraphQL call and its answer. It stands in for genqlient's own client, which takes garbage for an
// empty page, loses headers, and reads bodies without end.
//
// It is strict in order: status, media type, size, JSON to the last byte, errors, data. The first that is wrong is
// the call's failure.
type exchange struct {
	client *Client
	// operation is the metric's label.
	operation string
	// cut are the optional fields that the query does without.
	cut fieldSet
	// after says that the query holds a cursor.
	after bool
	// warnings of the answer, as they came.
	warnings []json.RawMessage
}

// MakeRequest makes *exchange a graphql.Client. resp.Data is filled, perhaps in part, also when an error is returned:
// callers drop it then.
func (x *exchange) MakeRequest(ctx context.Context, q *graphql.Request, resp *graphql.Response) error {
	err := x.send(ctx, q, resp.Data)
	x.client.requests.Count(x.operation, err)
	return err
}

func (x *exchange) send(ctx context.Context, q *graphql.Request, data any) error {
	req, err := x.request(ctx, q)
	if err != nil {
		return err
	}
	resp, err := x.client.reads.Do(req)
	if err != nil {
		return networkFault(err)
	}
	failpoint.Hit(failpoint.F2)
	resp.Body = failpoint.Body(failpoint.F5, resp.Body)
	defer discard(resp.Body)
	if f := statusFault(resp.StatusCode, resp.Header, time.Now()); f != nil {
		return x.refused(resp, f)
	}
	return x.read(resp, data)
}

// request builds the POST. Never GET: the query, with people's addresses in it, would end up in proxies' logs.
func (x *exchange) request(ctx context.Context, q *graphql.Request) (*http.Request, error) {
	token, err := x.client.token()
	if err != nil {
		return nil, err
	}
	asked := *q
	if asked.Query, err = x.client.optional.without(q.Query, x.cut); err != nil {
		return nil, err
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, fault.New(fault.Permanent, "bad-query", "the query cannot be encoded").Because(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.client.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return nil, fault.New(fault.Permanent, "bad-url", "the GraphQL URL is not one").Because(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/graphql-response+json, application/json;q=0.9")
	req.Header.Set("User-Agent", x.client.cfg.UserAgent)
	return req, nil
}

// refused classifies an answer that is not a 200. Its body is read only for GraphQL errors, which say more than the
// status: that a cursor is too old, or which field was refused.
func (x *exchange) refused(resp *http.Response, byStatus *fault.Error) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what was readable is enough
	var members struct{ Errors json.RawMessage }
	if json.Unmarshal(body, &members) != nil {
		return byStatus
	}
	e := &responseErrors{status: resp.StatusCode, list: parseErrors(members.Errors)}
	if len(e.list) == 0 {
		return byStatus
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return errorsFault(e, false, x.after)
	default:
		return byStatus.Because(e)
	}
}

func (x *exchange) read(resp *http.Response, data any) error {
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" && kind != "application/graphql-response+json" {
		return fault.New(fault.Transient, "not-json", "the answer does not call itself JSON")
	}
	// Read first, then decode: a decoder that reads as it goes takes quadratic time over a body of blanks.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if len(body) > maxBody {
		return fault.New(fault.Permanent, "too-large", "the answer is larger than %d bytes", maxBody)
	}
	if err != nil {
		return networkFault(err)
	}
	env, err := decodeEnvelope(body, data)
	switch {
	case err != nil:
		return err
	case len(env.errors) > 0:
		return errorsFault(&responseErrors{resp.StatusCode, env.errors}, env.hasData, x.after)
	case !env.hasData:
		return fault.New(fault.Transient, "no-data", "the answer holds neither data nor errors")
	}
	x.warnings = env.warnings
	return nil
}
