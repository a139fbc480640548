package bench

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// gathering leaves every request open: no batch is full or old enough.
const gathering = "    deprovision: {apply: dry-run, batchMaxUsers: 1000000, batchMaxAge: 24h}"

// TakeOver measures how long a deprovisioner takes from its start until it tells of an event, on a ledger with n open
// requests, which it reads first, beside one with a single one. The lease is free: after a crash it adds its ten seconds.
func TakeOver(ctx context.Context, o Options, n int, out io.Writer) error {
	o.People = n + 1
	var took [2]time.Duration
	for i, open := range []int{1, n} {
		var err error
		took[i], err = inWorld(ctx, o, func(w *world) (time.Duration, error) { return w.takeOver(ctx, o.Bin, open) })
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "a deprovisioner's start until it tells of an event, with 1 open request %.2fs\n  with %d %.2fs   %.1f of it, %s a request\n",
		took[0].Seconds(), n, took[1].Seconds(), took[1].Seconds()/took[0].Seconds(), ((took[1] - took[0]) / time.Duration(n)).Round(time.Microsecond))
	return nil
}

func (w *world) takeOver(ctx context.Context, bin string, open int) (time.Duration, error) {
	file, err := w.config("reconcile", gathering)
	if err != nil {
		return 0, err
	}
	conn, err := w.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	first, err := start(ctx, bin, "deprovisioner", file)
	if err != nil {
		return 0, err
	}
	_, err = w.accept(ctx, conn, open)
	first.stop()
	if err != nil {
		return 0, err
	}
	c := w.connections[0]
	late, err := w.pluralsight.People(c, open, 1)
	if err != nil {
		return 0, err
	}
	var second *service
	times, err := timeEach(ctx, conn, streams.Outcomes, events.Subject(events.DeprovisionProgressedSubject, c, "late"), late, func(_ int, p pluralsightsim.Person) error {
		err := publishLeaver(ctx, bus.NewPublisher(conn), events.Subject(events.DeprovisionRequestedSubject, c, "late"), "late", p)
		if err == nil {
			second, err = start(ctx, bin, "deprovisioner", file)
		}
		return err
	})
	if second != nil {
		second.stop()
	}
	if err != nil {
		return 0, err
	}
	return times[0], nil
}
