package seatwire

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
)

// deprovisionFlags are those of all its verbs together; each verb takes its own.
type deprovisionFlags struct {
	emails                          []string
	csv, source, reason, by, sha256 string
	batches                         bool
}

func (f *deprovisionFlags) declare(fs *flag.FlagSet) {
	fs.Func("email", "", func(s string) error { f.emails = append(f.emails, s); return nil })
	fs.StringVar(&f.csv, "csv", "", "")
	fs.StringVar(&f.source, "source", "", "")
	fs.StringVar(&f.reason, "reason", "", "")
	fs.StringVar(&f.by, "by", "", "")
	fs.StringVar(&f.sha256, "sha256", "", "")
	fs.BoolVar(&f.batches, "batches", false, "")
}

func deprovisionCommand(ctx context.Context, c *invocation) error {
	f := &deprovisionFlags{}
	return withSession(ctx, c, f.declare, func(args []string) (action, error) {
		if len(args) == 0 {
			return nil, usage("takes submit, list, show, approve or decline")
		}
		switch verb, rest := args[0], args[1:]; verb {
		case "submit":
			return f.submit(ctx, c, rest)
		case "list":
			return f.list(ctx, c, rest)
		case "show":
			return f.show(ctx, c, rest)
		case "approve", "decline":
			return f.decide(ctx, c, verb == "approve", rest)
		default:
			return nil, usage("takes submit, list, show, approve or decline, not %q", verb)
		}
	})
}

// submit publishes one request event for each address, as any other system would.
func (f *deprovisionFlags) submit(ctx context.Context, c *invocation, args []string) (action, error) {
	// Several addresses may stand behind one --email: what holds an @ is no connection.
	people, args := slices.Clone(f.emails), slices.Clone(args)
	args = slices.DeleteFunc(args, func(s string) bool {
		if strings.Contains(s, "@") {
			people = append(people, s)
		}
		return strings.Contains(s, "@")
	})
	switch {
	case len(args) == 1 && !events.LegalName(args[0]):
		return nil, usage("%q is no connection's name", args[0])
	case len(args) != 1:
		return nil, usage("submit takes one CONNECTION")
	case !events.LegalName(f.source):
		return nil, usage("--source TOKEN is missing or not [a-z0-9][a-z0-9-]{0,31}")
	case f.reason == "":
		return nil, usage("--reason R is missing")
	case (f.csv == "") == (len(people) == 0):
		return nil, usage("submit takes --email E, once or more, or --csv FILE")
	}
	if f.csv != "" {
		var err error
		if people, err = addresses(f.csv); err != nil {
			return nil, err
		}
	}
	return func(s *session) error { return f.publish(ctx, c, s, args[0], people) }, nil
}

// addresses reads the email column of a CSV file with a header, or its only column.
func addresses(file string) ([]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, plain("cannot read %s", file)
	}
	defer f.Close()
	rows := csv.NewReader(f)
	header, err := rows.Read()
	if err != nil {
		return nil, plain("%s is no CSV file with a header line", file)
	}
	column := slices.IndexFunc(header, func(name string) bool { return strings.EqualFold(strings.TrimSpace(name), "email") })
	if column < 0 {
		return nil, plain("%s has no column email", file)
	}
	var out []string
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, plain("%s: line %d is not like its header", file, len(out)+2)
		}
		out = append(out, row[column])
	}
}

// submitted is one published request.
type submitted struct {
	Connection    string `json:"connection"`
	RequestSource string `json:"requestSource"`
	RequestID     string `json:"requestId"`
	Email         string `json:"email"`
}

func (f *deprovisionFlags) publish(ctx context.Context, c *invocation, s *session, name string, people []string) error {
	if _, err := connection(s.cfg, name); err != nil {
		return err
	}
	subject := events.Subject(events.DeprovisionRequestedSubject, name, f.source)
	out := []submitted{}
	for _, email := range people {
		data, err := json.Marshal(events.DeprovisionRequested{Email: email, Reason: f.reason})
		if err != nil {
			return err
		}
		event := events.Event{ID: rand.Text(), Source: CommandSource, Type: events.DeprovisionRequestedType, Time: time.Now().UTC(), Data: data}
		header, body := event.Encode()
		if _, err := s.publisher.PublishMsg(ctx, subject, event.ID, nats.Header(header), body); err != nil {
			return plain("%d of %d requests are published, the next one was not: %s", len(out), len(people), text(err))
		}
		out = append(out, submitted{name, event.Source, event.ID, email})
	}
	if c.json {
		return printJSON(c.env.Stdout, out)
	}
	_, err := fmt.Fprintf(c.env.Stdout, "%d requests published for %s; seatwire deprovision list shows them\n", len(out), name)
	return err
}

// requestRow is one line of `deprovision list`.
type requestRow struct {
	Connection    string    `json:"connection"`
	Source        string    `json:"source"`
	RequestSource string    `json:"requestSource"`
	RequestID     string    `json:"requestId"`
	Email         string    `json:"email"`
	State         string    `json:"state"`
	Outcome       string    `json:"outcome,omitempty"`
	Reason        string    `json:"reason,omitempty"`
	BatchID       string    `json:"batchId"`
	At            time.Time `json:"at"`
}

// batchRow is one line of `deprovision list --batches`.
type batchRow struct {
	Connection string    `json:"connection"`
	BatchID    string    `json:"batchId"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	Rows       int       `json:"rows"`
	SHA256     string    `json:"sha256"`
	At         time.Time `json:"at"`
}

func (f *deprovisionFlags) list(ctx context.Context, c *invocation, args []string) (action, error) {
	if len(args) > 0 {
		return nil, usage("list takes only --batches")
	}
	if f.batches {
		return func(s *session) error { return listBatches(ctx, c, s) }, nil
	}
	return func(s *session) error { return listRequests(ctx, c, s) }, nil
}

func listRequests(ctx context.Context, c *invocation, s *session) error {
	rows := []requestRow{}
	for r, err := range s.ledger().List(ctx, "*") {
		if err != nil {
			return err
		}
		rows = append(rows, requestRow{r.Connection, r.Publisher, r.Source, r.ID, r.Email, r.State, r.Outcome, r.OutcomeReason, r.BatchID, r.At})
	}
	if c.json {
		return printJSON(c.env.Stdout, rows)
	}
	var table [][]any
	for _, r := range rows {
		table = append(table, []any{r.At.Format(time.RFC3339), r.Connection, r.Source, r.RequestID, r.Email, r.State, r.Outcome, r.Reason, r.BatchID})
	}
	return printTable(c.env.Stdout, "at\tconnection\tsource\trequest\temail\tstate\toutcome\treason\tbatch", table)
}

func listBatches(ctx context.Context, c *invocation, s *session) error {
	rows := []batchRow{}
	for b, err := range s.ledger().Batches(ctx, "*") {
		if err != nil {
			return err
		}
		rows = append(rows, batchRow{b.Connection, b.ID, b.State.Public(), b.Reason, len(b.Rows), b.SHA256, b.At})
	}
	if c.json {
		return printJSON(c.env.Stdout, rows)
	}
	var table [][]any
	for _, r := range rows {
		table = append(table, []any{r.At.Format(time.RFC3339), r.Connection, r.BatchID, r.State, r.Rows, r.SHA256, r.Reason})
	}
	return printTable(c.env.Stdout, "at\tconnection\tbatch\tstate\trows\tsha256\treason", table)
}

// batchView is `deprovision show`.
type batchView struct {
	Connection string    `json:"connection"`
	BatchID    string    `json:"batchId"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	SHA256     string    `json:"sha256"`
	Rows       []rowView `json:"rows"`
}

type rowView struct {
	ID        string   `json:"id"`
	Email     string   `json:"email"`
	FirstName string   `json:"firstName"`
	LastName  string   `json:"lastName"`
	Outcome   string   `json:"outcome,omitempty"`
	Requests  []string `json:"requests"`
}

func (f *deprovisionFlags) show(ctx context.Context, c *invocation, args []string) (action, error) {
	if len(args) != 1 {
		return nil, usage("show takes one BATCHID")
	}
	return func(s *session) error {
		b, err := s.ledger().Show(ctx, args[0])
		if err != nil {
			return batchError(args[0], err)
		}
		requests, err := s.ledger().RequestsOf(ctx, b)
		if err != nil {
			return err
		}
		return printBatch(c, b, requests)
	}, nil
}

func printBatch(c *invocation, b deprovision.Batch, requests map[string][]deprovision.Request) error {
	view := batchView{b.Connection, b.ID, b.State.Public(), b.Reason, b.SHA256, []rowView{}}
	for _, r := range b.Rows {
		row := rowView{r.ID, r.Email, r.FirstName, r.LastName, r.Outcome, []string{}}
		for _, request := range requests[r.PsUserID] {
			row.Requests = append(row.Requests, request.ID)
		}
		view.Rows = append(view.Rows, row)
	}
	if c.json {
		return printJSON(c.env.Stdout, view)
	}
	fmt.Fprintf(c.env.Stdout, "batch   %s of %s, %s %s\nsha256  %s\n", view.BatchID, view.Connection, view.State, view.Reason, view.SHA256)
	var table [][]any
	for _, r := range view.Rows {
		table = append(table, []any{r.ID, r.Email, r.FirstName, r.LastName, r.Outcome, strings.Join(r.Requests, ",")})
	}
	return printTable(c.env.Stdout, "id\temail\tfirst name\tlast name\toutcome\trequests", table)
}

func (f *deprovisionFlags) decide(ctx context.Context, c *invocation, approve bool, args []string) (action, error) {
	switch {
	case len(args) != 1:
		return nil, usage("takes one BATCHID")
	case f.by == "":
		return nil, usage("--by NAME is missing: a decision has a name")
	}
	return func(s *session) error {
		b, err := s.ledger().Decide(ctx, args[0], f.by, f.sha256, approve)
		if err != nil {
			return batchError(args[0], err)
		}
		decided := "declined"
		if approve {
			decided = "approved"
		}
		if c.json {
			return printJSON(c.env.Stdout, map[string]any{"connection": b.Connection, "batchId": b.ID, "state": decided, "by": f.by, "sha256": b.SHA256})
		}
		_, err = fmt.Fprintf(c.env.Stdout, "%s of %s %s by %s\n", b.ID, b.Connection, decided, f.by)
		return err
	}, nil
}

// batchError says what to do about a batch that is not as the operator thinks.
func batchError(id string, err error) error {
	switch {
	case errors.Is(err, deprovision.ErrUnknownBatch):
		return plain("there is no batch %s; seatwire deprovision list --batches shows them", id)
	case errors.Is(err, deprovision.ErrDecided):
		return plain("batch %s does not wait for a decision; seatwire deprovision show %s tells its state", id, id)
	case errors.Is(err, deprovision.ErrOtherContent):
		return plain("batch %s has another sha256; look at it again: seatwire deprovision show %s", id, id)
	case errors.Is(err, deprovision.ErrNobody):
		return plain("a decision needs a person's name, and %q is the configuration's own", deprovision.Auto)
	default:
		return err
	}
}

// ledger is what became of requests and batches.
func (s *session) ledger() *deprovision.Ledger { return deprovision.Open(s.conn.JS()) }

// sameAddress compares addresses as the roster does.
func sameAddress(a, b string) bool { return roster.FoldEmail(a) == roster.FoldEmail(b) }
