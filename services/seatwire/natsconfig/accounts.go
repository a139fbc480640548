package natsconfig

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seatwire/seatwire/pkg/streams"
)

// accounts is the servers' list of who may do what.
//
// Our programs share the account SEATWIRE, which has the streams. Each publishing system has an account of its own that
// imports its few subjects and nothing else. Permissions alone would not keep it out: the broker does not check the reply
// subject of a request, so a system inside SEATWIRE could have an acknowledgement of its own event delivered to, say, the
// switch that stops removals. Across accounts an answer stays with whoever asked.
//
// A system's requests to JetStream go through a prefix of their own, APIPrefix: the broker keeps $JS.API for the
// account's own JetStream, which it has none of.
func (c Config) accounts(users []user) string {
	own, systems := len(streams.Users()), len(c.Systems)
	var b strings.Builder
	b.WriteString(written + "accounts {\n  SEATWIRE {\n    jetstream: enabled\n    users: [\n")
	for _, u := range users[:own] {
		b.WriteString(u.entry())
	}
	b.WriteString("    ]\n    exports: [\n")
	for _, u := range users[own : own+systems] {
		for _, subject := range u.may.Publish {
			fmt.Fprintf(&b, "      {service: %q, response_type: stream, accounts: [%s]}\n", subject, account(u))
		}
	}
	b.WriteString("    ]\n  }\n")
	for _, u := range users[own : own+systems] {
		fmt.Fprintf(&b, "  %s {\n    users: [\n%s    ]\n    imports: [\n", account(u), u.abroad().entry())
		for _, subject := range u.may.Publish {
			fmt.Fprintf(&b, "      {service: {account: SEATWIRE, subject: %q}, to: %q}\n", subject, local(subject))
		}
		b.WriteString("    ]\n  }\n")
	}
	monitor := users[own+systems]
	fmt.Fprintf(&b, "  SYS { users: [{nkey: %s}] } # %s\n}\nsystem_account: SYS\n", monitor.public, monitor.name)
	return b.String()
}

// APIPrefix is what publishing systems give their client library as JetStream's API prefix.
const APIPrefix = "JS.seatwire.API"

// local is a subject of SEATWIRE as a publishing system's account knows it.
func local(subject string) string {
	if rest, ok := strings.CutPrefix(subject, "$JS.API."); ok {
		return APIPrefix + "." + rest
	}
	return subject
}

// abroad is the user in its own account.
func (u user) abroad() user {
	u.may.Publish = slices.Clone(u.may.Publish)
	for i, subject := range u.may.Publish {
		u.may.Publish[i] = local(subject)
	}
	return u
}

// account names a publishing system's account.
func account(u user) string { return "SYSTEM_" + u.name }

func (u user) entry() string {
	return fmt.Sprintf("      # %s\n      {nkey: %s, permissions: {\n        publish: {allow: [\n%s        ]}\n        subscribe: {allow: [\n%s        ]}\n      }}\n",
		u.name, u.public, list(u.may.Publish), list(u.may.Subscribe))
}

func list(subjects []string) string {
	var b strings.Builder
	for _, s := range subjects {
		fmt.Fprintf(&b, "          %q\n", s)
	}
	return b.String()
}
