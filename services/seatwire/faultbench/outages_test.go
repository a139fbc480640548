package faultbench

import (
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/streams"
)

// outage is what can happen to a cluster of three, a row of research/reliability.md 3.2. It is over when strike returns.
type outage struct {
	row string
	// long is how often the long form has it: a tenth of the nightly count.
	long   int
	strike func(*world)
}

// replicated are streams whose leaders die: one of each stage's.
var replicated = []string{streams.Sync, streams.Sweeps, streams.Fetched, streams.Normalized, streams.Swept, streams.Ledger, streams.Outcomes}

var outages = []outage{
	{rowBrokerStop, 20, (*world).loseLeader},
	{rowPartNodes, 10, func(w *world) { w.part(func(out, in *gate) { out.close(); in.close() }) }},
	{rowNode, 10, func(w *world) { w.nodesDown(1) }},
	{rowQuorum, 10, func(w *world) { w.nodesDown(2) }},
	{rowAllDown, 10, func(w *world) { w.nodesDown(3) }},
	{rowPartOneWay, 10, func(w *world) { w.part(func(out, _ *gate) { out.close() }) }},
	{rowPartClients, 10, (*world).partClients},
}

// TestCluster_outagesLoseNothing strikes a cluster of three server processes while everything is at work: whatever was
// confirmed is there, nothing is done without a quorum, and all goes on by itself.
func TestCluster_outagesLoseNothing(t *testing.T) {
	t.Parallel()
	// One cluster only: three more servers that write through to the same disk are not ready in time.
	w := startWorld(t, draw(t, 400), Options{People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond, Cluster: true})
	for pass := range passes(20) {
		for _, o := range outages {
			if pass >= o.long {
				continue
			}
			took := w.round(func() { o.strike(w) })
			found.fault(o.row, 1)
			t.Logf("%-45s everything done %s after it", o.row, took.Round(time.Millisecond))
		}
	}
	w.judge()
}

// loseLeader kills the leader of some stream, and starts it again when another one leads.
func (w *world) loseLeader() {
	w.t.Helper()
	stream, leader := replicated[w.rng.IntN(len(replicated))], -1
	w.Await(startLimit, stream+" has a leader", func() bool { leader = w.leader(stream); return leader >= 0 })
	w.cluster.nodes[leader].kill()
	w.Await(startLimit, stream+" has another leader", func() bool { next := w.leader(stream); return next >= 0 && next != leader })
	w.cluster.nodes[leader].start(w.t)
}

// nodesDown kills n nodes and starts them again when the services have noticed that nothing can be stored, or, with a
// quorum left, some seconds later.
func (w *world) nodesDown(n int) {
	w.t.Helper()
	down := w.rng.Perm(nodes)[:n]
	for _, i := range down {
		w.cluster.nodes[i].kill()
	}
	if n > 1 {
		found.tests(backPressure, 1)
		w.Await(startLimit, "no program is ready without a quorum", func() bool { return w.all("/readyz", 503) })
	} else {
		w.pass()
	}
	for _, i := range down {
		w.cluster.nodes[i].start(w.t)
	}
}

// pass lets a second up to ten go by.
func (w *world) pass() {
	w.t.Helper()
	since, length := time.Now(), time.Duration(1000+w.rng.IntN(9000))*time.Millisecond
	w.Await(syncLimit, "an outage is over", func() bool { return time.Since(since) > length })
}

// part breaks the links of some node to the others.
func (w *world) part(shut func(out, in *gate)) {
	w.t.Helper()
	w.cluster.between(w.rng.IntN(nodes), shut)
	w.pass()
	w.cluster.heal()
}

// partClients breaks the link of every service to some node, by turns both ways and one way.
func (w *world) partClients() {
	w.t.Helper()
	p := w.cluster.clients[w.rng.IntN(nodes)]
	p.back.close()
	if w.rng.IntN(2) == 0 {
		p.forth.close()
	}
	w.pass()
	w.cluster.heal()
}
