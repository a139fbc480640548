package process

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// checkTime bounds all checks of one /readyz request together: below the second or so that probes wait.
	checkTime = 900 * time.Millisecond
	// closeTime bounds how long a stopping server waits for a probe in flight.
	closeTime = time.Second
)

// Check reports why the service cannot work, or nil. It must return soon after ctx ends.
type Check func(ctx context.Context) error

// Health answers /livez, /readyz and /metrics.
//
// A process is alive as long as it answers, whatever its surroundings: killing it would not mend NATS. It is ready while
// every registered check passes. Before the first check is registered, and once the process drains, it is not ready.
type Health struct {
	gatherer prometheus.Gatherer

	mu     sync.Mutex
	checks []namedCheck
}

type namedCheck struct {
	name  string
	check Check
}

// NewHealth returns a Health without checks, whose /metrics shows what g gathers.
func NewHealth(g prometheus.Gatherer) *Health { return &Health{gatherer: g} }

// Register adds a check. Register them all before the service starts: one that is added late is missed until then.
// The name is shown to whoever asks /readyz; the check's error is not.
func (h *Health) Register(name string, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, namedCheck{name, check})
}

// Serve listens on addr, logs the bound address once as the attribute "listen", and answers until stop is called. From
// the end of ctx on, which is when the process drains, /readyz says no.
func (h *Health) Serve(ctx context.Context, addr string, log *slog.Logger) (stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fault.New(fault.Permanent, "health-listen", "cannot listen on %s: %v; give -listen a free address", addr, listenCause(err)).Because(err)
	}
	server := &http.Server{
		Handler:           h.handler(ctx),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // strangers' malformed requests
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the health server stopped; probes fail from here on", "error", err)
		}
	})
	log.Info("answering health requests", "listen", ln.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // a probe hangs; there is nobody to tell
		}
		done.Wait()
	}, nil
}

// listenCause strips what our sentence names already.
func listenCause(err error) error {
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return err
}

// handler routes; draining ends when the process begins to stop.
func (h *Health) handler(draining context.Context) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, readiness{Status: "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		failing := h.failing(r.Context())
		if draining.Err() != nil {
			failing = append(failing, "draining")
		}
		if len(failing) > 0 {
			answer(w, http.StatusServiceUnavailable, readiness{"not ready", failing})
			return
		}
		answer(w, http.StatusOK, readiness{Status: "ready"})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	return mux
}

// readiness is the answer to a probe.
type readiness struct {
	Status  string   `json:"status"`
	Failing []string `json:"failing,omitempty"`
}

// failing runs every check and names those that do not pass.
func (h *Health) failing(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	h.mu.Lock()
	checks := h.checks[:len(h.checks):len(h.checks)] // checks run unlocked; registering never changes what is there
	h.mu.Unlock()
	if len(checks) == 0 {
		return []string{"starting"}
	}
	var names []string
	for _, c := range checks {
		if c.check(ctx) != nil {
			names = append(names, c.name)
		}
	}
	return names
}

func answer(w http.ResponseWriter, status int, r readiness) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(r) // the prober is gone; nobody is left to tell
}
