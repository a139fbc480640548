package seatwire

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// explain tells everything that is known about one person, in order: what was asked, decided, sent and proved, what
// the roster last said, and what Productiv was told.
func explain(ctx context.Context, c *invocation) error {
	return withSession(ctx, c, nil, func(args []string) (action, error) {
		if len(args) != 1 || !strings.Contains(args[0], "@") {
			return nil, usage("takes one EMAIL")
		}
		return func(s *session) error {
			lines, err := s.explain(ctx, args[0])
			if err != nil {
				return err
			}
			return printExplanation(c, lines)
		}, nil
	})
}

func (s *session) explain(ctx context.Context, email string) ([]deprovision.Line, error) {
	lines, err := s.ledger().Explain(ctx, email, sameAddress)
	if err != nil {
		return nil, err
	}
	for _, conn := range s.cfg.Connections {
		seen, err := s.explainRoster(ctx, conn.Name, email)
		if err != nil {
			return nil, err
		}
		told, err := s.explainPublications(ctx, conn.Name, email)
		if err != nil {
			return nil, err
		}
		lines = append(append(lines, seen...), told...)
	}
	slices.SortStableFunc(lines, func(a, b deprovision.Line) int { return a.At.Compare(b.At) })
	return lines, nil
}

// explainRoster says how the last sound sweep found the person.
func (s *session) explainRoster(ctx context.Context, connectionName, email string) (lines []deprovision.Line, err error) {
	var sweep roster.Sweep
	if _, err := s.state.Get(ctx, roster.SweepKey(connectionName), &sweep); err != nil || sweep.Sound == nil {
		return nil, err
	}
	rows, err := readUsers(ctx, s, connectionName, func(p roster.Person) bool { return sameAddress(p.Email, email) })
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		summary := "Pluralsight: " + r.State
		if r.Admin {
			summary += ", admin"
		}
		if r.RemovedOn != nil {
			summary += ", removed on " + r.RemovedOn.Format(time.RFC3339)
		}
		lines = append(lines, deprovision.Line{At: sweep.Sound.Finished, Connection: connectionName, Kind: "sweep", Summary: summary, Reference: sweep.Sound.SweepID})
	}
	return lines, nil
}

// explainPublications looks the person up in the sealed chunks: the very bytes that Productiv was sent.
func (s *session) explainPublications(ctx context.Context, connectionName, email string) (lines []deprovision.Line, err error) {
	filter := events.Subject(streams.PublicationChunkSubject, connectionName, "*", "*", "*")
	for msg, err := range streams.Read(ctx, s.conn.JS(), streams.Plans, filter, 1) {
		if err != nil {
			return nil, err
		}
		var chunk struct {
			Users []struct {
				Email string `json:"email"`
			} `json:"provisionedUsers"`
		}
		if json.Unmarshal(msg.Data, &chunk) != nil {
			continue
		}
		named := slices.ContainsFunc(chunk.Users, func(u struct {
			Email string `json:"email"`
		}) bool {
			return sameAddress(u.Email, email)
		})
		if tokens := events.Tokens(streams.PublicationChunkSubject, msg.Subject); named && len(tokens) == 4 {
			summary := "planned for Productiv: listed"
			if strings.HasPrefix(tokens[3], "r") {
				summary = "planned for Productiv: deleted"
			}
			lines = append(lines, deprovision.Line{At: msg.Time, Connection: connectionName, Kind: "publication", Summary: summary, Reference: tokens[1]})
		}
	}
	return lines, nil
}

func printExplanation(c *invocation, lines []deprovision.Line) error {
	if c.json {
		if lines == nil {
			lines = []deprovision.Line{}
		}
		return printJSON(c.env.Stdout, lines)
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(c.env.Stdout, "nothing is known about this address")
		return err
	}
	var table [][]any
	for _, l := range lines {
		table = append(table, []any{l.At.Format(time.RFC3339), l.Connection, l.Kind, l.Summary, l.Reference})
	}
	return printTable(c.env.Stdout, "at\tconnection\tkind\tsummary\treference", table)
}
