package seatwire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// deadLetterRow is one line of `deadletters list`.
type deadLetterRow struct {
	Sequence   uint64 `json:"sequence"`
	Service    string `json:"service"`
	Connection string `json:"connection"`
	Subject    string `json:"subject"`
	Reason     string `json:"reason"`
	Error      string `json:"error"`
	Attempts   int    `json:"attempts"`
	At         string `json:"at"`
}

// deadLetterView is `deadletters show`: with the headers and the body, which may hold people's addresses.
type deadLetterView struct {
	deadLetterRow
	Header map[string][]string `json:"header"`
	Body   string              `json:"body"`
}

// deadLetterFilter says which dead letters a verb is about.
type deadLetterFilter struct {
	sequences                   []uint64
	all                         bool
	service, connection, reason string
	olderThan, newerThan        time.Duration
	// rate is how many are replayed or discarded in a second.
	rate int
}

func (f *deadLetterFilter) declare(fs *flag.FlagSet) {
	fs.Func("sequence", "", func(text string) error {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n == 0 {
			return errors.New("want a sequence as list prints it")
		}
		f.sequences = append(f.sequences, n)
		return nil
	})
	fs.BoolVar(&f.all, "all", false, "")
	fs.StringVar(&f.service, "service", "", "")
	fs.StringVar(&f.connection, "connection", "", "")
	fs.StringVar(&f.reason, "reason", "", "")
	fs.DurationVar(&f.olderThan, "older-than", 0, "")
	fs.DurationVar(&f.newerThan, "newer-than", 0, "")
	fs.IntVar(&f.rate, "rate", defaultReplayRate, "")
}

func (f *deadLetterFilter) takes(r deadLetterRow, age time.Duration) bool {
	return (len(f.sequences) == 0 || slices.Contains(f.sequences, r.Sequence)) && (f.service == "" || f.service == r.Service) &&
		(f.connection == "" || f.connection == r.Connection) && (f.reason == "" || f.reason == r.Reason) &&
		(f.olderThan == 0 || age > f.olderThan) && (f.newerThan == 0 || age < f.newerThan)
}

func deadLetters(ctx context.Context, c *invocation) error {
	f := &deadLetterFilter{}
	return withSession(ctx, c, f.declare, func(args []string) (action, error) {
		if len(args) != 1 {
			return nil, usage("takes list, show, replay, discard or stop")
		}
		switch args[0] {
		case "list":
			return func(s *session) error { return f.list(ctx, c, s) }, nil
		case "show":
			if len(f.sequences) != 1 {
				return nil, usage("show takes --sequence N, as list prints it")
			}
			return func(s *session) error { return f.show(ctx, c, s) }, nil
		case verbReplay, verbDiscard:
			if (len(f.sequences) == 0) == !f.all {
				return nil, usage("%s takes --sequence N, once or more often, or --all with filters", args[0])
			}
			if f.rate < 1 {
				return nil, usage("--rate is how many in a second, 1 at least")
			}
			return func(s *session) error { return f.clear(ctx, c, s, args[0]) }, nil
		case "stop":
			return func(s *session) error { return s.stopRun(ctx, c) }, nil
		default:
			return nil, usage("takes list, show, replay, discard or stop, not %q", args[0])
		}
	})
}

func deadLetterOf(msg *jetstream.RawStreamMsg) deadLetterRow {
	attempts, _ := strconv.Atoi(msg.Header.Get(bus.HeaderDeadAttempts))
	tokens := append(events.Tokens(events.DeadLetterSubject, msg.Subject), "", "")
	return deadLetterRow{
		Sequence: msg.Sequence, Service: tokens[0], Connection: tokens[1], Subject: msg.Header.Get(bus.HeaderDeadSubject),
		Reason: msg.Header.Get(bus.HeaderDeadReason), Error: msg.Header.Get(bus.HeaderDeadError), Attempts: attempts,
		At: msg.Header.Get(bus.HeaderDeadAt),
	}
}

// each hands over the dead letters that the filter takes, oldest first.
func (f *deadLetterFilter) each(ctx context.Context, s *session, body func(*jetstream.RawStreamMsg, deadLetterRow) error) error {
	first, last := uint64(1), uint64(math.MaxUint64)
	if len(f.sequences) > 0 {
		first, last = slices.Min(f.sequences), slices.Max(f.sequences)
	}
	for msg, err := range streams.Read(ctx, s.conn.JS(), streams.DeadLetters, events.DeadLetterSubject+".*.*", first) {
		if err != nil {
			return err
		}
		if msg.Sequence > last {
			return nil
		}
		row := deadLetterOf(msg)
		if !f.takes(row, time.Since(msg.Time)) {
			continue
		}
		if err := body(msg, row); err != nil {
			return err
		}
	}
	return nil
}

func (f *deadLetterFilter) list(ctx context.Context, c *invocation, s *session) error {
	rows := []deadLetterRow{}
	err := f.each(ctx, s, func(_ *jetstream.RawStreamMsg, r deadLetterRow) error {
		rows = append(rows, r)
		return nil
	})
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c.env.Stdout, rows)
	}
	var table [][]any
	for _, r := range rows {
		table = append(table, []any{r.Sequence, r.At, r.Service, r.Connection, r.Subject, r.Reason, r.Attempts, r.Error})
	}
	return printTable(c.env.Stdout, "sequence\tat\tservice\tconnection\tsubject\treason\tattempts\terror", table)
}

func (f *deadLetterFilter) show(ctx context.Context, c *invocation, s *session) error {
	found := false
	err := f.each(ctx, s, func(msg *jetstream.RawStreamMsg, r deadLetterRow) error {
		found = true
		view := deadLetterView{r, msg.Header, string(msg.Data)}
		if c.json {
			return printJSON(c.env.Stdout, view)
		}
		_, err := fmt.Fprintf(c.env.Stdout, "sequence  %d\nfrom      %s\nreason    %s: %s\nattempts  %d\nat        %s\n\n%s\n",
			r.Sequence, r.Subject, r.Reason, r.Error, r.Attempts, r.At, view.Body)
		return err
	})
	if err == nil && !found {
		return noDeadLetter(f.sequences[0])
	}
	return err
}

func noDeadLetter(sequence uint64) error {
	return plain("there is no dead letter %d; seatwire deadletters list shows them", sequence)
}
