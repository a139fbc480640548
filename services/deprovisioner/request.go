package deprovisioner

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
)

// The protocol of a request.
//
//	            ┌──────────── its batch was dissolved, or left it on the account ────────────┐
//	            ▼                                                                            │
//	accepted ──────────▶ batched ──▶ held ──▶ approved ──▶ submitted ──▶ verifying ──────────┤
//	   │  ▲                 │          │          │                                          ▼
//	deferred (effectiveAt)  └──────────┴──────────┴───────────────────────────────────▶   settled
//
// Judged once, when it is accepted: the event's form, its connection, its age, the protect list. Judged at every look
// at the plan, before sealing and before sending: who is meant, admin, protected, already gone, licensed again since.
// A cancel settles it anywhere before submitted. Settled is the end; it is written once, with its outcome, and the
// world is told of it afterwards under an id made of the request's key.

// accept judges an event that asks for a licence back by everything that needs no look at the plan. The request it
// returns is accepted, deferred, or settled already as rejected. publisher is the subject's source token.
func accept(e events.Event, publisher string, r rules, now time.Time) deprovision.Request {
	data, err := events.ReadDeprovisionRequested(e.Data)
	req := deprovision.Request{
		Connection: r.connection, Key: e.Key(r.connection, publisher), Publisher: publisher,
		Source: e.Source, ID: e.ID, Content: e.Content(), Time: e.Time.UTC(), AcceptedAt: now,
		Email: strings.ToLower(strings.TrimSpace(data.Email)), PsUserID: strings.TrimSpace(data.PsUserID),
		FirstName: data.FirstName, LastName: data.LastName, Reason: data.Reason,
		Effective: data.EffectiveAt, Retain: r.RetainPrivileges,
	}
	if data.RetainPrivileges != nil {
		req.Retain = *data.RetainPrivileges
	}
	switch {
	case data.Connection != "" && data.Connection != r.connection:
		return settled(req, deprovision.OutcomeRejected, deprovision.ReasonWrongConnection, now)
	case err != nil, e.Type != events.DeprovisionRequestedType, e.Time.IsZero(), !usable(req):
		return settled(req, deprovision.OutcomeRejected, deprovision.ReasonInvalid, now)
	case now.Sub(e.Time) > r.MaxEventAge, e.Time.Sub(now) > maxAhead:
		return settled(req, deprovision.OutcomeRejected, deprovision.ReasonStale, now)
	case r.protected(req.Email):
		return settled(req, deprovision.OutcomeRejected, deprovision.ReasonProtected, now)
	}
	req = moved(req, deprovision.Accepted, "", now)
	if due(req).After(now) {
		req = moved(req, deprovision.Deferred, "", now)
	}
	return req
}

// maxField bounds an address, an id and a name, in bytes.
const maxField = 320

// usable reports whether the request names somebody with values that Pluralsight's CSV parser will not choke on, and
// carries nothing that has no end.
func usable(r deprovision.Request) bool {
	if r.Email == "" && r.PsUserID == "" {
		return false
	}
	return safe(r.Email) && safe(r.PsUserID) && (r.Email == "" || strings.Contains(r.Email, "@")) &&
		len(r.FirstName) <= maxField && len(r.LastName) <= maxField && len(r.Reason) <= 16*maxField
}

// safe refuses what breaks a parser that splits on commas, and what a spreadsheet would calculate.
func safe(value string) bool {
	if value == "" {
		return true
	}
	return len(value) <= maxField && utf8.ValidString(value) && !strings.ContainsRune("=+-@", rune(value[0])) &&
		!strings.ContainsFunc(value, func(c rune) bool {
			return c == ',' || c == '"' || unicode.IsControl(c) || unicode.IsSpace(c) || unicode.Is(unicode.Cf, c)
		})
}

// moved returns the request in another state. The history never outgrows a message: its middle is forgotten first.
func moved(r deprovision.Request, state, note string, now time.Time) deprovision.Request {
	r.State, r.At = state, now
	r.History, r.Told = appended(r.History, r.Told, deprovision.Change{At: now, State: state, BatchID: r.BatchID, Note: note})
	return r
}

// settled returns the request at its end.
func settled(r deprovision.Request, outcome, reason string, now time.Time) deprovision.Request {
	r.Outcome, r.OutcomeReason = outcome, reason
	note := outcome
	if reason != "" {
		note += ": " + reason
	}
	return moved(r, deprovision.Settled, note, now)
}

// appended adds a change to a history of at most maxHistory entries. When it is full the oldest but one goes, and
// told, which counts entries, goes with it.
func appended(history []deprovision.Change, told int, c deprovision.Change) ([]deprovision.Change, int) {
	kept := make([]deprovision.Change, 0, len(history)+1)
	kept = append(kept, history...)
	if len(kept) >= maxHistory {
		kept = append(kept[:1], kept[2:]...)
		told = max(0, told-1)
	}
	return append(kept, c), told
}

// due is when the request may first be worked on.
func due(r deprovision.Request) time.Time {
	if r.Effective != nil && r.Effective.After(r.AcceptedAt) {
		return *r.Effective
	}
	return r.AcceptedAt
}

// acceptCancel reads an event that withdraws a request. It is not judged by its age: obeying a cancel removes nobody.
// Its faults are permanent: a cancel cannot be settled, so one that makes no sense becomes a dead letter.
func acceptCancel(e events.Event, publisher, connection string, now time.Time) (deprovision.Cancel, error) {
	data, err := events.ReadDeprovisionCancelled(e.Data)
	if err != nil {
		return deprovision.Cancel{}, rejected("the data is not that of a cancel")
	}
	switch {
	case e.Type != events.DeprovisionCancelledType:
		return deprovision.Cancel{}, rejected("the type does not fit the subject")
	case data.Connection != "" && data.Connection != connection:
		return deprovision.Cancel{}, rejected("the data names another connection than the subject")
	case data.Source == "" || data.ID == "":
		return deprovision.Cancel{}, rejected("the data does not name a request by source and id")
	}
	return deprovision.Cancel{
		Connection: connection, Key: e.Key(connection, publisher), Publisher: publisher, Content: e.Content(),
		Target:       events.Key(connection, publisher, data.Source, data.ID),
		TargetSource: data.Source, TargetID: data.ID, Reason: data.Reason,
		AcceptedAt: now, State: deprovision.CancelWaiting, At: now,
	}, nil
}

func rejected(detail string) error {
	return fault.New(fault.Permanent, "rejected", "%s", detail)
}
