package bus

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/fault"
)

// troubleWindow is how long a denied permission or a cut-off consumer keeps the program unready. Both come back with
// the next attempt while their cause stands, so a healthy program is ready again a minute after the mend.
const troubleWindow = time.Minute

// health remembers what the client library reports on its own goroutines.
type health struct {
	log    *slog.Logger
	denied prometheus.Counter
	slow   prometheus.Counter
	lost   prometheus.Counter
	now    func() time.Time

	// denials rings at each denied permission.
	denials *bell

	mu      sync.Mutex
	trouble error
	at      time.Time
	// denied holds when the broker last denied us to publish to a subject.
	deniedAt map[string]time.Time
}

// maxDenials bounds how many denied subjects are remembered.
const maxDenials = 64

func newHealth(registry prometheus.Registerer, log *slog.Logger) *health {
	counter := func(name, help string) prometheus.Counter {
		return register(registry, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	return &health{
		log:      log,
		now:      time.Now,
		denials:  newBell(),
		deniedAt: map[string]time.Time{},

		denied: counter("seatwire_nats_permission_denied_total", "Operations that the broker denied to our user."),
		slow:   counter("seatwire_nats_slow_consumer_total", "Times that messages were dropped because we read too slowly."),
		lost:   counter("seatwire_nats_disconnects_total", "Times that a connection to the broker was lost."),
	}
}

func (h *health) handlers(role string) []nats.Option {
	log := h.log.With("connection", role)
	return []nats.Option{
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) { h.disconnected(log, nc) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("connected to NATS again") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { h.asynchronous(log, err) }),
	}
}

// disconnected also runs when we close the connection ourselves, which is no news.
func (h *health) disconnected(log *slog.Logger, nc *nats.Conn) {
	if nc.IsClosed() || nc.IsDraining() {
		return
	}
	h.lost.Inc()
	log.Warn("connection to NATS lost; reconnecting")
}

func (h *health) asynchronous(log *slog.Logger, err error) {
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		h.denied.Inc()
		h.remember(errDenied(violation(err)).Because(err))
		h.rememberDenied(err)
		log.Error("NATS permission denied; grant it to this program's user", "violation", violation(err))
		h.denials.ring()
	case errors.Is(err, nats.ErrSlowConsumer):
		h.slow.Inc()
		h.remember(fault.New(fault.Transient, "nats-slow-consumer", "messages were dropped because we read too slowly").Because(err))
		log.Error("NATS slow consumer: messages were dropped and will come again")
	default:
		log.Warn("NATS client error", "error", fault.Text(err))
	}
}

func (h *health) remember(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble, h.at = err, h.now()
}

// ReasonDenied is the reason of everything that the broker denied to our user.
const ReasonDenied = "nats-permission-denied"

func errDenied(violation string) *fault.Error {
	return fault.New(fault.Permanent, ReasonDenied, "NATS denied our user: %s", violation)
}

func (h *health) rememberDenied(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.deniedAt) >= maxDenials {
		clear(h.deniedAt) // the worst that follows is a time-out where a reason could have been told
	}
	h.deniedAt[deniedSubject(err)] = h.now()
}

// deniedSince reports whether a publish to subject was denied since a moment. A denied publish gets no answer: to its
// publisher it is a time-out, and this tells why.
func (h *health) deniedSince(subject string, moment time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, denied := h.deniedAt[subject]
	return denied && !at.Before(moment)
}

// ForgetDenials makes the program ready again at once: what was denied was only tried, and is not needed.
func (c *Conn) ForgetDenials() {
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	if fault.ReasonOf(c.health.trouble) == ReasonDenied {
		c.health.trouble = nil
	}
}

// deniedSubject is the subject that stands in quotes in the broker's sentence.
func deniedSubject(err error) string {
	_, rest, _ := strings.Cut(violation(err), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	return subject
}

func (h *health) recent() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now().Sub(h.at) < troubleWindow {
		return h.trouble
	}
	return nil
}

// violation keeps the broker's sentence, `Permissions Violation for Publish to "subject"`: it names the operation and
// the subject, and subjects hold nobody's address.
func violation(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "Permissions Violation"); i >= 0 {
		return text[i:]
	}
	return "unknown"
}

// register adds a collector, or returns the one of the same name that is there: several parts of one program, and
// several programs in one process, share a registry.
func register[C prometheus.Collector](registry prometheus.Registerer, c C) C {
	if registry == nil {
		return c
	}
	err := registry.Register(c)
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, ok := there.ExistingCollector.(C); ok {
			return existing
		}
	}
	if err != nil {
		panic(err) // two different metrics under one name: a programmer's mistake, found by any test
	}
	return c
}
