package pluralsightsim

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is an answer that is complete before its first byte is sent, so that it can be spoilt anywhere.
type reply struct {
	status      int
	contentType string
	headers     map[string]string
	body        []byte
}

const (
	typeJSON = "application/json; charset=utf-8"
	typeHTML = "text/html; charset=utf-8"
	typeText = "text/plain; charset=utf-8"
)

// fail fills the reply with an error outside GraphQL, in the given form.
func (r *reply) fail(status int, form, message string) {
	r.status = status
	switch form {
	case "html":
		r.contentType = typeHTML
		r.body = fmt.Appendf(nil, "<html><head><title>%[1]d</title></head><body><h1>%[1]d %[2]s</h1></body></html>\n",
			status, http.StatusText(status))
	case "empty":
		r.contentType, r.body = "", nil
	default:
		r.contentType = typeJSON
		r.body = append(appendString([]byte(`{"error":`), message), '}')
	}
}

// pause waits the plan's latency and the script's delays, or until the client leaves.
func (s *Sim) pause(x *exchange) {
	var d time.Duration
	if x.sw != nil {
		d = time.Duration(x.sw.Latency)
	}
	for i := range x.hits {
		if x.hits[i].Action == Delay {
			d += time.Duration(x.hits[i].Delay)
		}
	}
	if d > 0 {
		s.wait(x, d)
	}
}

// wait returns when d is over, the client leaves or the simulator is closed. A d of 0 never is over.
func (s *Sim) wait(x *exchange, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
	case <-x.Context().Done():
	case <-s.closed:
	}
}

// answer sends the reply as it is.
func (s *Sim) answer(w http.ResponseWriter, x *exchange) {
	s.finish(x, x.reply.status, "answered")
	x.reply.head(w)
	_, _ = w.Write(x.reply.body) // a client that left is no concern of the vendor
}

func (r *reply) head(w http.ResponseWriter) {
	h := w.Header()
	if r.contentType != "" {
		h.Set("Content-Type", r.contentType)
	}
	for k, v := range r.headers {
		h.Set(k, v)
	}
	h.Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
}

// finish completes the ledger's line, before the first byte: who has the answer also finds the line.
func (s *Sim) finish(x *exchange, status int, outcome string) {
	end := s.Now()
	s.ledger.update(func() {
		x.line.End, x.line.Status, x.line.Outcome = end, status, outcome
		s.ledger.counts[x.line.Path+" "+strconv.Itoa(status)]++
	})
}

// fail answers as the fault wants.
func (s *Sim) fail(w http.ResponseWriter, x *exchange, f *Fault) {
	switch f.Action {
	case Answer:
		f.dress(&x.reply, x.now)
		s.answer(w, x)
	case Reset:
		s.reset(w, x, f.When == MidBody)
	case Stall:
		s.stall(w, x, f)
	case Truncate:
		x.reply.body = x.reply.body[:len(x.reply.body)/2]
		s.answer(w, x)
	case Drip:
		s.drip(w, x, f)
	case Huge:
		x.reply.body = append(bytes.Repeat([]byte(" "), max(0, f.Size-len(x.reply.body))), x.reply.body...)
		s.answer(w, x)
	}
}

// dress replaces the reply by the fault's answer.
func (f *Fault) dress(r *reply, now time.Time) {
	r.fail(f.Status, f.BodyForm, f.Message)
	if f.Body != "" {
		r.body, r.contentType = []byte(f.Body), typeJSON
	}
	r.headers = map[string]string{}
	for k, v := range f.Headers {
		r.headers[http.CanonicalHeaderKey(k)] = v
	}
	if f.RetryAfter != "" {
		r.headers["Retry-After"] = retryAfter(f.RetryAfter, now)
	}
}

// retryAfter turns "date+30s" into an HTTP date and leaves everything else alone.
func retryAfter(v string, now time.Time) string {
	ahead, ok := strings.CutPrefix(v, "date+")
	if !ok {
		return v
	}
	d, err := time.ParseDuration(ahead)
	if err != nil {
		return v
	}
	return now.Add(d).UTC().Format(http.TimeFormat)
}

// reset cuts the connection so that the client sees a reset instead of an end. With half an answer it sees that half and
// then the end, since a reset could overtake what was sent. Without a socket, in a test, the handler is aborted.
func (s *Sim) reset(w http.ResponseWriter, x *exchange, half bool) {
	if half {
		s.finish(x, x.reply.status, "cut")
		x.reply.half(w)
		panic(http.ErrAbortHandler)
	}
	s.finish(x, 0, "reset")
	cut(w)
}

// half sends the head and the first half of the body; the announced length promises the rest.
func (r *reply) half(w http.ResponseWriter) {
	r.head(w)
	_, _ = w.Write(r.body[:len(r.body)/2])
	_ = http.NewResponseController(w).Flush()
}

func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (s *Sim) stall(w http.ResponseWriter, x *exchange, f *Fault) {
	s.finish(x, x.reply.status, "stalled")
	if f.When == MidBody {
		x.reply.half(w)
	}
	s.wait(x, time.Duration(f.Delay))
	panic(http.ErrAbortHandler)
}

func (s *Sim) drip(w http.ResponseWriter, x *exchange, f *Fault) {
	s.finish(x, x.reply.status, "answered")
	x.reply.head(w)
	control := http.NewResponseController(w)
	for rest := x.reply.body; len(rest) > 0; {
		n := min(max(f.Count, 1), len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			return
		}
		_ = control.Flush()
		rest = rest[n:]
		s.wait(x, max(time.Duration(f.Delay), 1))
	}
}
