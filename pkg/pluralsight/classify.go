package pluralsight

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/policy"
)

// The codes that GraphQL servers put into extensions. Pluralsight publishes no list, so these are the field's usual
// ones; an unlisted code is treated as none.
var (
	codesUnauthorized = []string{"UNAUTHENTICATED", "UNAUTHORIZED", "AUTHENTICATION_ERROR", "INVALID_API_KEY"}
	codesForbidden    = []string{"FORBIDDEN", "ACCESS_DENIED", "PERMISSION_DENIED"}
	codesRate         = []string{"RATE_LIMITED", "RATE_LIMIT_EXCEEDED", "RATE_LIMIT", "TOO_MANY_REQUESTS", "THROTTLED"}
	codesPayload      = []string{"PAYLOAD_LIMIT_EXCEEDED", "PAYLOAD_TOO_LARGE"}
	codesInput        = []string{"BAD_USER_INPUT", "BAD_REQUEST", "INVALID_ARGUMENT", "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "VALIDATION_ERROR"}
	codesTransient    = []string{"INTERNAL_SERVER_ERROR", "INTERNAL_ERROR", "TIMEOUT", "SERVICE_UNAVAILABLE", "DOWNSTREAM_SERVICE_ERROR"}
)

// Messages are read where codes are missing, which is the ordinary case here: to tell a query that will never pass
// from one that may.
var (
	validationText = regexp.MustCompile(`(?i)cannot query field|unknown (field|argument|type|fragment)|field .* (is not defined|does not exist|doesn't exist)|must not have a selection|must have a selection|syntax error|expected type`)
	stageText      = regexp.MustCompile(`(?i)\b(alpha|beta)\b|release stage`)
	cursorText     = regexp.MustCompile(`(?i)cursor|\bafter\b`)
)

// errorsFault classifies an answer that carries errors. after says that the query held a cursor.
func errorsFault(e *responseErrors, hasData, after bool) *fault.Error {
	switch {
	case e.has(codesUnauthorized):
		return fault.New(fault.Permanent, "unauthorized", "Pluralsight does not accept the API key").Because(e)
	case e.has(codesRate):
		return fault.New(fault.Throttled, "rate-limited", "Pluralsight asks for fewer calls").Because(e)
	case e.has(codesPayload):
		return fault.New(fault.Permanent, "payload-limit", "Pluralsight refuses a page of this size").Because(e)
	case after && e.refusesCursor():
		return fault.New(fault.Permanent, "cursor-refused", "Pluralsight does not know the cursor any more").Because(e)
	case e.has(codesForbidden):
		return fault.New(fault.Permanent, "forbidden", "the API key may not read all of this").Because(e)
	case hasData:
		return fault.New(e.class(), "errors-with-data", "the answer holds errors beside data, so it may be incomplete").Because(e)
	default:
		return fault.New(e.class(), "graphql-error", "Pluralsight answered with GraphQL errors").Because(e)
	}
}

// class says whether the same query can pass another time.
func (e *responseErrors) class() fault.Class {
	refused := e.has(codesInput) || e.says(validationText) || e.says(stageText)
	if e.status == http.StatusOK && !refused {
		return fault.Transient
	}
	return fault.Permanent
}

func (e *responseErrors) refusesCursor() bool {
	return e.has([]string{"BAD_USER_INPUT", "INVALID_ARGUMENT"}) || e.says(cursorText) && !e.has(codesTransient)
}

func (e *responseErrors) has(codes []string) bool {
	return slices.ContainsFunc(e.list, func(r responseError) bool {
		return slices.ContainsFunc(r.codes, func(c string) bool { return slices.Contains(codes, c) })
	})
}

func (e *responseErrors) says(re *regexp.Regexp) bool {
	return slices.ContainsFunc(e.list, func(r responseError) bool { return re.MatchString(r.message) })
}

// statusFault classifies an answer by its status alone, for calls that change nothing. It returns nil for 200.
func statusFault(status int, h http.Header, now time.Time) *fault.Error {
	f := statusClass(status)
	if wait, ok := policy.ParseRetryAfter(h.Get("Retry-After"), now); f != nil && ok && f.Class != fault.Permanent {
		f.RetryAfter = wait
	}
	return f
}

func statusClass(status int) *fault.Error {
	switch {
	case status == http.StatusOK:
		return nil
	case status == http.StatusUnauthorized:
		return fault.New(fault.Permanent, "unauthorized", "Pluralsight does not accept the API key (401)")
	case status == http.StatusForbidden:
		return fault.New(fault.Permanent, "forbidden", "the API key lacks the permission (403)")
	case status == http.StatusTooManyRequests:
		return fault.New(fault.Throttled, "rate-limited", "Pluralsight asks for fewer calls (429)")
	case status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.Permanent, "payload-limit", "Pluralsight refuses this much at once (413)")
	case status == http.StatusRequestTimeout, status == http.StatusMisdirectedRequest, status == http.StatusTooEarly:
		return fault.New(fault.Transient, "refused-early", "Pluralsight did not take the request (%d)", status)
	case status >= 500:
		return fault.New(fault.Transient, "server-error", "Pluralsight failed (%d)", status)
	case status >= 300 && status < 400:
		return fault.New(fault.Permanent, "redirected", "Pluralsight answered with a redirect (%d), which is never followed: check the URL", status)
	case status >= 400:
		return fault.New(fault.Permanent, "bad-request", "Pluralsight refused the request (%d)", status)
	default:
		return fault.New(fault.Permanent, "unexpected-status", "Pluralsight answered with status %d", status)
	}
}

// networkFault classifies what kept an answer from arriving. A cancellation stays itself: it is the caller's, and
// package policy tells it from an attempt's timeout.
func networkFault(err error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.New(fault.Permanent, "untrusted-certificate", "the server's certificate is not trusted here").Because(err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	if n, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && n.Timeout() {
		return fault.New(fault.Transient, "timeout", "no complete answer in time").Because(err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.New(fault.Transient, "truncated", "the answer ends too early").Because(err)
	}
	return fault.New(fault.Transient, "connection", "the connection could not be made or broke").Because(err)
}
