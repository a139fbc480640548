package fetcher

import (
	"context"
	"fmt"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
)

// ScheduleSource is the CloudEvents source of scheduled requests.
const ScheduleSource = "seatwire/schedule"

// lookAgain bounds how long the schedule sleeps: a sweep by request moves the next slot.
const lookAgain = 30 * time.Second

// schedule requests sweeps as they fall due. Every replica does; they agree on the slot's id, so intake keeps one.
func (f *Fetcher) schedule(ctx context.Context, c config.Connection) error {
	for {
		wait := min(lookAgain, c.Sync.Every)
		if slot, left, err := f.slot(ctx, c); err != nil {
			f.deps.Log.WarnContext(ctx, "schedule cannot read the last sweep", "connection", c.Name, "error", fault.Text(err))
		} else if slot == "" {
			wait = min(wait, left)
		} else if err := f.request(ctx, c.Name, slot); err != nil {
			f.deps.Log.WarnContext(ctx, "scheduled sweep not requested yet", "connection", c.Name, "error", fault.Text(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (f *Fetcher) slot(ctx context.Context, c config.Connection) (id string, left time.Duration, err error) {
	var last roster.Sweep
	if _, err := f.deps.State.Get(ctx, roster.SweepKey(c.Name), &last); err != nil {
		return "", 0, err
	}
	id, left = Slot(last.Started, c.Sync.Every, f.deps.Now())
	return id, left, nil
}

// Slot names the slot that is due at now, or "" and the time left until one is. Slots follow the last sweep, whatever
// asked for it and however it ended, at multiples of every; so all replicas name the same slot, and a slot whose
// request was lost is followed by another. Without a last sweep the first slot is due at once.
func Slot(last time.Time, every time.Duration, now time.Time) (id string, left time.Duration) {
	if last.IsZero() {
		return fmt.Sprintf("first-%d", now.UnixNano()/int64(every)), 0
	}
	passed := now.Sub(last) / every
	if passed < 1 {
		return "", last.Add(every).Sub(now)
	}
	return last.Add(passed * every).UTC().Format("20060102T150405.000Z"), 0
}

func (f *Fetcher) request(ctx context.Context, connection, slot string) error {
	header, body := events.Event{
		ID: slot, Source: ScheduleSource, Type: events.SyncRequestedType,
		// The time is left out of a slot's event: replicas that ask for one slot must say the same.
		Data: []byte(`{"reason":"schedule"}`),
	}.Encode()
	subject := events.Subject(events.SyncRequestedSubject, connection)
	_, err := f.deps.Publisher.PublishMsg(ctx, subject, subject+"."+slot, header, body)
	return err
}
