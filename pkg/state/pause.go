package state

import (
	"context"
	"time"
)

// Pause is an operator's stop for everything that removes something at a vendor, for one connection.
type Pause struct {
	Paused bool      `json:"paused"`
	At     time.Time `json:"at"`
}

func pauseKey(connection string) string { return "pause." + connection }

// SetPaused stops removals for a connection or lets them go on.
func SetPaused(ctx context.Context, s *Store, connection string, paused bool, at time.Time) error {
	_, err := Modify(ctx, s, pauseKey(connection), func(p *Pause) error {
		*p = Pause{Paused: paused, At: at}
		return nil
	})
	return err
}

// Paused reports whether removals are stopped. When that cannot be read the answer is yes, with the error: a switch
// that cannot be read must not let a removal through.
func Paused(ctx context.Context, s *Store, connection string) (bool, error) {
	var p Pause
	if _, err := s.Get(ctx, pauseKey(connection), &p); err != nil {
		return true, err
	}
	return p.Paused, nil
}
