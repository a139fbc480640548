package productivsim

import (
	"context"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
)

// meet carries out the call's fault if this is its moment. It is done when instead is the answer, or when, not alive, there
// will be none.
func (c *call) meet(ctx context.Context, moment When) (instead answer, alive, done bool) {
	f := c.fault
	if f == nil || f.When != moment {
		return answer{}, true, false
	}
	if !c.wait(ctx, f) {
		return answer{}, false, true
	}
	switch f.Kind {
	case FaultStatus, FaultHTML, FaultRedirect:
		return f.answer(), true, true
	case FaultReset:
		return answer{}, false, true
	case FaultHang:
		<-ctx.Done()
		return answer{}, false, true
	case FaultSuccess:
		// Before the effect, the answer lies about nothing: it is a refusal that comes with a 200.
		return ok(writeAnswer{Success: successLiteral(f.Success, true)}), true, moment == Before
	default:
		return answer{}, true, false
	}
}

// wait waits for the fault's delay and reports whether the call goes on.
func (c *call) wait(ctx context.Context, f *Fault) bool {
	if f.Persist {
		ctx = context.WithoutCancel(ctx)
	}
	return pause(ctx, f.Delay.Std())
}

// answer is what a fault says in place of the vendor.
func (f *Fault) answer() answer {
	a := answer{status: f.Status, header: jsonHeader(), body: []byte(f.Body)}
	switch {
	case f.Kind == FaultHTML && f.Body == "":
		a.body = []byte("<!doctype html><html><body><h1>Service temporarily unavailable</h1></body></html>")
	case f.Body == "" && f.Status != http.StatusNoContent && f.Status != http.StatusNotModified:
		a.body = refusal(f.Status, http.StatusText(f.Status)).body
	}
	if f.Kind == FaultHTML {
		a.header.Set("Content-Type", "text/html; charset=utf-8")
	}
	if f.ContentType != "" {
		a.header.Set("Content-Type", f.ContentType)
	}
	if f.Location != "" {
		a.header.Set("Location", f.Location)
	}
	if f.RetryAfter > 0 {
		a.header.Set("Retry-After", f.retryAfter(time.Now()))
	}
	return a
}

func (f *Fault) retryAfter(now time.Time) string {
	if f.RetryAfterDate {
		return now.Add(f.RetryAfter.Std()).UTC().Format(http.TimeFormat)
	}
	return strconv.Itoa(int(math.Ceil(f.RetryAfter.Std().Seconds())))
}

// deliver sends an answer in the way that the fault wants it sent.
func (s *Sim) deliver(w http.ResponseWriter, c *call, a answer) {
	if f := c.fault; f != nil && f.Kind == FaultTruncate {
		a.body = a.body[:len(a.body)/2]
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	f := c.fault
	switch {
	case f != nil && f.Kind == FaultSlow:
		s.sendSlowly(w, c, a)
	case f != nil && f.Kind == FaultReset && f.When == Midbody:
		s.sendHalf(w, c, a)
	default:
		s.finish(c, a.status)
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // a client that has gone is no business of a server's
	}
}

func (s *Sim) sendSlowly(w http.ResponseWriter, c *call, a answer) {
	pieces := max(1, min(c.fault.Pieces, len(a.body)))
	w.WriteHeader(a.status)
	for i := range pieces {
		if !pause(c.Context(), c.fault.Delay.Std()) {
			break
		}
		if i == pieces-1 {
			s.finish(c, a.status)
		}
		_, _ = w.Write(a.body[i*len(a.body)/pieces : (i+1)*len(a.body)/pieces])
		_ = http.NewResponseController(w).Flush()
	}
	if c.entry.End.IsZero() {
		s.finish(c, a.status)
	}
}

// sendHalf closes without a reset: a reset may overtake the half that the client is to see.
func (s *Sim) sendHalf(w http.ResponseWriter, c *call, a answer) {
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body[:len(a.body)/2])
	_ = http.NewResponseController(w).Flush()
	pause(c.Context(), c.fault.Delay.Std())
	s.finish(c, a.status)
	cut(w, false)
}

// cut ends the connection without an answer. Where it cannot be had (HTTP/2, tests without a network) net/http's own abort
// does the same as far as it can.
func cut(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, isTCP := conn.(*net.TCPConn); isTCP && reset {
		_ = tcp.SetLinger(0) // so that Close sends a reset
	}
	_ = conn.Close()
}
