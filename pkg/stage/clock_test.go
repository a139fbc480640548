package stage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// host is a clock that somebody may set.
type host struct{ wall time.Time }

func (h *host) now() time.Time { return h.wall }

func TestClock_isTheBrokers(t *testing.T) {
	t.Parallel()
	right := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, off := range []time.Duration{0, 10 * time.Minute, -24 * time.Hour} {
		h := &host{right.Add(off)}
		c := newClock(func(context.Context) (time.Time, error) { return right, nil }, h.now, slog.New(slog.DiscardHandler))
		c.set(t.Context())
		h.wall = h.wall.Add(7 * time.Second)
		if got := c.Now(); !got.Equal(right.Add(7 * time.Second)) {
			t.Errorf("off by %s: it is %s", off, got)
		}
	}
}

// What the way of an answer explains must not make the clock jump.
func TestClock_doesNotJitter(t *testing.T) {
	t.Parallel()
	right := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	h, answer := &host{right}, right
	c := newClock(func(context.Context) (time.Time, error) { return answer, nil }, h.now, slog.New(slog.DiscardHandler))
	for _, late := range []time.Duration{0, minDrift - 1, 1 - minDrift} {
		answer = right.Add(late)
		if c.set(t.Context()); !c.Now().Equal(right) {
			t.Errorf("an answer of %s off moves the clock to %s", late, c.Now())
		}
	}
}

// Without an answer it goes on; with the next one it is right again, and a host that is off is told of once.
func TestClock_survivesSilenceAndSteps(t *testing.T) {
	t.Parallel()
	right := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	h, silent, log := &host{right}, error(nil), &bytes.Buffer{}
	c := newClock(func(context.Context) (time.Time, error) { return right, silent }, h.now, slog.New(slog.NewTextHandler(log, nil)))
	c.set(t.Context())
	silent = errors.New("no answer")
	if c.set(t.Context()); !c.Now().Equal(right) {
		t.Errorf("without an answer it is %s", c.Now())
	}
	silent, h.wall = nil, right.Add(time.Hour) // as after a suspension, which no monotonic clock notices
	for range 3 {
		c.set(t.Context())
	}
	if !c.Now().Equal(right) {
		t.Errorf("after a step it is %s", c.Now())
	}
	if n := strings.Count(log.String(), "not the broker's"); n != 1 || !strings.Contains(log.String(), "seconds=3600") {
		t.Errorf("told %d times:\n%s", n, log)
	}
}
