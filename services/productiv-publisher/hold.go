package publisher

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

// grip is how long after a confirmed renewal a write may still begin. The broker hands the lane to another replica
// AckWait after the renewal, so a process that was frozen past this may not send.
const grip = streams.AckWait * 2 / 3

// laneHold knows when the broker last confirmed that this process holds the lane.
type laneHold struct{ renewed atomic.Pointer[time.Time] }

// renew asks the broker. The time counts from before the question: the answer may have taken long.
func (h *laneHold) renew(ctx context.Context, d bus.Delivery) error {
	asked := time.Now()
	if err := d.Renew(ctx); err != nil {
		return fault.New(fault.Transient, "lane-lost", "the broker does not confirm the lane").Because(err)
	}
	h.renewed.Store(&asked)
	return nil
}

// check refuses a write when the last confirmation is too old. The vendor client calls it before each write and once
// more when the bytes leave.
func (h *laneHold) check() error {
	at := h.renewed.Load()
	if at == nil || time.Since(*at) > grip {
		return fault.New(fault.Transient, "lane-lost", "the lane was not confirmed within %s", grip)
	}
	return nil
}
