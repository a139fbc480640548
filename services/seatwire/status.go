package seatwire

import (
	"context"
	"fmt"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// statusRow is one connection at a glance.
type statusRow struct {
	Connection string `json:"connection"`
	// LastSweep is null before the first one ended.
	LastSweep *sweepStatus `json:"lastSweep"`
	// LastPublication is null before the first one ended.
	LastPublication *publicationRow   `json:"lastPublication"`
	Plan            events.PlanCounts `json:"plan"`
	Holds           []holdStatus      `json:"holds"`
	// Requests counts deprovision requests by state.
	Requests    map[string]int `json:"requests"`
	DeadLetters int            `json:"deadLetters"`
	Paused      bool           `json:"paused"`
	// Lag is messages that wait or are in hand, by durable.
	Lag map[string]uint64 `json:"lag"`
}

type sweepStatus struct {
	SweepID  string    `json:"sweepId"`
	Running  bool      `json:"running"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"`
	Users    int       `json:"users"`
	Failure  string    `json:"failure"`
	Detail   string    `json:"detail"`
	Warnings []string  `json:"warnings"`
}

// holdStatus is something that waits for a person: a publication by its sweep, or a batch by its id.
type holdStatus struct {
	SweepID string    `json:"sweepId,omitempty"`
	BatchID string    `json:"batchId,omitempty"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
}

func status(ctx context.Context, c *invocation) error {
	return withSession(ctx, c, nil, func(args []string) (action, error) {
		if len(args) > 0 {
			return nil, usage("takes no arguments")
		}
		return func(s *session) error { return s.statuses(ctx, c) }, nil
	})
}

func (s *session) statuses(ctx context.Context, c *invocation) error {
	rows := []statusRow{}
	for _, conn := range s.cfg.Connections {
		row, err := s.status(ctx, conn.Name)
		if err != nil {
			return err
		}
		rows = append(rows, row)
	}
	return printStatus(c, rows)
}

func (s *session) status(ctx context.Context, name string) (row statusRow, err error) {
	row = statusRow{Connection: name, Holds: []holdStatus{}, Requests: map[string]int{}, Lag: map[string]uint64{}}
	if row.LastSweep, row.Plan, err = s.lastSweep(ctx, name); err != nil {
		return row, err
	}
	var p roster.Publication
	if _, err := s.state.Get(ctx, roster.PublicationKey(name), &p); err != nil {
		return row, err
	}
	if n := len(p.History); n > 0 {
		r := p.History[n-1]
		row.LastPublication = &publicationRow{name, r.SweepID, r.State, r.Reason, r.Counts, r.At, r.By}
	}
	if held := p.Held(); held != nil {
		row.Holds = append(row.Holds, holdStatus{SweepID: held.SweepID, Reason: held.Reason, At: held.At})
	}
	if row.Requests, err = s.ledger().ByState(ctx, name); err != nil {
		return row, err
	}
	for b, err := range s.ledger().Batches(ctx, name) {
		if err != nil {
			return row, err
		}
		if b.State == deprovision.BatchHeld {
			row.Holds = append(row.Holds, holdStatus{BatchID: b.ID, Reason: b.Reason, At: b.At})
		}
	}
	if row.Paused, err = state.Paused(ctx, streams.At(s.conn.JS()), name); err != nil {
		return row, err
	}
	if row.DeadLetters, err = streams.Count(ctx, s.conn.JS(), streams.DeadLetters, events.Subject(events.DeadLetterSubject, "*", name)); err != nil {
		return row, err
	}
	return row, s.lag(ctx, row.Lag, name)
}

func (s *session) lastSweep(ctx context.Context, name string) (*sweepStatus, events.PlanCounts, error) {
	var sweep roster.Sweep
	if _, err := s.state.Get(ctx, roster.SweepKey(name), &sweep); err != nil || sweep.SweepID == "" {
		return nil, events.PlanCounts{}, err
	}
	out := &sweepStatus{SweepID: sweep.SweepID, Running: sweep.Running, Started: sweep.Started, Users: sweep.Checkpoint.Nodes, Warnings: sweep.Checkpoint.Warnings}
	plan := events.PlanCounts{}
	if m := sweep.Last; m != nil && !sweep.Running {
		out.Finished, out.Failure, out.Detail = m.Finished, m.Failure, m.Detail
	}
	if m := sweep.Sound; m != nil {
		plan = events.PlanCounts{Licenses: m.Licenses, Assigned: m.Assigned}
	}
	if out.Warnings == nil {
		out.Warnings = []string{}
	}
	return out, plan, nil
}

// lag asks for the durables that serve this connection, the shared ones included.
func (s *session) lag(ctx context.Context, out map[string]uint64, name string) error {
	for _, c := range streams.For(s.cfg).Consumers {
		if owner := c.Config.Metadata["connection"]; owner != "" && owner != name {
			continue
		}
		consumer, err := s.conn.JS().Consumer(ctx, c.Stream, c.Config.Durable)
		if err != nil {
			return fmt.Errorf("consumer %s: %w", c.Config.Durable, err)
		}
		info := consumer.CachedInfo()
		out[c.Config.Durable] = info.NumPending + uint64(info.NumAckPending)
	}
	return nil
}

func printStatus(c *invocation, rows []statusRow) error {
	if c.json {
		return printJSON(c.env.Stdout, rows)
	}
	for _, r := range rows {
		printConnection(c, r)
	}
	return nil
}

func printConnection(c *invocation, r statusRow) {
	w := c.env.Stdout
	fmt.Fprintln(w, r.Connection)
	switch s := r.LastSweep; {
	case s == nil:
		fmt.Fprintln(w, "  sweep        none yet")
	case s.Running:
		fmt.Fprintf(w, "  sweep        %s running since %s, %d people read\n", s.SweepID, s.Started.Format(time.RFC3339), s.Users)
	case s.Failure != "":
		fmt.Fprintf(w, "  sweep        %s failed: %s\n", s.SweepID, s.Detail)
	default:
		fmt.Fprintf(w, "  sweep        %s read %d people in %s\n", s.SweepID, s.Users, s.Finished.Sub(s.Started).Round(time.Millisecond))
	}
	if r.LastSweep != nil {
		for _, warning := range r.LastSweep.Warnings {
			fmt.Fprintf(w, "  warning      %s\n", warning)
		}
	}
	if p := r.LastPublication; p != nil {
		fmt.Fprintf(w, "  publication  %s %s: %d active, %d added, %d changed, %d deleted  %s\n", p.SweepID, p.State, p.Counts.Active, p.Counts.Added, p.Counts.Changed, p.Counts.Deleted, p.Reason)
	}
	fmt.Fprintf(w, "  plan         %d licences, %d assigned\n", r.Plan.Licenses, r.Plan.Assigned)
	for _, h := range r.Holds {
		fmt.Fprintf(w, "  HELD         %s%s since %s: %s\n", h.SweepID, h.BatchID, h.At.Format(time.RFC3339), h.Reason)
	}
	for _, name := range sortedKeys(r.Requests) {
		fmt.Fprintf(w, "  requests     %d %s\n", r.Requests[name], name)
	}
	fmt.Fprintf(w, "  dead letters %d\n", r.DeadLetters)
	if r.Paused {
		fmt.Fprintln(w, "  PAUSED       nothing is removed at any vendor; seatwire resume "+r.Connection)
	}
	for _, name := range sortedKeys(r.Lag) {
		if r.Lag[name] > 0 {
			fmt.Fprintf(w, "  waiting      %d for %s\n", r.Lag[name], name)
		}
	}
}
