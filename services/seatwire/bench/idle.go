package bench

import (
	"context"
	"fmt"
	"io"
	"time"
)

// idleWindow is one life of a pull: everything that comes back has come once.
const idleWindow = 15 * time.Second

// Idle measures what it costs to start n connections and to let them wait: nothing is asked of anybody.
func Idle(ctx context.Context, bin string, nodes, connections, replicas int, out io.Writer) error {
	_, err := inWorld(ctx, Options{People: connections, Connections: connections, Nodes: nodes}, func(w *world) (time.Duration, error) {
		return 0, w.idle(ctx, bin, replicas, out)
	})
	return err
}

func (w *world) idle(ctx context.Context, bin string, replicas int, out io.Writer) error {
	file, err := w.config("reconcile", "")
	if err != nil {
		return err
	}
	// The first start declares everything; the second finds it.
	var ready []time.Duration
	var asked []int64
	var running []*service
	defer func() { stopAll(running) }()
	for range 2 {
		stopAll(running)
		began := time.Now()
		before, err := w.broker.received(ctx)
		if err != nil {
			return err
		}
		if running, err = startAll(ctx, bin, file, replicas); err != nil {
			return err
		}
		ready = append(ready, time.Since(began))
		after, err := w.broker.received(ctx)
		if err != nil {
			return err
		}
		asked = append(asked, after-before)
	}
	before := w.load(running)
	messages, err := w.wait(ctx)
	if err != nil {
		return err
	}
	after := w.load(running)
	fmt.Fprintf(out, "%d nodes, %4d connections, %d replicas, idle: ready in %.1fs and %d messages, again in %.1fs and %d; "+
		"broker %.0f messages/s, %.0f%% of a core, %d MiB;",
		w.broker.Nodes, len(w.connections), replicas, ready[0].Seconds(), asked[0], ready[1].Seconds(), asked[1],
		messages, share(after.broker-before.broker), peak(w.broker.cmd.Process.Pid))
	for i, s := range running[:len(everything)] {
		fmt.Fprintf(out, " %s %.0f%%, %d MiB;", s.name, share(after.services[i]-before.services[i]), s.peak())
	}
	fmt.Fprintln(out)
	for what, n := range complaints(running) {
		fmt.Fprintf(out, "      %d x %s\n", n, what)
	}
	return nil
}

// wait lets the idle window pass and returns the messages/s that the broker got meanwhile.
func (w *world) wait(ctx context.Context) (float64, error) {
	before, err := w.broker.received(ctx)
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(idleWindow):
	}
	after, err := w.broker.received(ctx)
	return float64(after-before) / idleWindow.Seconds(), err
}

// load is processor time used.
type load struct {
	broker   time.Duration
	services []time.Duration
}

func (w *world) load(running []*service) (l load) {
	l.broker = cpu(w.broker.cmd.Process.Pid)
	for _, s := range running {
		l.services = append(l.services, cpu(s.cmd.Process.Pid))
	}
	return l
}

func share(used time.Duration) float64 { return 100 * used.Seconds() / idleWindow.Seconds() }
