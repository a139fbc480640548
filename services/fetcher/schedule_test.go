package fetcher

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestSlot(t *testing.T) {
	t.Parallel()
	last := time.Date(2026, 11, 23, 10, 0, 0, 500_000_000, time.UTC)
	const every = 6 * time.Hour
	tests := map[string]struct {
		last time.Time
		now  time.Time
		id   string
		left time.Duration
	}{
		"just swept":                    {last, last, "", every},
		"one moment early":              {last, last.Add(every - 1), "", 1},
		"on the dot":                    {last, last.Add(every), "20261123T160000.500Z", 0},
		"late by less than a slot":      {last, last.Add(2*every - 1), "20261123T160000.500Z", 0},
		"the request of one was lost":   {last, last.Add(2 * every), "20261123T220000.500Z", 0},
		"after a weekend":               {last, last.Add(10*every + time.Hour), "20261125T220000.500Z", 0},
		"in another zone":               {last.In(time.FixedZone("", 3600)), last.Add(every), "20261123T160000.500Z", 0},
		"the last one is in the future": {last, last.Add(-time.Hour), "", every + time.Hour},
		"never swept":                   {time.Time{}, time.Unix(0, 0).Add(3*every + time.Hour), "first-3", 0},
		"never swept, a moment later":   {time.Time{}, time.Unix(0, 0).Add(3*every + 2*time.Hour), "first-3", 0},
		"never swept, a slot later":     {time.Time{}, time.Unix(0, 0).Add(4 * every), "first-4", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if id, left := Slot(tt.last, every, tt.now); id != tt.id || left != tt.left {
				t.Errorf("%q, %s; want %q, %s", id, left, tt.id, tt.left)
			}
		})
	}
}

// Replicas look at different moments; within a slot they name the same one, and waiting as told ends in one.
func TestSlot_replicasAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		last := time.UnixMilli(rapid.Int64Range(1, 4e12).Draw(t, "last"))
		every := time.Duration(rapid.Int64Range(1000, 1e9).Draw(t, "every ms")) * time.Millisecond
		passed := time.Duration(rapid.Int64Range(0, 1000*int64(every)).Draw(t, "passed"))
		id, left := Slot(last, every, last.Add(passed))
		if (id == "") == (left == 0) {
			t.Fatalf("%q and %s left", id, left)
		}
		if id == "" {
			if due, _ := Slot(last, every, last.Add(passed+left)); due == "" {
				t.Fatal("not due after waiting as told")
			}
			return
		}
		slot := passed / every * every
		if other, _ := Slot(last, every, last.Add(slot)); other != id {
			t.Fatalf("%q at the slot's start, %q later in it", other, id)
		}
		if next, _ := Slot(last, every, last.Add(slot+every)); next == id {
			t.Fatal("two slots of one name: the second would be absorbed")
		}
	})
}

func TestSlot_followsTheLastSweepWhateverAskedForIt(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	l := g.process(nil, nil)
	l.deps.Now = func() time.Time { return now }
	f := &Fetcher{cfg: g.cfg, deps: l.deps}
	if id, _, err := f.slot(t.Context(), g.cfg.Connections[0]); id == "" || err != nil {
		t.Errorf("%q, %v: the first sweep is due at once", id, err)
	}
	if _, err := g.store.Put(t.Context(), roster.SweepKey(acme), roster.Sweep{Started: now.Add(-time.Hour)}, 0); err != nil {
		t.Fatal(err)
	}
	if id, left, err := f.slot(t.Context(), g.cfg.Connections[0]); id != "" || left != 5*time.Hour || err != nil {
		t.Errorf("%q, %s, %v", id, left, err)
	}
}

// Two replicas that ask for one slot ask for one sweep.
func TestRequest_ofOneSlotIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	for range 2 {
		l := g.process(nil, nil)
		f := &Fetcher{cfg: g.cfg, deps: l.deps}
		if err := f.request(t.Context(), acme, "slot-1"); err != nil {
			t.Fatal(err)
		}
		msg, err := streams.At(g.conn.JS()).Newest(t.Context(), streams.Sync, events.Subject(events.SyncRequestedSubject, acme))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.intake(t.Context(), bus.Delivery{Subject: msg.Subject, Header: msg.Header}, msg.Data); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := streams.Count(t.Context(), g.conn.JS(), streams.Sweeps, ">"); n != 1 || err != nil {
		t.Errorf("%d accepted, %v", n, err)
	}
}
