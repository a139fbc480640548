package deprovisioner

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/deprovision"
)

// metrics are what an operator watches. Labels are from closed sets: connections, states, outcomes, reasons.
type metrics struct {
	lanes   prometheus.Gauge
	open    *prometheus.GaugeVec
	batches *prometheus.GaugeVec
	settled *prometheus.CounterVec
	groups  prometheus.Histogram
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		lanes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "deprovisioner_lanes", Help: "Connections that this replica works on.",
		}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "deprovisioner_requests_open", Help: "Requests without an outcome, on the replica that holds the lane.",
		}, []string{"connection"}),
		batches: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "deprovisioner_batches_open", Help: "Batches that are not over, by state, on the replica that holds the lane.",
		}, []string{"connection", "state"}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "deprovisioner_requests_settled_total", Help: "Requests settled, by outcome and reason.",
		}, []string{"connection", "outcome", "reason"}),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "deprovisioner_intake_group_events", Help: "Events that the intake committed in one atomic batch.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
	}
	if registry != nil {
		m.lanes = registered(registry, m.lanes)
		m.open = registered(registry, m.open)
		m.batches = registered(registry, m.batches)
		m.settled = registered(registry, m.settled)
		m.groups = registered(registry, m.groups)
	}
	return m
}

// registered returns the collector, or the one of that name that is registered already: two services of one process
// may share a registry.
func registered[C prometheus.Collector](registry prometheus.Registerer, c C) C {
	err := registry.Register(c)
	if again, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, same := again.ExistingCollector.(C); same {
			return existing
		}
	}
	return c
}

func (m *metrics) observe(connection string, b *book) {
	m.open.WithLabelValues(connection).Set(float64(len(b.open)))
	counts := map[string]int{}
	for _, batch := range b.batches {
		counts[batch.State.Public()]++
	}
	for _, state := range []deprovision.BatchState{
		deprovision.BatchSealed, deprovision.BatchHeld, deprovision.BatchApproved, deprovision.BatchSending, deprovision.BatchVerifying,
	} {
		m.batches.WithLabelValues(connection, state.Public()).Set(float64(counts[state.Public()]))
	}
}

// forget clears what a lane that is not ours any more said: its new holder says it now.
func (m *metrics) forget(connection string) {
	labels := prometheus.Labels{"connection": connection}
	m.open.DeletePartialMatch(labels)
	m.batches.DeletePartialMatch(labels)
}
