package state

import (
	"context"
	"encoding/json"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
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
func Paused(ctx context.Context, l Leader, connection string) (bool, error) {
	key := pauseKey(connection)
	msg, err := l.Newest(ctx, streams.StateStream, streams.StateSubject(key))
	if err != nil || msg == nil {
		return err != nil, err
	}
	var p Pause
	if json.Unmarshal(msg.Data, &p) != nil || p.At.IsZero() {
		return true, fault.New(fault.Permanent, "state-corrupt", "key %s was not written by seatwire pause or resume; run one of them", key)
	}
	return p.Paused, nil
}
