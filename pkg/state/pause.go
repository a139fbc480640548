package state

import (
	"context"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
)

// Pause is an operator's stop for everything that removes something at a vendor, for one connection.
type Pause struct {
	Paused bool      `json:"paused"`
	At     time.Time `json:"at"`
}

func pauseKey(connection string) string { return "pause." + connection }

// SetPaused stops removals for a connection or lets them go on, whatever lies under the key.
func SetPaused(ctx context.Context, s *Store, connection string, paused bool, at time.Time) error {
	return s.set(ctx, pauseKey(connection), Pause{Paused: paused, At: at})
}

// Paused reports whether removals are stopped. When that cannot be read the answer is yes, with the error: a switch
// that cannot be read must not let a removal through.
func Paused(ctx context.Context, s *Store, connection string) (bool, error) {
	var p Pause
	revision, err := s.Get(ctx, pauseKey(connection), &p)
	if err == nil && revision > 0 && p.At.IsZero() {
		err = fault.New(fault.Permanent, "state-corrupt", "key %s was not written by seatwire pause or resume; run one of them", pauseKey(connection))
	}
	return err != nil || p.Paused, err
}
