package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// What is no service of ours, in Result.CPU.
const (
	brokerName  = "broker"
	vendorsName = "vendors"
)

// Options of one measurement.
type Options struct {
	// People in all plans together.
	People int
	// Connections is how many plans they are in; 0 means 1.
	Connections int
	// Nodes of the broker: 1, or 3 that replicate everything; 0 means 1.
	Nodes int
	// Mode of the publisher.
	Mode string
	// Latency of every GraphQL call.
	Latency time.Duration
	// Bin is where make build put the programs.
	Bin string
	// SkipPlain leaves the peer out, where only memory is of interest.
	SkipPlain bool
}

// Result is one measurement.
type Result struct {
	Options
	Plain, First, Unchanged time.Duration
	GraphQLCalls            int
	ProductivCalls          int
	// Peak is MiB by service. CPU is processor time by service during both syncs, of brokerName and vendorsName too.
	Peak map[string]int
	CPU  map[string]time.Duration
}

// Run measures the peer, then the pipeline's first sync of an empty Productiv, then a sync that changes nothing.
func Run(ctx context.Context, o Options, out io.Writer) (Result, error) {
	r := Result{Options: o, Peak: map[string]int{}, CPU: map[string]time.Duration{}}
	if !o.SkipPlain {
		took, err := runPlain(ctx, o)
		if err != nil {
			return r, fmt.Errorf("plain program: %w", err)
		}
		r.Plain = took
	}
	if err := r.pipeline(ctx); err != nil {
		return r, fmt.Errorf("pipeline: %w", err)
	}
	r.print(out)
	return r, nil
}

func runPlain(ctx context.Context, o Options) (time.Duration, error) {
	return inWorld(ctx, o, func(w *world) (time.Duration, error) {
		c := w.connections[0]
		p := &plain{
			graphQL: w.psURL + "/graphql", key: key(c), token: token(c),
			productiv: w.pvURL + "/services/push/v1/customer/apps/" + app(c) + "/users",
		}
		began := time.Now()
		_, err := p.run(ctx)
		return time.Since(began), err
	})
}

func inWorld(ctx context.Context, o Options, body func(*world) (time.Duration, error)) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "seatwire-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(ctx, dir, o)
	if err != nil {
		return 0, err
	}
	defer w.close()
	return body(w)
}

func (r *Result) pipeline(ctx context.Context) error {
	_, err := inWorld(ctx, r.Options, func(w *world) (time.Duration, error) {
		file, err := w.config(r.Mode, "")
		if err != nil {
			return 0, err
		}
		var running []*service
		defer func() { stopAll(running) }()
		for _, name := range pipeline {
			s, err := start(ctx, r.Bin, name, file)
			if err != nil {
				return 0, err
			}
			running = append(running, s)
		}
		vendors, broker := cpu(os.Getpid()), cpu(w.broker.cmd.Process.Pid)
		if err := r.measure(ctx, w); err != nil {
			return 0, err
		}
		for _, s := range running {
			r.Peak[s.name], r.CPU[s.name] = s.peak(), cpu(s.cmd.Process.Pid)
		}
		r.CPU[vendorsName], r.CPU[brokerName] = cpu(os.Getpid())-vendors, cpu(w.broker.cmd.Process.Pid)-broker
		return 0, nil
	})
	return err
}

func (r *Result) measure(ctx context.Context, w *world) error {
	conn, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if r.First, err = w.sync(ctx, conn, events.OutcomePublished); err != nil {
		return err
	}
	r.GraphQLCalls, r.ProductivCalls = w.calls()
	r.Unchanged, err = w.sync(ctx, conn, events.OutcomeUnchanged)
	return err
}

// sync requests a sweep of every connection at once and times them to the last outcome.
func (w *world) sync(ctx context.Context, conn *bus.Conn, want string) (time.Duration, error) {
	consumer, err := conn.ConsumeJS().OrderedConsumer(ctx, streams.Outcomes, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.RosterPublishedSubject + ".*"}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return 0, err
	}
	answers, err := consumer.Messages()
	if err != nil {
		return 0, err
	}
	defer answers.Stop()
	id := rand.Text()
	publisher := bus.NewPublisher(conn)
	began := time.Now()
	for _, c := range w.connections {
		header, body := events.Event{ID: id, Source: "bench", Type: events.SyncRequestedType, Time: began, Data: []byte("{}")}.Encode()
		subject := events.Subject(events.SyncRequestedSubject, c)
		if _, err := publisher.PublishMsg(ctx, subject, subject+id, header, body); err != nil {
			return 0, err
		}
	}
	for waiting := len(w.connections); waiting > 0; {
		msg, err := answers.Next(jetstream.NextContext(ctx))
		if err != nil {
			return 0, err
		}
		var o events.RosterPublished
		event, err := events.Read(msg.Headers(), msg.Data())
		if err != nil || json.Unmarshal(event.Data, &o) != nil || o.RequestID != id {
			continue
		}
		if o.Outcome != want {
			return 0, fmt.Errorf("the outcome is %s (%s), not %s", o.Outcome, o.Reason, want)
		}
		waiting--
	}
	return time.Since(began), nil
}

func (r *Result) print(out io.Writer) {
	fmt.Fprintf(out, "%d people, %s, %s latency\n", r.People, r.Mode, r.Latency)
	if r.Plain > 0 {
		fmt.Fprintf(out, "  plain program   %8.2fs\n", r.Plain.Seconds())
		fmt.Fprintf(out, "  first sync      %8.2fs   rate %.2f of the plain program's\n", r.First.Seconds(), r.Plain.Seconds()/r.First.Seconds())
	} else {
		fmt.Fprintf(out, "  first sync      %8.2fs\n", r.First.Seconds())
	}
	fmt.Fprintf(out, "  unchanged sync  %8.2fs\n", r.Unchanged.Seconds())
	fmt.Fprintf(out, "  calls           %d GraphQL (minimum %d), %d Productiv (minimum %d)\n",
		r.GraphQLCalls, 2+(r.People+99)/100, r.ProductivCalls, (r.People+999)/1000)
	for _, name := range pipeline {
		fmt.Fprintf(out, "  %-20s %4d MiB at its peak, %6.2fs processor time\n", name, r.Peak[name], r.CPU[name].Seconds())
	}
	for _, name := range []string{brokerName, vendorsName} {
		fmt.Fprintf(out, "  %-20s                      %6.2fs processor time\n", name, r.CPU[name].Seconds())
	}
}
