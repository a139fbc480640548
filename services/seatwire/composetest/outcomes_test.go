package composetest

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// outcomes is how the test binary runs in a container, for NATS is not to be reached from outside.
var outcomes = flag.Bool("outcomes", false, "only count the outcome events on NATS, as JSON")

func TestMain(m *testing.M) {
	flag.Parse()
	if !*outcomes {
		m.Run() // its result is the exit code once this returns
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	told, err := readOutcomes(ctx)
	if err != nil {
		fmt.Println(err) // the parent expects JSON and reports anything else
		return
	}
	_ = json.NewEncoder(os.Stdout).Encode(told) // to a pipe that the parent reads
}

// readOutcomes counts the settled events of each request.
func readOutcomes(ctx context.Context) (map[string]int, error) {
	conn, err := bus.Connect(ctx, bus.Options{
		URL: "tls://nats-1:4222,tls://nats-2:4222,tls://nats-3:4222", Credentials: "/run/secrets/nats", CA: "/run/secrets/nats-ca", Name: streams.Operator,
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	consumer, err := conn.ConsumeJS().OrderedConsumer(ctx, streams.Outcomes, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{events.DeprovisionSettledSubject + ".*.*"},
	})
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, err
	}
	defer messages.Stop()
	told := map[string]int{}
	for pending := consumer.CachedInfo().NumPending; pending > 0; {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return nil, err
		}
		event, err := events.Read(msg.Headers(), msg.Data())
		var settled events.DeprovisionSettled
		if err := errors.Join(err, json.Unmarshal(event.Data, &settled)); err != nil {
			return nil, err
		}
		told[settled.RequestSource+" "+settled.RequestID]++
		meta, err := msg.Metadata()
		if err != nil {
			return nil, err
		}
		pending = meta.NumPending
	}
	return told, nil
}
