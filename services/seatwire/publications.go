package seatwire

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// publicationRow is one line of `publications list`.
type publicationRow struct {
	Connection string        `json:"connection"`
	SweepID    string        `json:"sweepId"`
	State      string        `json:"state"`
	Reason     string        `json:"reason"`
	Counts     events.Counts `json:"counts"`
	At         time.Time     `json:"at"`
	By         string        `json:"by,omitempty"`
}

func publications(ctx context.Context, c *invocation) error {
	by := ""
	return withSession(ctx, c, func(fs *flag.FlagSet) { fs.StringVar(&by, "by", "", "") }, func(args []string) (action, error) {
		switch {
		case len(args) == 1 && args[0] == "list":
			return func(s *session) error { return listPublications(ctx, c, s) }, nil
		case len(args) != 3 || args[0] != "release" && args[0] != "decline":
			return nil, usage("takes list, or release or decline with CONNECTION and SWEEPID")
		case by == "":
			return nil, usage("--by NAME is missing: a decision has a name")
		default:
			d := roster.Decision{Release: args[0] == "release", By: by, At: time.Now().UTC()}
			return func(s *session) error { return decide(ctx, c, s, args[1], args[2], d) }, nil
		}
	})
}

func listPublications(ctx context.Context, c *invocation, s *session) error {
	rows := []publicationRow{}
	for _, conn := range s.cfg.Connections {
		var p roster.Publication
		if _, err := s.state.Get(ctx, roster.PublicationKey(conn.Name), &p); err != nil {
			return err
		}
		for _, r := range p.History {
			rows = append(rows, publicationRow{conn.Name, r.SweepID, r.State, r.Reason, r.Counts, r.At, r.By})
		}
	}
	if c.json {
		return printJSON(c.env.Stdout, rows)
	}
	var table [][]any
	for _, r := range rows {
		table = append(table, []any{r.At.Format(time.RFC3339), r.Connection, r.SweepID, r.State, r.Counts.Active, r.Counts.Added, r.Counts.Changed, r.Counts.Deleted, r.Reason})
	}
	return printTable(c.env.Stdout, "at\tconnection\tsweep\tstate\tactive\tadded\tchanged\tdeleted\treason", table)
}

// decide hands a decision to the publishing lane. Its subject names the hold, so that two people cannot both decide.
func decide(ctx context.Context, c *invocation, s *session, connectionName, sweepID string, d roster.Decision) error {
	if _, err := connection(s.cfg, connectionName); err != nil {
		return err
	}
	var p roster.Publication
	if _, err := s.state.Get(ctx, roster.PublicationKey(connectionName), &p); err != nil {
		return err
	}
	switch record := p.Record(sweepID); {
	case record == nil:
		return plain("%s has no publication %s; seatwire publications list shows them", connectionName, sweepID)
	case record.State != roster.StateHeld:
		return plain("publication %s of %s is %s: there is nothing to decide", sweepID, connectionName, record.State)
	default:
		return publishDecision(ctx, c, s, connectionName, *record, d)
	}
}

func publishDecision(ctx context.Context, c *invocation, s *session, connectionName string, record roster.Record, d roster.Decision) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	subject := events.Subject(streams.PublicationDecidedSubject, connectionName, record.SweepID, strconv.Itoa(record.Holds))
	ack, err := s.publisher.PublishMsg(ctx, subject, subject, nil, body)
	if bus.IsKeyExists(err) || ack != nil && ack.Duplicate {
		return plain("publication %s of %s is decided already", record.SweepID, connectionName)
	}
	if err != nil {
		return err
	}
	decided := roster.StateDeclined
	if d.Release {
		decided = roster.StateReleased
	}
	if c.json {
		return printJSON(c.env.Stdout, map[string]any{"connection": connectionName, "sweepId": record.SweepID, "state": decided, "by": d.By})
	}
	_, err = fmt.Fprintf(c.env.Stdout, "%s of %s %s by %s; seatwire publications list shows what becomes of it\n", record.SweepID, connectionName, decided, d.By)
	return err
}
