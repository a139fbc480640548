package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	dryRuns     = "    deprovision: {apply: dry-run, batchMaxAge: 200ms}"
	// latencyEvents are sent one after another, each when the one before was dry-run.
	latencyEvents = 60
)

// Intake measures how fast the deprovisioner makes events its own, on a broker that writes through to its disk, beside
// what that broker stores of the same events with nobody behind it; and how long one event takes to its dry run beyond
// the batching window, beside a message through a bare consumer.
func Intake(ctx context.Context, o Options, n int, out io.Writer) error {
	o.People = n + latencyEvents
	_, err := inWorld(ctx, o, func(w *world) (time.Duration, error) {
		return 0, w.intake(ctx, o.Bin, n, out)
	})
	return err
}

func (w *world) intake(ctx context.Context, bin string, n int, out io.Writer) error {
	file, err := w.config("reconcile", dryRuns)
	if err != nil {
		return err
	}
	conn, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.JS().CreateStream(ctx, jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare.*"}, Replicas: w.broker.Nodes})
	if err != nil {
		return err
	}
	bare, err := w.publishAll(ctx, conn, func(string) string { return "bare.events" }, n)
	if err != nil {
		return err
	}
	s, err := start(ctx, bin, "deprovisioner", file)
	if err != nil {
		return err
	}
	defer s.stop()
	took, err := w.accept(ctx, conn, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d events, 64 publishers, sync_interval always\n  bare JetStream stores   %8.0f events/s\n  durably accepted        %8.0f events/s   %.2f of it\n",
		n, float64(n)/bare.Seconds(), float64(n)/took.Seconds(), bare.Seconds()/took.Seconds())
	return w.eventLatency(ctx, conn, n, out)
}

// accept times n leaver events from the first one's publish until the ledger has them all.
func (w *world) accept(ctx context.Context, conn *bus.Conn, n int) (time.Duration, error) {
	began := time.Now()
	if _, err := w.publishAll(ctx, conn, func(c string) string { return events.Subject(events.DeprovisionRequestedSubject, c, "hr") }, n); err != nil {
		return 0, err
	}
	for accepted := 0; accepted < n; {
		var err error
		if accepted, err = streams.Count(ctx, conn.JS(), streams.Ledger, deprovision.RequestSubject("*", "*")); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// publishAll publishes n leaver events: of each connection as many, of its first people.
func (w *world) publishAll(ctx context.Context, conn *bus.Conn, subjectOf func(connection string) string, n int) (time.Duration, error) {
	people := map[string][]pluralsightsim.Person{}
	for _, c := range w.connections {
		var err error
		if people[c], err = w.pluralsight.People(c, 0, n/len(w.connections)); err != nil {
			return 0, err
		}
	}
	publisher, group := bus.NewPublisher(conn), errgroup.Group{}
	group.SetLimit(publishers)
	began := time.Now()
	for i := range n / len(w.connections) {
		for _, c := range w.connections {
			group.Go(func() error { return publishLeaver(ctx, publisher, subjectOf(c), fmt.Sprintf("e-%d", i), people[c][i]) })
		}
	}
	err := group.Wait()
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
	ours, err := w.eachAlone(ctx, conn, skip, latencyEvents)
	if err != nil {
		return err
	}
	people, err := w.pluralsight.People(w.connections[0], skip, latencyEvents)
	if err != nil {
		return err
	}
	publisher := bus.NewPublisher(conn)
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

// eachAlone publishes n leaver events for people of the first connection, each when the one before has its outcome, and
// returns what each waited for it beyond the batching window.
func (w *world) eachAlone(ctx context.Context, conn *bus.Conn, skip, n int) ([]time.Duration, error) {
	c := w.connections[0]
	people, err := w.pluralsight.People(c, skip, n)
	if err != nil {
		return nil, err
	}
	publisher := bus.NewPublisher(conn)
	settled := events.Subject(events.DeprovisionSettledSubject, c, "late")
	times, err := timeEach(ctx, conn, streams.Outcomes, settled, people, func(i int, p pluralsightsim.Person) error {
		return publishLeaver(ctx, publisher, events.Subject(events.DeprovisionRequestedSubject, c, "late"), fmt.Sprintf("late-%d", i), p)
	})
	for i := range times {
		times[i] -= batchWindow
	}
	return times, err
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
