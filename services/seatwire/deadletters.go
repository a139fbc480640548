package seatwire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// headerReplays counts how often a message was replayed. It travels with the message, so a dead letter of a
	// replay carries it too.
	headerReplays = "Seatwire-Replays"
	// maxReplays stops a message that dies again and again.
	maxReplays = 3
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
	sequence                    uint64
	all                         bool
	service, connection, reason string
}

func (f *deadLetterFilter) declare(fs *flag.FlagSet) {
	fs.Uint64Var(&f.sequence, "sequence", 0, "")
	fs.BoolVar(&f.all, "all", false, "")
	fs.StringVar(&f.service, "service", "", "")
	fs.StringVar(&f.connection, "connection", "", "")
	fs.StringVar(&f.reason, "reason", "", "")
}

func (f *deadLetterFilter) takes(r deadLetterRow) bool {
	return (f.sequence == 0 || f.sequence == r.Sequence) && (f.service == "" || f.service == r.Service) &&
		(f.connection == "" || f.connection == r.Connection) && (f.reason == "" || f.reason == r.Reason)
}

func deadLetters(ctx context.Context, c *invocation) error {
	f := &deadLetterFilter{}
	return withSession(ctx, c, f.declare, func(args []string) (action, error) {
		if len(args) != 1 {
			return nil, usage("takes list, show, replay or discard")
		}
		switch args[0] {
		case "list":
			return func(s *session) error { return f.list(ctx, c, s) }, nil
		case "show":
			if f.sequence == 0 {
				return nil, usage("show takes --sequence N, as list prints it")
			}
			return func(s *session) error { return f.show(ctx, c, s) }, nil
		case "replay", "discard":
			if (f.sequence == 0) == !f.all {
				return nil, usage("%s takes --sequence N or --all", args[0])
			}
			return func(s *session) error { return f.clear(ctx, c, s, args[0] == "replay") }, nil
		default:
			return nil, usage("takes list, show, replay or discard, not %q", args[0])
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
	for msg, err := range streams.Read(ctx, s.conn.JS(), streams.DeadLetters, events.DeadLetterSubject+".*.*", max(f.sequence, 1)) {
		if err != nil {
			return err
		}
		if f.sequence > 0 && msg.Sequence > f.sequence {
			return nil
		}
		row := deadLetterOf(msg)
		if !f.takes(row) {
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
		return plain("there is no dead letter %d; seatwire deadletters list shows them", f.sequence)
	}
	return err
}

// cleared counts what a replay or discard did.
type cleared struct {
	Replayed  int `json:"replayed"`
	Discarded int `json:"discarded"`
	// Kept were replayed too often already.
	Kept int `json:"kept"`
}

// clear replays or discards. A dead letter leaves the list only when its replay is stored, so a crash in between
// replays it twice at worst, and every stage absorbs that.
func (f *deadLetterFilter) clear(ctx context.Context, c *invocation, s *session, replay bool) error {
	stream, err := s.conn.JS().Stream(ctx, streams.DeadLetters)
	if err != nil {
		return err
	}
	last := stream.CachedInfo().State.LastSeq
	var done cleared
	err = f.each(ctx, s, func(msg *jetstream.RawStreamMsg, r deadLetterRow) error {
		if msg.Sequence > last {
			return nil // a replay that died again: not in this run
		}
		if replay {
			stored, err := s.replay(ctx, msg, r)
			if err != nil {
				return err
			}
			if !stored {
				done.Kept++
				return nil
			}
			done.Replayed++
		} else {
			done.Discarded++
		}
		return stream.DeleteMsg(ctx, msg.Sequence)
	})
	if err != nil {
		return err
	}
	return f.report(c, done)
}

func (f *deadLetterFilter) report(c *invocation, done cleared) error {
	if done == (cleared{}) && f.sequence > 0 {
		return plain("there is no dead letter %d; seatwire deadletters list shows them", f.sequence)
	}
	if c.json {
		if err := printJSON(c.env.Stdout, done); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.env.Stdout, "%d replayed, %d discarded\n", done.Replayed, done.Discarded)
	}
	if done.Kept > 0 {
		return plain("%d dead letters were replayed %d times already; find out why, or discard them", done.Kept, maxReplays)
	}
	return nil
}

// replay publishes the original again where it came from: at the front, so that it passes every check again. It
// reports false for a message that was replayed too often.
func (s *session) replay(ctx context.Context, msg *jetstream.RawStreamMsg, r deadLetterRow) (stored bool, err error) {
	replays, _ := strconv.Atoi(msg.Header.Get(headerReplays))
	if replays >= maxReplays {
		return false, nil
	}
	header := nats.Header{}
	for name, values := range msg.Header {
		if !strings.HasPrefix(name, "Seatwire-") && !strings.HasPrefix(name, "Nats-") {
			header[name] = values
		}
	}
	header.Set(headerReplays, strconv.Itoa(replays+1))
	id := fmt.Sprintf("replay/%d/%d", msg.Sequence, time.Now().UnixNano())
	_, err = s.publisher.PublishMsg(ctx, r.Subject, id, header, msg.Data)
	if bus.IsKeyExists(err) {
		return true, nil // it was stored meanwhile: there is nothing left to do
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return false, plain("dead letter %d came from %s, which nothing reads any more; discard it", msg.Sequence, r.Subject)
	}
	return err == nil, err
}
