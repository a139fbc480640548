package productiv

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/policy"
)

// reasonUnauthorized is compared with, to renew a token.
const reasonUnauthorized = "unauthorized"

// Removed is the answer to a removal.
type Removed struct {
	// Count of people whom Productiv says it deleted.
	Count int
	// All says that these were all that it was asked to delete.
	All bool
}

// Page is one page of the people whom Productiv lists.
type Page struct {
	Users []User
	// Next is the token of the next page, "" on the last.
	Next string
}

// readPage is strict about what makes a list a list: a missing array read as an empty one would say that everybody
// is gone. numUsers is not compared, as the pages disagree about what it counts.
func readPage(text []byte) (Page, error) {
	var a struct {
		Success          *bool    `json:"success"`
		ProvisionedUsers *[]*User `json:"provisionedUsers"`
		NextPageToken    *string  `json:"nextPageToken"`
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Success == nil || !*a.Success || a.ProvisionedUsers == nil {
		return Page{}, notConfirmed("a list of people")
	}
	page := Page{Users: make([]User, 0, len(*a.ProvisionedUsers))}
	for _, u := range *a.ProvisionedUsers {
		if u == nil || (u.AppUserID == "" && u.Email == "") {
			return Page{}, notConfirmed("a list of people, each with an id or an address")
		}
		page.Users = append(page.Users, *u)
	}
	if a.NextPageToken != nil {
		page.Next = *a.NextPageToken
	}
	return page, nil
}

func readConfirmation(text []byte) (struct{}, error) {
	var a struct {
		Success *bool `json:"success"`
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Success == nil || !*a.Success {
		return struct{}{}, notConfirmed("a confirmation")
	}
	return struct{}{}, nil
}

// readRemoval takes "success": false with a count for what it is: an answer that some were not there.
func readRemoval(text []byte) (Removed, error) {
	var a struct {
		Success *bool `json:"success"`
		Deleted *int  `json:"numUsersDeleted"`
	}
	err := json.Unmarshal(text, &a)
	switch {
	case err != nil || a.Success == nil || (a.Deleted == nil && !*a.Success) || (a.Deleted != nil && *a.Deleted < 0):
		return Removed{}, notConfirmed("a count of deletions")
	case a.Deleted == nil:
		return Removed{All: true}, nil
	}
	return Removed{Count: *a.Deleted, All: *a.Success}, nil
}

func notConfirmed(wanted string) error {
	return fault.New(fault.Transient, "not-confirmed", "Productiv answered with success, but not with %s", wanted)
}

// statusFault classifies an answer by its status. It returns nil for 2xx.
func statusFault(status int, h http.Header, now time.Time) *fault.Error {
	wait, asked := policy.ParseRetryAfter(h.Get("Retry-After"), now)
	f := statusClass(status, asked)
	if f != nil && asked && (f.Class == fault.Throttled || f.Class == fault.Transient) {
		f.RetryAfter = wait
	}
	return f
}

// statusClass is the table. asked says that the answer carries a Retry-After.
func statusClass(status int, asked bool) *fault.Error {
	switch {
	case status >= 200 && status < 300:
		return nil
	case status >= 300 && status < 400:
		return fault.New(fault.Permanent, "redirected", "Productiv answered with a redirect (%d), which is never followed: check the URL", status)
	case status == http.StatusUnauthorized:
		return fault.New(fault.Permanent, reasonUnauthorized, "Productiv does not accept the access token (401)")
	case status == http.StatusForbidden:
		return fault.New(fault.Permanent, "forbidden", "the credentials lack the scope connector.write, or the app is not theirs (403)")
	case status == http.StatusNotFound:
		return fault.New(fault.Permanent, "unknown-app", "Productiv does not know the app: check productiv.appId (404)")
	case status == http.StatusConflict:
		return fault.New(fault.Unknown, "conflict", "Productiv reports a conflict; what it holds must be read again (409)")
	case status == http.StatusRequestEntityTooLarge:
		return fault.New(fault.Permanent, "too-large", "Productiv refuses this many people at once: lower productiv.batchSize (413)")
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable && asked:
		return fault.New(fault.Throttled, "rate-limited", "Productiv asks for fewer calls (%d)", status)
	case status == http.StatusRequestTimeout, status == http.StatusMisdirectedRequest, status == http.StatusTooEarly:
		return fault.New(fault.Transient, "refused-early", "Productiv did not take the request (%d)", status)
	case status >= 500:
		return fault.New(fault.Transient, "server-error", "Productiv failed (%d)", status)
	default:
		return fault.New(fault.Permanent, "refused", "Productiv refused the request (%d)", status)
	}
}

// networkFault classifies what kept an answer from arriving. The end of the caller's context stays itself: package
// policy tells the caller's own from an attempt's.
func networkFault(ctx context.Context, err error) error {
	if f, ok := errors.AsType[*fault.Error](err); ok { // the guard's, from inside the connection
		return f
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.New(fault.Permanent, "untrusted-certificate", "the server's certificate is not trusted here").Because(err)
	}
	if n, ok := errors.AsType[net.Error](err); ok && n.Timeout() {
		return fault.New(fault.Transient, "timeout", "no complete answer in time").Because(err)
	}
	return fault.New(fault.Transient, "connection", "the connection could not be made or broke").Because(err)
}
