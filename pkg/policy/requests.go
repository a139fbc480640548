package policy

import (
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/fault"
)

// Requests counts one client's HTTP requests. All vendors' clients share the counter, made by whoever comes first.
type Requests struct {
	counter            *prometheus.CounterVec
	vendor, connection string
}

// NewRequests returns the count of a connection's requests to a vendor. Without a registry nothing is exposed.
func NewRequests(reg prometheus.Registerer, log *slog.Logger, vendor, connection string) *Requests {
	return &Requests{requestCounter(reg, log), vendor, connection}
}

func requestCounter(reg prometheus.Registerer, log *slog.Logger) *prometheus.CounterVec {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "seatwire_vendor_requests_total",
		Help: "HTTP requests to vendors by what became of them: ok, or the class of the failure.",
	}, []string{"vendor", "connection", "operation", "class"})
	if reg == nil {
		return counter
	}
	err := reg.Register(counter)
	if existing, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if shared, ok := existing.ExistingCollector.(*prometheus.CounterVec); ok {
			return shared
		}
	}
	if err != nil {
		// Counting is not worth failing for, but must not be missed in silence.
		log.Error("the metric seatwire_vendor_requests_total is taken by something else", "error", err)
	}
	return counter
}

// Count records one request. One that its caller gave up counts as transient.
func (r *Requests) Count(operation string, err error) {
	class := "ok"
	if err != nil {
		class = fault.ClassOf(err).String()
	}
	r.counter.WithLabelValues(r.vendor, r.connection, operation, class).Inc()
}
