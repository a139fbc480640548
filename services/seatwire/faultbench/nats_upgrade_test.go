package faultbench

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// previousServer is the module that pins the release before this tree's. A new minor release moves it.
const previousServer = "../../../deploy/tools/nats-previous"

// TestNATSUpgrade_nodeByNodeAndBack takes a cluster of the previous minor release of the NATS server to this tree's and
// back, one node at a time as deploy/runbooks/upgrade.md says: SIGTERM, the other program on the same data, and the next one only when
// this one's copies are as new as the others'. Everything is at work meanwhile, and nothing may show it.
func TestNATSUpgrade_nodeByNodeAndBack(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("builds the previous NATS server: part of make chaos")
	}
	old := outside(t, previousServer, "tool", "nats-server")
	current := filepath.Join(programs, "nats-server")
	w := startWorld(t, draw(t, 420), Options{
		People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond, Cluster: true, Server: old,
	})
	w.wantDone(w.Sync("acme")) // something that the old version wrote
	from := w.cluster.nodes[0].version()
	if from == "" || from == server.VERSION {
		t.Fatalf("the previous release is %q and this tree's %s: nothing is shown", from, server.VERSION)
	}
	for range passes(1) {
		w.upgrade(current, server.VERSION)
		w.upgrade(old, from)
		found.fault(rowNATSUpgrade, 1)
	}
	w.judge()
}

// upgrade replaces every node's program, in any order.
func (w *world) upgrade(program, version string) {
	w.t.Helper()
	for _, i := range w.rng.Perm(nodes) {
		took := w.round(func() { w.replaceNode(i, program) })
		if got := w.cluster.nodes[i].version(); got != version {
			w.t.Fatalf("node %d runs %q where %s is due", i, got, version)
		}
		w.t.Logf("node %d runs %s: everything done %s after its copies were whole", i, version, took.Round(time.Millisecond))
	}
}

// replaceNode has another program go on with a node's data, and returns when it has what the others have.
func (w *world) replaceNode(i int, program string) {
	w.t.Helper()
	n, began := w.cluster.nodes[i], time.Now()
	n.terminate(w.t)
	stopped := time.Now()
	n.program = program
	n.start(w.t)
	w.awaitCopies(i)
	w.t.Logf("node %d: ended after %s, caught up %s later", i, stopped.Sub(began).Round(time.Millisecond), time.Since(stopped).Round(time.Millisecond))
}

// awaitCopies returns when a node's copies are whole. Until then it answers as if what it lacks were not there.
func (b *Bench) awaitCopies(i int) {
	b.t.Helper()
	b.Await(startLimit, b.cluster.nodes[i].name+" has caught up", func() bool { return b.caughtUp(i) })
}

// caughtUp reports whether a node's copies are whole: it says so itself, of the meta group, streams and durables, and
// the leader of each stream says so of all.
func (b *Bench) caughtUp(i int) bool {
	if !b.cluster.nodes[i].healthy() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, whole := b.js.ListStreams(ctx), 0
	for info := range all.Info() {
		if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != nodes-1 {
			return false
		}
		for _, r := range info.Cluster.Replicas {
			if !r.Current || r.Offline || r.Lag > 0 {
				return false
			}
		}
		whole++
	}
	return all.Err() == nil && whole == len(b.topology.Streams)+len(b.topology.Buckets)
}
