package events

import (
	"regexp"
	"strings"
)

// Prefix is the root of every subject; the version comes before the names.
const Prefix = "seatwire.v1."

// Subjects of the public contract; see CONTRACT section 4. The functions below fill in the tokens.
const (
	SyncRequestedSubject           = Prefix + "sync.requested"
	RosterPublishedSubject         = Prefix + "roster.published"
	DeprovisionRequestedSubject    = Prefix + "deprovision.requested"
	DeprovisionCancelledSubject    = Prefix + "deprovision.cancelled"
	DeprovisionProgressedSubject   = Prefix + "deprovision.progressed"
	DeprovisionSettledSubject      = Prefix + "deprovision.settled"
	DeadLetterSubject              = Prefix + "deadletter"
	legalName                      = `^[a-z0-9][a-z0-9-]{0,31}$`
	subjectConnectionTokenPosition = 4
)

// Event types of the public contract.
const (
	SyncRequestedType         = "seatwire.sync.requested.v1"
	RosterPublishedType       = "seatwire.roster.published.v1"
	DeprovisionRequestedType  = "seatwire.deprovision.requested.v1"
	DeprovisionCancelledType  = "seatwire.deprovision.cancelled.v1"
	DeprovisionProgressedType = "seatwire.deprovision.progressed.v1"
	DeprovisionSettledType    = "seatwire.deprovision.settled.v1"
)

var nameRule = regexp.MustCompile(legalName)

// LegalName reports whether s may name a connection or a source: [a-z0-9][a-z0-9-]{0,31}.
func LegalName(s string) bool { return nameRule.MatchString(s) }

// Subject joins a subject constant and its tokens.
func Subject(base string, tokens ...string) string {
	return strings.Join(append([]string{base}, tokens...), ".")
}

// Tokens returns what follows base in subject: connection first, then source or page tokens. Nil when subject is not under base.
func Tokens(base, subject string) []string {
	rest, ok := strings.CutPrefix(subject, base+".")
	if !ok || rest == "" {
		return nil
	}
	return strings.Split(rest, ".")
}

// ConnectionOf returns the connection token of any subject of ours, or "unknown" when that is no legal name.
func ConnectionOf(subject string) string {
	tokens := strings.Split(subject, ".")
	if len(tokens) > subjectConnectionTokenPosition && LegalName(tokens[subjectConnectionTokenPosition]) {
		return tokens[subjectConnectionTokenPosition]
	}
	return "unknown"
}
