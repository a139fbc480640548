package bench

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// vendorLatency is what a call to either vendor takes in the second sync of a scale.
	vendorLatency = 120 * time.Millisecond
	// scaleSingles are events sent one after another.
	scaleSingles = 10
)

// Size is how large each measurement of Scale is: the same work in all of them, however it is divided.
type Size struct {
	Bin            string
	People, Events int
	// Setups are the rows, the one to compare with first.
	Setups []Setup
}

// Setup is how many nodes the broker has, how many connections share the work, and how many replicas of each service.
type Setup struct{ Nodes, Connections, Replicas int }

// ParseSetups reads nodes/connections/replicas, by commas; of nothing it makes every combination that the scaling table has.
func ParseSetups(text string) (setups []Setup, err error) {
	if text == "" {
		for _, nodes := range []int{1, 3} {
			for _, connections := range []int{1, 10, 100} {
				for _, replicas := range []int{1, 2, 4} {
					setups = append(setups, Setup{nodes, connections, replicas})
				}
			}
		}
		return setups, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		var s Setup
		if _, err := fmt.Sscanf(part, "%d/%d/%d", &s.Nodes, &s.Connections, &s.Replicas); err != nil {
			return nil, fmt.Errorf("%q is not nodes/connections/replicas", part)
		}
		setups = append(setups, s)
	}
	return setups, nil
}

// row is what was measured of one setup.
type row struct {
	Setup
	ready time.Duration
	// idle is messages/s that the broker gets while nothing happens.
	idle float64
	// fresh and slow are people/s: of a first sync without latency, and of one that changes nothing with vendorLatency.
	fresh, slow float64
	// accepted and answered are events/s: in the ledger, and with the outcome of their dry run.
	accepted, answered float64
	// median is from an event that comes alone to the outcome of its dry run, beyond the batching window.
	median time.Duration
	// busiest is the part of the fetchers' work that one of them did.
	busiest float64
	// complaints are warnings and errors in the programs' logs: a rate with failures in it is none.
	complaints map[string]int
	// sync and events are what these cost the broker.
	sync, events cost
}

// Scale measures one amount of work in every setup, and prints each row's rates as ratios to the first row of the run.
func Scale(ctx context.Context, size Size, out io.Writer) error {
	fmt.Fprintf(out, "%d people and %d events in every row, sync_interval always; rates are relative to the first row\n", size.People, size.Events)
	fmt.Fprintf(out, "nodes conns replicas   ready   sync  at %s   accepted  answered   one event  idle msgs/s  busiest fetcher\n", vendorLatency)
	var base *row
	for _, s := range size.Setups {
		r := row{Setup: s}
		if err := r.measure(ctx, size); err != nil {
			return fmt.Errorf("%+v: %w", s, err)
		}
		if base == nil {
			base = &r
			fmt.Fprintf(out, "the first row is %.0f people/s, %.0f people/s, %.0f events/s and %.0f events/s\n",
				r.fresh, r.slow, r.accepted, r.answered)
		}
		r.print(out, *base)
		if s.Replicas == 1 {
			r.printCosts(out, size)
		}
		for _, what := range slices.Sorted(maps.Keys(r.complaints)) {
			fmt.Fprintf(out, "      %d x %s\n", r.complaints[what], what)
		}
	}
	return nil
}

func (r *row) print(out io.Writer, base row) {
	fmt.Fprintf(out, "%5d %5d %8d %6.1fs %6.2f %9.2f %10.2f %9.2f %11s %12.0f %15.0f%%\n", r.Nodes, r.Connections, r.Replicas, r.ready.Seconds(),
		r.fresh/base.fresh, r.slow/base.slow, r.accepted/base.accepted, r.answered/base.answered, r.median, r.idle, 100*r.busiest)
}

// printCosts says what the row's work cost the broker.
func (r *row) printCosts(out io.Writer, size Size) {
	fmt.Fprintf(out, "      broker: %d streams, %d consumers, %d subjects\n        %s\n        %s\n", r.events.streams, r.events.consumers, r.events.subjects,
		r.sync.per(size.People, "people"), r.events.per(size.Events, "events"))
}

func (r *row) measure(ctx context.Context, size Size) error {
	_, err := inWorld(ctx, Options{People: size.People, Connections: r.Connections, Nodes: r.Nodes}, func(w *world) (time.Duration, error) {
		return 0, r.inWorld(ctx, w, size)
	})
	return err
}

func (r *row) inWorld(ctx context.Context, w *world, size Size) error {
	file, err := w.config("reconcile", dryRuns)
	if err != nil {
		return err
	}
	began := time.Now()
	running, err := startAll(ctx, size.Bin, file, r.Replicas)
	defer stopAll(running)
	if err != nil {
		return err
	}
	r.ready = time.Since(began)
	if r.Replicas > 1 && r.Connections > 1 { // from now on chance decides whose turn it is, and no longer who started first
		if r.idle, err = w.wait(ctx); err != nil {
			return err
		}
	}
	conn, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := r.syncs(ctx, w, conn, size); err != nil {
		return err
	}
	r.busiest = busiest(running, "fetcher")
	defer func() { r.complaints = complaints(running) }()
	return r.leavers(ctx, w, conn, size)
}

// busiest is what part of a service's processor time its busiest replica used.
func busiest(running []*service, name string) float64 {
	var most, all time.Duration
	for _, s := range running {
		if s.name == name {
			used := cpu(s.cmd.Process.Pid)
			most, all = max(most, used), all+used
		}
	}
	return most.Seconds() / all.Seconds()
}

// syncs measures a first sync as fast as it goes, and then one of vendors that take their time.
func (r *row) syncs(ctx context.Context, w *world, conn *bus.Conn, size Size) error {
	before, err := measureCost(ctx, w, conn)
	if err != nil {
		return err
	}
	took, err := w.sync(ctx, conn, events.OutcomePublished)
	if err != nil {
		return err
	}
	r.fresh = float64(size.People) / took.Seconds()
	after, err := measureCost(ctx, w, conn)
	if err != nil {
		return err
	}
	r.sync = after.since(before)
	if err := w.slow(vendorLatency); err != nil {
		return err
	}
	if took, err = w.sync(ctx, conn, events.OutcomeUnchanged); err != nil {
		return err
	}
	r.slow = float64(size.People) / took.Seconds()
	return w.slow(0)
}

// leavers measures many events at once, and then some that come alone.
func (r *row) leavers(ctx context.Context, w *world, conn *bus.Conn, size Size) error {
	before, err := measureCost(ctx, w, conn)
	if err != nil {
		return err
	}
	settled, err := w.settled(ctx, conn)
	if err != nil {
		return err
	}
	defer settled.Stop()
	began := time.Now()
	took, err := w.accept(ctx, conn, size.Events)
	if err != nil {
		return err
	}
	r.accepted = float64(size.Events) / took.Seconds()
	for range size.Events {
		if _, err := settled.Next(jetstream.NextContext(ctx)); err != nil {
			return err
		}
	}
	r.answered = float64(size.Events) / time.Since(began).Seconds()
	after, err := measureCost(ctx, w, conn)
	if err != nil {
		return err
	}
	r.events = after.since(before)
	alone, err := w.eachAlone(ctx, conn, size.Events/len(w.connections), scaleSingles)
	if err == nil {
		r.median = percentile(alone, 50)
	}
	return err
}

// settled is everything that settles from now on.
func (w *world) settled(ctx context.Context, conn *bus.Conn) (jetstream.MessagesContext, error) {
	consumer, err := conn.ConsumeJS().OrderedConsumer(ctx, streams.Outcomes, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.DeprovisionSettledSubject + ".*.*"}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages()
}
