package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Options of one measurement.
type Options struct {
	// People in the plan.
	People int
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
	// Peak is MiB by service. CPU is processor time by service during both syncs; "" is this process: the vendors
	// and the broker.
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
	return inWorld(o, func(w *world) (time.Duration, error) {
		p := &plain{
			graphQL: w.psURL + "/graphql", key: benchKey, token: benchToken,
			productiv: w.pvURL + "/services/push/v1/customer/apps/" + benchApp + "/users",
		}
		began := time.Now()
		_, err := p.run(ctx)
		return time.Since(began), err
	})
}

func inWorld(o Options, body func(*world) (time.Duration, error)) (time.Duration, error) {
	dir, err := os.MkdirTemp("", "seatwire-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	w, err := newWorld(dir, o)
	if err != nil {
		return 0, err
	}
	defer w.close()
	return body(w)
}

func (r *Result) pipeline(ctx context.Context) error {
	_, err := inWorld(r.Options, func(w *world) (time.Duration, error) {
		file, err := w.config(r.Mode, "")
		if err != nil {
			return 0, err
		}
		var running []*service
		defer func() {
			for _, s := range running {
				s.stop()
			}
		}()
		for _, name := range pipeline {
			s, err := start(ctx, r.Bin, name, file)
			if err != nil {
				return 0, err
			}
			running = append(running, s)
		}
		own := cpu(os.Getpid())
		if err := r.measure(ctx, w); err != nil {
			return 0, err
		}
		for _, s := range running {
			r.Peak[s.name], r.CPU[s.name] = s.peak(), cpu(s.cmd.Process.Pid)
		}
		r.CPU[""] = cpu(os.Getpid()) - own
		return 0, nil
	})
	return err
}

func (r *Result) measure(ctx context.Context, w *world) (err error) {
	conn, err := bus.Connect(ctx, bus.Options{URL: w.nats.ClientURL(), Name: "bench"}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer conn.Close()
	if r.First, err = sync(ctx, conn, events.OutcomePublished); err != nil {
		return err
	}
	r.GraphQLCalls, r.ProductivCalls = w.calls()
	r.Unchanged, err = sync(ctx, conn, events.OutcomeUnchanged)
	return err
}

// sync requests a sweep and times it to its outcome.
func sync(ctx context.Context, conn *bus.Conn, want string) (time.Duration, error) {
	consumer, err := conn.ConsumeJS().OrderedConsumer(ctx, streams.Outcomes, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.Subject(events.RosterPublishedSubject, benchConnection)}, DeliverPolicy: jetstream.DeliverNewPolicy,
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
	header, body := events.Event{ID: id, Source: "bench", Type: events.SyncRequestedType, Time: time.Now(), Data: []byte("{}")}.Encode()
	began := time.Now()
	if _, err := bus.NewPublisher(conn).PublishMsg(ctx, events.Subject(events.SyncRequestedSubject, benchConnection), id, header, body); err != nil {
		return 0, err
	}
	for {
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
		return time.Since(began), nil
	}
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
	fmt.Fprintf(out, "  %-20s                      %6.2fs processor time\n", "vendors and broker", r.CPU[""].Seconds())
}
