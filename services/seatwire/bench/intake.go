package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

const (
	// publishers is how many events are on their way to the broker at once.
	publishers = 64
	// batchWindow is the connection's batchMaxAge; what an event waits beyond it is ours.
	batchWindow = 200 * time.Millisecond
	// latencyEvents are sent one after another, each when the one before was dry-run.
	latencyEvents = 60
)

// Intake measures how fast the deprovisioner makes events its own, on a broker that writes through to its disk, beside
// what that broker stores of the same events with nobody behind it; and how long one event takes to its dry run beyond
// the batching window, beside a message through a bare consumer.
func Intake(ctx context.Context, bin string, n int, out io.Writer) error {
	_, err := inWorld(Options{People: n + latencyEvents}, func(w *world) (time.Duration, error) {
		return 0, w.intake(ctx, bin, n, out)
	})
	return err
}

func (w *world) intake(ctx context.Context, bin string, n int, out io.Writer) error {
	file, err := w.config("reconcile", "    deprovision: {apply: dry-run, batchMaxAge: "+batchWindow.String()+"}")
	if err != nil {
		return err
	}
	conn, err := bus.Connect(ctx, bus.Options{URL: w.nats.ClientURL(), Name: "bench"}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.JS().CreateStream(ctx, jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare.*"}})
	if err != nil {
		return err
	}
	bare, err := w.publishAll(ctx, conn, "bare.events", n)
	if err != nil {
		return err
	}
	s, err := start(ctx, bin, "deprovisioner", file)
	if err != nil {
		return err
	}
	defer s.stop()
	began := time.Now()
	if _, err := w.publishAll(ctx, conn, events.Subject(events.DeprovisionRequestedSubject, benchConnection, "hr"), n); err != nil {
		return err
	}
	for accepted := 0; accepted < n; {
		accepted, err = streams.Count(ctx, conn.JS(), streams.Ledger, deprovision.RequestSubject(benchConnection, "*"))
		if err != nil {
			return err
		}
	}
	took := time.Since(began)
	fmt.Fprintf(out, "%d events, 64 publishers, sync_interval always\n  bare JetStream stores   %8.0f events/s\n  durably accepted        %8.0f events/s   %.2f of it\n",
		n, float64(n)/bare.Seconds(), float64(n)/took.Seconds(), bare.Seconds()/took.Seconds())
	return w.eventLatency(ctx, conn, n, out)
}

// publishAll publishes one leaver event for each of the first n people.
func (w *world) publishAll(ctx context.Context, conn *bus.Conn, subject string, n int) (time.Duration, error) {
	people, err := w.pluralsight.People(benchConnection, 0, n)
	if err != nil {
		return 0, err
	}
	publisher, group := bus.NewPublisher(conn), errgroup.Group{}
	group.SetLimit(publishers)
	began := time.Now()
	for i, p := range people {
		group.Go(func() error { return publishLeaver(ctx, publisher, subject, fmt.Sprintf("e-%d", i), p) })
	}
	err = group.Wait()
	return time.Since(began), err
}

func publishLeaver(ctx context.Context, publisher *bus.Publisher, subject, id string, p pluralsightsim.Person) error {
	data, err := json.Marshal(events.DeprovisionRequested{PsUserID: p.PsUserID, Email: p.Email, Reason: "bench"})
	if err != nil {
		return err
	}
	header, body := events.Event{ID: id, Source: "bench", Type: events.DeprovisionRequestedType, Time: time.Now(), Data: data}.Encode()
	_, err = publisher.PublishMsg(ctx, subject, subject+id, header, body)
	return err
}

// eventLatency times single events from their publish to the outcome that follows their dry run.
func (w *world) eventLatency(ctx context.Context, conn *bus.Conn, skip int, out io.Writer) error {
	people, err := w.pluralsight.People(benchConnection, skip, latencyEvents)
	if err != nil {
		return err
	}
	publisher := bus.NewPublisher(conn)
	settled := events.Subject(events.DeprovisionSettledSubject, benchConnection, "late")
	ours, err := timeEach(ctx, conn, streams.Outcomes, settled, people, func(i int, p pluralsightsim.Person) error {
		return publishLeaver(ctx, publisher, events.Subject(events.DeprovisionRequestedSubject, benchConnection, "late"), fmt.Sprintf("late-%d", i), p)
	})
	if err != nil {
		return err
	}
	for i := range ours {
		ours[i] -= batchWindow
	}
	bare, err := timeEach(ctx, conn, "BARE", "bare.late", people, func(i int, p pluralsightsim.Person) error {
		return publishLeaver(ctx, publisher, "bare.late", fmt.Sprintf("late-%d", i), p)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "from event to the outcome of its dry run, beyond the batching window of %s\n  median %s, p99 %s   (a bare message to its consumer: median %s, p99 %s)\n",
		batchWindow, percentile(ours, 50), percentile(ours, 99), percentile(bare, 50), percentile(bare, 99))
	return nil
}

// timeEach publishes for one person after another and times each until the subject has a new message.
func timeEach(ctx context.Context, conn *bus.Conn, stream, subject string, people []pluralsightsim.Person, publish func(int, pluralsightsim.Person) error) ([]time.Duration, error) {
	consumer, err := conn.ConsumeJS().OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return nil, err
	}
	answers, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer answers.Stop()
	var times []time.Duration
	for i, p := range people {
		began := time.Now()
		if err := publish(i, p); err != nil {
			return nil, err
		}
		if _, err := answers.Next(jetstream.NextContext(ctx)); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}

func percentile(times []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)].Round(100 * time.Microsecond)
}
