package seatwire

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// CommandSource is the CloudEvents source of what this command line publishes.
const CommandSource = "seatwire/cli"

// lookEvery is how often a waiting command looks at how far a sweep has come.
const lookEvery = 250 * time.Millisecond

func sync(ctx context.Context, c *invocation) error {
	wait := false
	return withSession(ctx, c, func(fs *flag.FlagSet) { fs.BoolVar(&wait, "wait", false, "") }, onConnection(func(s *session, name string) error {
		return requestSync(ctx, c, s, name, wait)
	}))
}

func requestSync(ctx context.Context, c *invocation, s *session, name string, wait bool) error {
	id := rand.Text()
	outcomes, err := s.listen(ctx, streams.Outcomes, events.Subject(events.RosterPublishedSubject, name))
	if err != nil {
		return err
	}
	defer outcomes.Stop()
	header, body := events.Event{
		ID: id, Source: CommandSource, Type: events.SyncRequestedType, Time: time.Now().UTC(), Data: []byte(`{"reason":"seatwire sync"}`),
	}.Encode()
	if _, err := s.publisher.PublishMsg(ctx, events.Subject(events.SyncRequestedSubject, name), id, header, body); err != nil {
		return err
	}
	if !wait {
		if c.json {
			return printJSON(c.env.Stdout, map[string]string{"connection": name, "requestId": id})
		}
		_, err := fmt.Fprintf(c.env.Stdout, "sweep of %s requested as %s\n", name, id)
		return err
	}
	outcome, err := s.await(ctx, c, name, id, outcomes)
	if err != nil {
		return err
	}
	return printOutcome(c, name, outcome)
}

// listen delivers what a subject gets from now on.
func (s *session) listen(ctx context.Context, stream, subject string) (jetstream.MessagesContext, error) {
	consumer, err := s.conn.ConsumeJS().OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages()
}

// await shows progress until the request's own answer comes.
func (s *session) await(ctx context.Context, c *invocation, name, id string, outcomes jetstream.MessagesContext) (events.RosterPublished, error) {
	answer := make(chan events.RosterPublished, 1)
	go func() {
		for {
			msg, err := outcomes.Next()
			if err != nil {
				return // stopped, with the command
			}
			event, err := events.Read(msg.Headers(), msg.Data())
			var outcome events.RosterPublished
			if err == nil && json.Unmarshal(event.Data, &outcome) == nil && outcome.RequestID == id {
				answer <- outcome
				return
			}
		}
	}()
	bar := newProgress(c, name, "people read")
	defer bar.done()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return events.RosterPublished{}, plain("stopped waiting; the sweep goes on, and seatwire publications list will show it")
		case outcome := <-answer:
			return outcome, nil
		case <-tick.C:
			var sweep roster.Sweep
			if _, err := s.state.Get(ctx, roster.SweepKey(name), &sweep); err == nil {
				bar.show(sweep)
			}
		}
	}
}

func printOutcome(c *invocation, name string, o events.RosterPublished) error {
	if c.json {
		if err := printJSON(c.env.Stdout, o); err != nil {
			return err
		}
	} else {
		n := o.Counts
		fmt.Fprintf(c.env.Stdout, "%s: %s", name, o.Outcome)
		if o.Reason != "" {
			fmt.Fprintf(c.env.Stdout, " (%s)", o.Reason)
		}
		fmt.Fprintf(c.env.Stdout, "\n%d people read: %d active, %d removed, %d excluded, %d rejected; %d admins\nProductiv was told: %d added, %d changed, %d deleted\n",
			n.Fetched, n.Active, n.Removed, n.Excluded, n.Rejected, n.Admins, n.Added, n.Changed, n.Deleted)
		if o.Outcome == events.OutcomeHeld {
			fmt.Fprintf(c.env.Stdout, "decide with: seatwire publications release|decline %s %s --by NAME\n", name, o.SweepID)
		}
	}
	if o.Outcome != events.OutcomePublished && o.Outcome != events.OutcomeUnchanged {
		return errAnswerIsNo
	}
	return nil
}
