package seatwire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// headerReplays counts how often a message was replayed. It travels with the message, so a dead letter of a
	// replay carries it too.
	headerReplays = "Seatwire-Replays"
	// maxReplays stops a message that dies again and again.
	maxReplays = 3
	// defaultReplayRate leaves a stage room for what comes in meanwhile.
	defaultReplayRate = 100
)

// fronts are the subjects that a stage reads, and their streams: where a dead letter may go back to.
var fronts = []struct{ subject, stream string }{
	{events.SyncRequestedSubject, streams.Sync},
	{events.DeprovisionRequestedSubject, streams.Deprovision},
	{events.DeprovisionCancelledSubject, streams.Deprovision},
	{streams.SweepAcceptedSubject, streams.Sweeps},
	{streams.UsersFetchedSubject, streams.Fetched},
	{streams.UsersSweptSubject, streams.Swept},
	{streams.PublicationDecidedSubject, streams.Swept},
}

// cleared counts what a replay or discard did.
type cleared struct {
	Selected  int `json:"selected"`
	Replayed  int `json:"replayed"`
	Discarded int `json:"discarded"`
	// Kept were replayed too often already.
	Kept int `json:"kept"`
	// Stopped says that somebody ended the run before its end.
	Stopped bool `json:"stopped"`
}

func (d cleared) done() int { return d.Replayed + d.Discarded + d.Kept }

// clear replays or discards what the filter takes now: what dies again meanwhile is not in this run.
func (f *deadLetterFilter) clear(ctx context.Context, c *invocation, s *session, verb string) error {
	var selected []uint64
	err := f.each(ctx, s, func(_ *jetstream.RawStreamMsg, r deadLetterRow) error {
		selected = append(selected, r.Sequence)
		return nil
	})
	if err != nil {
		return err
	}
	if len(selected) < len(f.sequences) {
		for _, sequence := range f.sequences {
			if !slices.Contains(selected, sequence) {
				return noDeadLetter(sequence)
			}
		}
	}
	if len(selected) == 0 {
		return report(c, cleared{})
	}
	run, err := s.beginRun(ctx, verb, len(selected))
	if err != nil {
		return err
	}
	bar := newProgress(c, verb, "dead letters")
	done, err := s.clearEach(ctx, run, rate.NewLimiter(rate.Limit(f.rate), 1), selected, bar)
	bar.done()
	run.end(context.WithoutCancel(ctx))
	return errors.Join(report(c, done), err)
}

// clearEach is the run, one dead letter after the other. One leaves the list only when its replay is stored. A crash
// anywhere in between replays it twice at worst, and every stage absorbs that; a stop comes between two.
func (s *session) clearEach(ctx context.Context, run *run, pace *rate.Limiter, selected []uint64, bar *progress) (done cleared, err error) {
	done.Selected = len(selected)
	item := context.WithoutCancel(ctx) // what is begun is finished
	stream, err := s.conn.JS().Stream(item, streams.DeadLetters)
	if err != nil {
		return done, err
	}
	for _, sequence := range selected {
		failpoint.Hit(failpoint.R4)
		if stop, err := run.stopped(ctx, pace, done); stop || err != nil {
			done.Stopped = stop
			return done, err
		}
		letter, err := streams.Next(item, s.conn.JS(), streams.DeadLetters, ">", sequence)
		if err != nil {
			return done, err
		}
		if letter == nil || letter.Sequence != sequence {
			continue // somebody discarded it, or it aged out
		}
		failpoint.Hit(failpoint.R1)
		if run.Verb == verbReplay {
			stored, err := s.replay(item, letter)
			if err != nil {
				return done, err
			}
			if !stored {
				done.Kept++
				continue
			}
		}
		failpoint.Hit(failpoint.R2)
		if err := stream.DeleteMsg(item, sequence); err != nil {
			return done, err
		}
		failpoint.Hit(failpoint.R3)
		if run.Verb == verbReplay {
			done.Replayed++
		} else {
			done.Discarded++
		}
		bar.at(done.done(), done.Selected)
	}
	return done, nil
}

// report prints the counts, and is an error when something was left.
func report(c *invocation, done cleared) error {
	if c.json {
		if err := printJSON(c.env.Stdout, done); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(c.env.Stdout, "%d replayed, %d discarded\n", done.Replayed, done.Discarded)
	}
	switch {
	case done.Stopped:
		return plain("stopped; %d of %d dead letters are left", done.Selected-done.done(), done.Selected)
	case done.Kept > 0:
		return plain("%d dead letters were replayed %d times already; find out why, or discard them", done.Kept, maxReplays)
	default:
		return nil
	}
}

// replay publishes the original again where it came from: at the front, so that it passes every check again. It
// reports false for a message that was replayed too often.
func (s *session) replay(ctx context.Context, letter *jetstream.RawStreamMsg) (stored bool, err error) {
	replays, _ := strconv.Atoi(letter.Header.Get(headerReplays))
	if replays >= maxReplays {
		return false, nil
	}
	subject := letter.Header.Get(bus.HeaderDeadSubject)
	stream := streamOf(subject)
	if stream == "" {
		return false, nobodyReads(letter, subject)
	}
	header := nats.Header{}
	for name, values := range letter.Header {
		if !strings.HasPrefix(name, "Seatwire-") && !strings.HasPrefix(name, "Nats-") {
			header[name] = values
		}
	}
	header.Set(headerReplays, strconv.Itoa(max(replays, 0)+1))
	// The id follows from the dead letter: a run that a crash cut short here is absorbed by the broker if it is soon
	// repeated, and else by the stage.
	id := fmt.Sprintf("replay/%d/%d", letter.Sequence, letter.Time.UnixNano())
	_, err = s.publisher.PublishMsg(ctx, subject, id, header, letter.Data)
	if bus.IsKeyExists(err) {
		if err = s.makeRoom(ctx, stream, subject, letter.Header.Get(bus.HeaderDeadSequence)); err != nil {
			return false, err
		}
		_, err = s.publisher.PublishMsg(ctx, subject, id, header, letter.Data)
	}
	switch {
	case bus.IsKeyExists(err):
		return true, nil // an earlier replay of it is stored: there is nothing left to do
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		return false, nobodyReads(letter, subject)
	default:
		return err == nil, err
	}
}

// makeRoom removes the original where its subject is a key: a stage that gave up on it does not come back to it. What
// the leader does not have was replayed before; a replica that lags would say so of an original that is there.
func (s *session) makeRoom(ctx context.Context, stream, subject, sequence string) error {
	msg, err := streams.At(s.conn.JS()).Newest(ctx, stream, subject)
	if err != nil || msg == nil || strconv.FormatUint(msg.Sequence, 10) != sequence {
		return err
	}
	in, err := s.conn.JS().Stream(ctx, stream)
	if err != nil {
		return err
	}
	return in.DeleteMsg(ctx, msg.Sequence)
}

func streamOf(subject string) string {
	for _, f := range fronts {
		if events.Tokens(f.subject, subject) != nil {
			return f.stream
		}
	}
	return ""
}

func nobodyReads(letter *jetstream.RawStreamMsg, subject string) error {
	return plain("dead letter %d came from %s, which nothing reads any more; discard it", letter.Sequence, subject)
}
