package policy

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var cfg = config.Retry{MaxAttempts: 3, InitialDelay: time.Second, MaxDelay: 10 * time.Second, CallTimeout: 30 * time.Second}

// outcome is what one attempt does: take this long, then return err.
type outcome struct {
	takes time.Duration
	err   error
}

// script returns an operation that plays outcomes, and the times at which its attempts began.
func script(outcomes ...outcome) (func(context.Context) (string, error), *[]time.Duration) {
	start, began := time.Now(), new([]time.Duration)
	return func(ctx context.Context) (string, error) {
		o := outcomes[len(*began)]
		*began = append(*began, time.Since(start))
		select {
		case <-time.After(o.takes):
			return "result", o.err
		case <-ctx.Done():
			return "half a result", ctx.Err()
		}
	}, began
}

func class(c fault.Class) error { return fault.New(c, "test-"+c.String(), "") }

func throttled(after time.Duration) error {
	return fault.New(fault.Throttled, "rate-limited", "").After(after)
}

// TestDo is the whole table of what is repeated, how often, and after how long.
func TestDo(t *testing.T) {
	t.Parallel()
	const s = time.Second
	cases := map[string]struct {
		outcomes []outcome
		opts     []Option
		waits    []time.Duration // nominal start of each attempt after the first, counted from the end of the one before
		exact    bool            // no jitter
		reason   string          // "" is success
	}{
		"success at once":                  {outcomes: []outcome{{0, nil}}},
		"transient, then success":          {outcomes: []outcome{{0, class(fault.Transient)}, {0, nil}}, waits: []time.Duration{s}},
		"delays double":                    {outcomes: []outcome{{0, class(fault.Transient)}, {0, class(fault.Transient)}, {0, nil}}, waits: []time.Duration{s, 2 * s}},
		"attempts are spent":               {outcomes: []outcome{{0, class(fault.Transient)}, {0, class(fault.Transient)}, {0, throttled(0)}}, waits: []time.Duration{s, 2 * s}, reason: "rate-limited"},
		"permanent is final":               {outcomes: []outcome{{0, class(fault.Permanent)}}, reason: "test-permanent"},
		"permanent after transient":        {outcomes: []outcome{{0, class(fault.Transient)}, {0, class(fault.Permanent)}}, waits: []time.Duration{s}, reason: "test-permanent"},
		"unknown is final":                 {outcomes: []outcome{{0, class(fault.Unknown)}}, reason: "test-unknown"},
		"unknown, idempotent":              {outcomes: []outcome{{0, class(fault.Unknown)}, {0, nil}}, opts: []Option{Idempotent()}, waits: []time.Duration{s}},
		"unclassified counts as transient": {outcomes: []outcome{{0, errors.New("odd")}, {0, nil}}, waits: []time.Duration{s}},
		"throttled without a wait":         {outcomes: []outcome{{0, throttled(0)}, {0, nil}}, waits: []time.Duration{s}},
		"throttled for longer":             {outcomes: []outcome{{0, throttled(7 * s)}, {0, nil}}, waits: []time.Duration{7 * s}, exact: true},
		"throttled for less":               {outcomes: []outcome{{0, throttled(s / 10)}, {0, nil}}, waits: []time.Duration{s / 10}, exact: true},
		"throttled beyond the cap":         {outcomes: []outcome{{0, throttled(24 * time.Hour)}, {0, nil}}, waits: []time.Duration{30 * s}, exact: true},
		"transient with a wait":            {outcomes: []outcome{{0, fault.New(fault.Transient, "server-error", "").After(3 * s)}, {0, nil}}, waits: []time.Duration{3 * s}, exact: true},
		"a wait does not advance doubling": {outcomes: []outcome{{0, class(fault.Transient)}, {0, throttled(5 * s)}, {0, nil}}, waits: []time.Duration{s, 5 * s}},
		"an attempt hangs":                 {outcomes: []outcome{{time.Hour, nil}, {0, nil}}, waits: []time.Duration{30*s + s}},
		"every attempt hangs":              {outcomes: []outcome{{time.Hour, nil}, {time.Hour, nil}, {time.Hour, nil}}, waits: []time.Duration{31 * s, 32 * s}, reason: "timeout"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				op, began := script(c.outcomes...)
				got, err := Do(t.Context(), New[string](cfg, nil, c.opts...), op)
				checkOutcome(t, got, err, c.reason)
				checkWaits(t, *began, c.waits, c.exact)
			})
		})
	}
}

func checkOutcome(t *testing.T, got string, err error, reason string) {
	t.Helper()
	switch {
	case reason == "" && (err != nil || got != "result"):
		t.Errorf("got %q, %v; want success", got, err)
	case reason != "" && fault.ReasonOf(err) != reason:
		t.Errorf("got %v; want reason %q", err, reason)
	case reason != "" && strings.Contains(err.Error(), "result"):
		t.Errorf("the error quotes a result: %v", err)
	case reason != "" && got != "":
		t.Errorf("a failure came with the result %q", got)
	}
}

func checkWaits(t *testing.T, began, want []time.Duration, exact bool) {
	t.Helper()
	if len(began) != len(want)+1 {
		t.Fatalf("%d attempts; want %d", len(began), len(want)+1)
	}
	for i, w := range want {
		wait, slack := began[i+1]-began[i], w/5
		if exact {
			slack = 0
		}
		if wait < w-slack || wait > w+slack {
			t.Errorf("retry %d came after %v; want %v ± %v", i+1, wait, w, slack)
		}
	}
}

func TestDo_AttemptTimeoutIsTransient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		op, _ := script(outcome{time.Hour, nil})
		_, err := Do(t.Context(), New[string](config.Retry{MaxAttempts: 1, CallTimeout: time.Second}, nil), op)
		if fault.ClassOf(err) != fault.Transient || fault.ReasonOf(err) != "timeout" {
			t.Errorf("got %v, class %v", err, fault.ClassOf(err))
		}
	})
}

func TestDo_LastFailureSurvivesACancelledWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		op, began := script(outcome{0, throttled(time.Minute)})
		start := time.Now()
		_, err := Do(ctx, New[string](cfg, nil), op)
		if !errors.Is(err, context.DeadlineExceeded) || fault.ReasonOf(err) != "rate-limited" {
			t.Errorf("got %v; want the context's error and the last failure", err)
		}
		if len(*began) != 1 || time.Since(start) != 500*time.Millisecond {
			t.Errorf("%d attempts, returned after %v", len(*began), time.Since(start))
		}
	})
}

func TestDo_CancelledAttemptIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		op, began := script(outcome{time.Hour, nil})
		_, err := Do(ctx, New[string](cfg, nil), op)
		if !errors.Is(err, context.Canceled) || len(*began) != 1 {
			t.Errorf("got %v after %d attempts", err, len(*began))
		}
	})
}

func TestNew_OnRetryHearsEveryWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reasons []string
		var delays []time.Duration
		ex := New[string](cfg, func(attempt int, err error, delay time.Duration) {
			if attempt != len(reasons)+1 {
				t.Errorf("attempt %d reported as %d", len(reasons)+1, attempt)
			}
			reasons, delays = append(reasons, fault.ReasonOf(err)), append(delays, delay)
		})
		op, _ := script(outcome{0, throttled(4 * time.Second)}, outcome{time.Hour, nil}, outcome{0, nil})
		if _, err := Do(t.Context(), ex, op); err != nil {
			t.Fatal(err)
		}
		if strings.Join(reasons, " ") != "rate-limited timeout" || delays[0] != 4*time.Second {
			t.Errorf("heard %v with delays %v", reasons, delays)
		}
	})
}

func TestNew_NonsenseMeansOneAttempt(t *testing.T) {
	t.Parallel()
	for _, attempts := range []int{-1, 0, 1} {
		calls := 0
		_, err := Do(t.Context(), New[int](config.Retry{MaxAttempts: attempts}, nil), func(context.Context) (int, error) {
			calls++
			return 0, class(fault.Transient)
		})
		if calls != 1 || fault.ReasonOf(err) != "test-transient" {
			t.Errorf("maxAttempts %d: %d calls, %v", attempts, calls, err)
		}
	}
}

func TestDelayBefore_StaysWithinItsBand(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := config.Retry{
			InitialDelay: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "initial")),
			MaxDelay:     time.Duration(rapid.Int64Range(1, math.MaxInt64/2).Draw(t, "max")),
		}
		n := rapid.IntRange(1, 200).Draw(t, "n")
		want := math.Min(float64(c.InitialDelay)*math.Pow(2, float64(n-1)), float64(c.MaxDelay))
		got := float64(delayBefore(c, n, nil, rapid.Float64Range(0, 0.999).Draw(t, "r")))
		if got < want*0.8-2 || got > want*1.2+2 {
			t.Fatalf("got %v for a nominal %v", got, want)
		}
	})
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		want time.Duration
		ok   bool
	}{
		"0":                              {0, true},
		"120":                            {2 * time.Minute, true},
		" 5 ":                            {5 * time.Second, true},
		"99999999999999999999":           {math.MaxInt64, true},
		"9223372036854775807":            {math.MaxInt64, true},
		"Mon, 23 Nov 2026 12:00:30 GMT":  {30 * time.Second, true},
		"Mon, 23 Nov 2026 11:59:30 GMT":  {0, true},
		"Monday, 23-Nov-26 12:00:30 GMT": {30 * time.Second, true},
		"":                               {0, false},
		"-1":                             {0, false},
		"+1":                             {0, false},
		"1.5":                            {0, false},
		"soon":                           {0, false},
		"2026-11-23T12:00:30Z":           {0, false},
	}
	for h, c := range cases {
		if got, ok := ParseRetryAfter(h, now); got != c.want || ok != c.ok {
			t.Errorf("ParseRetryAfter(%q) = %v, %v; want %v, %v", h, got, ok, c.want, c.ok)
		}
	}
}

// FuzzParseRetryAfter: a wait is never negative, and seconds and dates that we write are read as they are meant.
func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "Mon, 23 Nov 2026 12:00:30 GMT", "Mon, 23 Nov 0000 12:00:30 GMT", "99999999999999999999"} {
		f.Add(s, uint32(120))
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, h string, seconds uint32) {
		if d, ok := ParseRetryAfter(h, now); d < 0 || (!ok && d != 0) {
			t.Errorf("ParseRetryAfter(%q) = %v, %v", h, d, ok)
		}
		want := time.Duration(seconds) * time.Second
		for _, h := range []string{strconv.Itoa(int(seconds)), now.Add(want).UTC().Format(http.TimeFormat)} {
			if d, ok := ParseRetryAfter(h, now); d != want || !ok {
				t.Errorf("ParseRetryAfter(%q) = %v, %v; want %v", h, d, ok, want)
			}
		}
	})
}
