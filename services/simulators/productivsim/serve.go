package productivsim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"
)

// call is one HTTP call on its way through the steps.
type call struct {
	*http.Request
	app   *app // nil when the call names none that exists
	body  []byte
	set   *settings
	fault *Fault // nil: none
	entry Request
	// log writes to the history under this call's number.
	log *recorder
}

// answer is what the vendor says.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// errBodyTooLarge says that a body is beyond Switches.MaxBodyBytes.
var errBodyTooLarge = errors.New("body too large")

// serve takes a call through its steps. find says which app it is for; it may look at the body.
func (s *Sim) serve(e Endpoint, find func(*call) *app, h func(*call) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, set: s.settings.Load()}
		if e != EndpointToken {
			c.app = find(c)
		}
		s.begin(c, e)
		bodyErr := c.readBody(e)
		if e == EndpointToken {
			c.app = find(c)
		}
		s.identify(c)
		a, alive := s.respond(c, bodyErr, h)
		if !alive {
			s.finish(c, 0)
			cut(w, true)
			return
		}
		s.deliver(w, c, a)
	})
}

// respond finds the answer, with the effect that belongs to it. It is not alive when no answer will come.
func (s *Sim) respond(c *call, bodyErr error, h func(*call) answer) (answer, bool) {
	ctx := c.Context()
	if !pause(ctx, c.set.Latency.Std()) {
		return answer{}, false
	}
	c.fault = s.script.take(c.entry.Endpoint, c.entry.App, c.Method)
	if c.fault != nil {
		c.entry.Fault = c.fault.Kind
	}
	if instead, alive, done := c.meet(ctx, Before); done {
		return instead, alive
	}
	a := s.handle(c, bodyErr, h)
	if instead, alive, done := c.meet(ctx, After); done {
		return instead, alive
	}
	return a, true
}

func (s *Sim) handle(c *call, bodyErr error, h func(*call) answer) answer {
	defer s.changes.announce()
	defer func() { s.ledger.update(c.entry) }()
	switch {
	case errors.Is(bodyErr, errBodyTooLarge):
		return refusal(http.StatusRequestEntityTooLarge, "request body is too large")
	case bodyErr != nil:
		return refusal(http.StatusBadRequest, "request body cannot be read")
	default:
		return h(c)
	}
}

// begin opens the ledger entry and takes part in the count of overlapping writes.
func (s *Sim) begin(c *call, e Endpoint) {
	c.entry = Request{Start: time.Now(), Endpoint: e, Method: c.Method, Path: c.URL.Path,
		UserAgent: userAgent(c.Request), Owner: firstBytes(c.Header.Get(s.options.OwnerHeader), 200)}
	if c.app != nil {
		c.entry.App = c.app.id
		c.app.beginWrite(c.entry)
	}
	c.entry.Seq = s.ledger.begin(c.entry)
	c.log = s.history.record(c.entry.App, c.entry.Seq)
	s.changes.announce()
}

// identify completes what is known of a call once its body is there.
func (s *Sim) identify(c *call) {
	if c.app != nil {
		c.entry.App = c.app.id
	}
	s.ledger.update(c.entry)
}

// finish closes the ledger entry; nothing but the last bytes may come after it.
func (s *Sim) finish(c *call, status int) {
	c.entry.End, c.entry.Status = time.Now(), status
	if c.app != nil {
		c.app.finish(c.entry, c.set.MaxUsers)
	} else {
		s.ledger.countStray(c.entry, c.set.MaxUsers)
	}
	s.ledger.update(c.entry)
	s.changes.announce()
}

func (a *app) beginWrite(r Request) {
	if !r.write() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.writing > 0 {
		a.counts.OverlappingWrites++
	}
	a.writing++
}

func (a *app) finish(r Request, limit int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.write() {
		a.writing--
	}
	a.counts.finish(r, limit)
}

// readBody reads all of the body, and keeps at most the allowed part. The rest is read as well, up to a bound, since a
// client that is cut off while it sends may never see the 413.
func (c *call) readBody(e Endpoint) error {
	limit := c.set.MaxBodyBytes
	body, err := io.ReadAll(io.LimitReader(c.Body, limit+1))
	c.entry.BodyBytes = len(body)
	if err != nil {
		return err
	}
	if int64(len(body)) > limit {
		rest, _ := io.Copy(io.Discard, io.LimitReader(c.Body, 64<<20)) // the client is told 413 either way
		c.entry.BodyBytes += int(rest)
		return errBodyTooLarge
	}
	if e != EndpointToken && len(body) > 0 {
		sum := sha256.Sum256(body)
		c.entry.BodySHA256 = hex.EncodeToString(sum[:])
	}
	c.body = body
	return nil
}

func noApp(*call) *app { return nil }

func (s *Sim) appOfPath(c *call) *app { return s.apps[c.PathValue("appId")] }

// ok is a 200 with v as JSON.
func ok(v any) answer {
	body, err := json.Marshal(v)
	if err != nil { // unreachable: answers are structs of strings, numbers and raw literals
		panic(err)
	}
	return answer{status: http.StatusOK, header: jsonHeader(), body: body}
}

// refusal is an error in the shape that most such APIs use; the vendor documents none.
func refusal(status int, message string) answer {
	a := ok(struct {
		Message string `json:"message"`
	}{message})
	a.status = status
	return a
}

func jsonHeader() http.Header { return http.Header{"Content-Type": {"application/json"}} }

// pause waits, and reports whether the client is still there.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
