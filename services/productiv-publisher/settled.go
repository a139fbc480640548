package publisher

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// settled reports whether a manifest is published and answered, or a decision carried out.
func (l *lane) settled(ctx context.Context, d bus.Delivery, body []byte) (bool, error) {
	var p roster.Publication
	if _, err := l.deps.State.Get(ctx, roster.PublicationKey(l.connection.Name), &p); err != nil {
		return false, err
	}
	if tokens := events.Tokens(streams.PublicationDecidedSubject, d.Subject); len(tokens) == 3 {
		record := p.Record(tokens[1])
		waits := record != nil && tokens[2] == strconv.Itoa(record.Holds)
		return !waits || record.Answered && record.State != roster.StateHeld, nil
	}
	var m roster.Manifest
	if json.Unmarshal(body, &m) != nil {
		return false, nil
	}
	if record := p.Record(m.SweepID); record != nil {
		return record.Answered, nil
	}
	forgotten := len(p.History) == roster.MaxHistory && m.Finished.Before(p.History[0].At)
	return forgotten, nil
}
