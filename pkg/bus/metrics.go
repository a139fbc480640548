package bus

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
)

// Outcomes of a delivery, beside the reasons of dead letters.
const (
	outcomeHandled       = "handled"
	outcomeFailed        = "failed"
	outcomeThrottled     = "throttled"
	outcomeInterrupted   = "interrupted"
	outcomeUndeliverable = "dead-letter-not-stored"
)

type routerMetrics struct {
	service  string
	handled  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	running  *prometheus.GaugeVec
	blocked  *prometheus.GaugeVec
}

func newRouterMetrics(service string, registry prometheus.Registerer) *routerMetrics {
	return &routerMetrics{
		service: service,
		handled: register(registry, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "seatwire_messages_total", Help: "Deliveries, by what became of them; dead letters by their reason.",
		}, []string{"service", "handler", "outcome"})),
		duration: register(registry, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "seatwire_message_duration_seconds", Help: "Time in the handler, retries of a hiccup included.",
			Buckets: []float64{.001, .01, .05, .25, 1, 5, 30, 120, 600, 3600},
		}, []string{"service", "handler"})),
		running: register(registry, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "seatwire_messages_in_flight", Help: "Messages being handled.",
		}, []string{"service", "handler"})),
		blocked: register(registry, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "seatwire_dead_letters_blocked", Help: "1 while dead letters cannot be stored and their messages stay.",
		}, []string{"service"})),
	}
}

type outcomeKey struct{}

// setOutcome tells the metrics, the outermost middleware, what an inner one decided.
func setOutcome(ctx context.Context, outcome string) {
	if o, ok := ctx.Value(outcomeKey{}).(*string); ok {
		*o = outcome
	}
}

func (r *routerMetrics) observe(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		handler := message.HandlerNameFromCtx(m.Context())
		outcome := outcomeHandled
		m.SetContext(context.WithValue(m.Context(), outcomeKey{}, &outcome))
		r.running.WithLabelValues(r.service, handler).Inc()
		defer r.running.WithLabelValues(r.service, handler).Dec()
		started := time.Now()
		out, err := next(m)
		r.duration.WithLabelValues(r.service, handler).Observe(time.Since(started).Seconds())
		r.handled.WithLabelValues(r.service, handler, outcome).Inc()
		return out, err
	}
}
