// Package policy decides how often, and after which wait, a vendor call is made again.
//
// What flows in: an operation, which classifies its own failures with package fault. What flows out: its result,
// or its last failure. The policies stand around the whole operation, decoding included, and not below it in the
// HTTP transport: only there can a page that arrived cut in half be asked for again.
//
// From the outside in: the caller's context, then retry, then the attempt's timeout, then the operation. The
// machinery is failsafe-go; the rules are ours and small:
//
//   - Transient and throttled failures are repeated. Permanent ones never are. Unknown ones are repeated only for
//     an operation that its owner calls [Idempotent]: the effect may have happened already.
//   - The delay before retry n is InitialDelay doubled n-1 times, at most MaxDelay, then 20 % of jitter either way,
//     so that replicas that failed together do not come back together.
//   - A wait that the vendor asked for replaces that delay, at most CallTimeout, without jitter: jitter would
//     undercut it.
//   - Nothing is repeated for a caller that has gone. It gets its own context's error, joined with the last failure,
//     which is usually what an operator wants to know.
package policy

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

// jitter is the share of a delay by which it varies, either way.
const jitter = 0.2

// Executor runs operations that result in a T. Build it once and share it: it is safe for concurrent use.
type Executor[T any] struct{ inner failsafe.Executor[T] }

// Option changes what an Executor repeats.
type Option func(*settings)

type settings struct{ retryUnknown bool }

// Idempotent says that doing the operation twice does no more than doing it once, so that unknown failures may be
// repeated as well.
func Idempotent() Option { return func(s *settings) { s.retryUnknown = true } }

// New returns an Executor for cfg. Before each wait it calls onRetry, unless that is nil, with the number of the
// attempt that failed (from 1), its failure and the delay.
//
// Settings below the sensible are made safe, not refused, since config.Load has refused them already: fewer than one
// attempt means one, and a CallTimeout of zero means none.
func New[T any](cfg config.Retry, onRetry func(attempt int, err error, delay time.Duration), opts ...Option) *Executor[T] {
	var s settings
	for _, o := range opts {
		o(&s)
	}
	retry := retrypolicy.NewBuilder[T]().
		WithMaxAttempts(max(1, cfg.MaxAttempts)). // failsafe reads -1 as "for ever"
		ReturnLastFailure().                      // its own error prints results, and so people's addresses
		HandleIf(func(_ T, err error) bool { return s.retries(err) }).
		WithDelayFunc(func(e failsafe.ExecutionAttempt[T]) time.Duration {
			return delayBefore(cfg, e.Attempts(), e.LastError(), rand.Float64())
		})
	if onRetry != nil {
		retry = retry.OnRetryScheduled(func(e failsafe.ExecutionScheduledEvent[T]) {
			onRetry(e.Attempts(), classified(e.LastError()), e.Delay)
		})
	}
	inner := failsafe.With[T](retry.Build())
	if cfg.CallTimeout > 0 {
		// Compose, never ComposeAny: that one does not cancel the operation.
		inner = inner.Compose(timeout.New[T](cfg.CallTimeout))
	}
	return &Executor[T]{inner}
}

// Do runs op until it succeeds, fails for good, or the attempts are spent. The context that op gets ends with its
// attempt; an op that ignores it outlives its timeout.
//
// The result is the zero T whenever the error is not nil: half a result must not look like one.
func Do[T any](ctx context.Context, ex *Executor[T], op func(context.Context) (T, error)) (T, error) {
	var last error // failsafe drops the failure when the wait after it is cancelled
	v, err := ex.inner.WithContext(ctx).GetWithExecution(func(e failsafe.Execution[T]) (T, error) {
		v, err := op(e.Context())
		if err != nil && !errors.Is(err, context.Canceled) {
			last = err
		}
		return v, err
	})
	if err == nil {
		return v, nil
	}
	var zero T
	if ctx.Err() != nil {
		return zero, errors.Join(context.Cause(ctx), last)
	}
	return zero, classified(err)
}

// retries reports whether an operation that failed with err is worth repeating.
func (s settings) retries(err error) bool {
	if err == nil {
		return false
	}
	switch fault.ClassOf(classified(err)) {
	case fault.Transient, fault.Throttled:
		return true
	case fault.Unknown:
		return s.retryUnknown
	default:
		return false
	}
}

// classified gives failsafe's own timeout the class that everything above decides by.
func classified(err error) error {
	if errors.Is(err, timeout.ErrExceeded) {
		return fault.New(fault.Transient, "timeout", "no complete answer within the time for one call").Because(err)
	}
	return err
}

// delayBefore returns the wait before retry n (from 1) of an operation that failed with err; r is in [0,1).
func delayBefore(cfg config.Retry, n int, err error, r float64) time.Duration {
	if d, ok := fault.RetryAfter(err); ok {
		if cfg.CallTimeout > 0 {
			return min(d, cfg.CallTimeout)
		}
		return d
	}
	return time.Duration(float64(nominal(cfg, n)) * (1 - jitter + 2*jitter*r))
}

// nominal is the delay before retry n without its jitter. It doubles step by step: a shift would overflow.
func nominal(cfg config.Retry, n int) time.Duration {
	d := min(cfg.InitialDelay, cfg.MaxDelay)
	for range n - 1 {
		if d >= cfg.MaxDelay-d {
			return cfg.MaxDelay
		}
		d *= 2
	}
	return d
}
