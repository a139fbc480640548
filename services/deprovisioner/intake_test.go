package deprovisioner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
)

// eventOf is an event as another system publishes it, in binary mode.
func eventOf(id string, at time.Time) bus.Delivery {
	return bus.Delivery{Subject: "seatwire.v1.deprovision.requested.acme.hr", Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {id}, "ce-source": {"/hr"}, "ce-type": {events.DeprovisionRequestedType},
		"ce-time": {at.UTC().Format(time.RFC3339)},
	}}
}

func testIntake(now func() time.Time) *intake {
	c := config.DefaultConnection("acme")
	c.Deprovision.Protect = []string{"boss@*"}
	i := newIntake(nil, map[string]rules{"acme": rulesFor(c, config.Default().Retry)}, newMetrics(nil), now)
	i.turn <- struct{}{} // another handler commits: the test
	return i
}

// TestIntakeAnswersAfterTheLedger: returning nil acknowledges the event, so it must not happen before the ledger has it.
func TestIntakeAnswersAfterTheLedger(t *testing.T) {
	t.Parallel()
	const body = `{"email":"ada@corp.example"}`
	unwritable := errors.New("the ledger took nothing")
	for name, want := range map[string]error{"durable": nil, "not durable": unwritable} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, answer := testIntake(time.Now), make(chan error, 1)
				go func() { answer <- i.handle(t.Context(), eventOf("1", time.Now()), []byte(body)) }()
				synctest.Wait()
				entry := <-i.queue
				synctest.Wait()
				select {
				case err := <-answer:
					t.Fatalf("answered %v before the ledger was asked", err)
				default:
				}
				entry.done <- want
				if err := <-answer; !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			})
		})
	}
}

// A stop in the middle is no answer: the event comes back.
func TestIntakeStopIsNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i, answer := testIntake(time.Now), make(chan error, 1)
		ctx, stop := context.WithCancel(t.Context())
		go func() { answer <- i.handle(ctx, eventOf("1", time.Now()), []byte("{}")) }()
		synctest.Wait()
		stop()
		if err := <-answer; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// TestReplayedEventPassesEveryCheck: a dead letter that is replayed is an event like any other.
func TestReplayedEventPassesEveryCheck(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	i := testIntake(func() time.Time { return now })
	for name, c := range map[string]struct {
		body string
		age  time.Duration
		want string
	}{
		"good": {`{"email":"ada@corp.example"}`, time.Hour, ""}, "stale": {`{"email":"ada@corp.example"}`, 1000 * time.Hour, deprovision.ReasonStale},
		"protected": {`{"email":"boss@corp.example"}`, time.Hour, deprovision.ReasonProtected},
	} {
		d := eventOf(name, now.Add(-c.age))
		d.Header.Set("Seatwire-Replays", "1")
		entry, err := i.read(d, []byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if r := entry.document.(deprovision.Request); r.OutcomeReason != c.want || r.Open() != (c.want == "") {
			t.Errorf("%s: %s %s", name, r.Outcome, r.OutcomeReason)
		}
	}
}
