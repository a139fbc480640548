package faultbench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// powerless is the module of the disk whose power fails on command. It never meets ours.
const powerless = "../../../deploy/tools/powerloss"

// TestPowerLoss_ofTheServer takes the power from a single server while everything is at work. It syncs each message
// before it confirms it (sync_interval: always), and so whatever was confirmed is there when the power is back.
func TestPowerLoss_ofTheServer(t *testing.T) {
	t.Parallel()
	disks := newDisks(t)
	w := startWorld(t, draw(t, 440), Options{
		People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond, StoreDir: disks.mount,
	})
	for range passes(10) {
		w.blackout(rowPowerOne, func() {
			w.broker.kill()
			disks.fail(0, w.rng.Uint64())
			w.broker.start(t)
		})
	}
	w.judge()
}

// TestPowerLoss_ofNodes takes it from one node of three, or from all at once. They encrypt what they store, as a
// deployment does (seatwire nats config): a block whose end is gone has to be read all the same.
func TestPowerLoss_ofNodes(t *testing.T) {
	t.Parallel()
	disks := newDisks(t)
	w := startWorld(t, draw(t, 441), Options{
		People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond, StoreDir: disks.mount, StoreKey: "power-loss-key", Cluster: true,
	})
	for range passes(5) {
		w.blackout(rowPowerNode, func() { w.darken(disks, 1) })
		w.blackout(rowPowerAll, func() { w.darken(disks, nodes) })
	}
	w.judge()
}

// darken takes the power from n nodes at once.
func (w *world) darken(disks *disks, n int) {
	w.t.Helper()
	dark := w.rng.Perm(nodes)[:n]
	for _, i := range dark {
		w.cluster.nodes[i].kill()
	}
	for _, i := range dark {
		disks.fail(i, w.rng.Uint64())
	}
	for _, i := range dark {
		w.cluster.nodes[i].start(w.t)
	}
}

// blackout is a round through a power loss. What was confirmed before it began is compared message by message, what was
// confirmed meanwhile is known by its being answered.
func (w *world) blackout(row string, strike func()) {
	w.t.Helper()
	w.Quiet()
	before := w.confirmed()
	took := w.round(strike)
	for i := range w.cluster.size() {
		w.awaitCopies(i) // any of them may be asked
	}
	for stream, now := range w.confirmed() {
		if lost := before[stream].lost(now); len(lost) > 0 {
			found.violation(w.t, conservation, "%s: confirmed messages of %s are gone or other: %q", row, stream, lost)
		}
		found.tests(conservation, len(before[stream].messages))
	}
	found.fault(row, 1)
	w.t.Logf("%-45s everything done %s after it", row, took.Round(time.Millisecond))
}

// TestPowerLoss_isSeen takes the power from a server with its own default, to sync every two minutes: it has confirmed
// what is gone then. A bench that does not see that sees nothing.
func TestPowerLoss_isSeen(t *testing.T) {
	t.Parallel()
	const sent = 100
	disks := newDisks(t)
	n := newNode(t, "careless", disks.mount())
	host, port, _ := net.SplitHostPort(n.client) // an address of our own
	run := func() { n.run(t, "-js", "-sd", n.dir, "-a", host, "-p", port) }
	run()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	_, js := dial(t, "nats://"+n.client)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for range sent {
		if _, err := js.Publish(ctx, "s", []byte("confirmed")); err != nil {
			t.Fatal(err)
		}
	}
	n.kill()
	said := disks.fail(0, loseAll)
	run()
	s, err := js.Stream(ctx, "S") // asked as soon as the connection is back
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Fatal(err)
	}
	if err == nil && s.CachedInfo().State.Msgs == sent {
		t.Errorf("%s, and all messages are there: the disk loses nothing", said)
	}
}

// loseAll is a seed by which everything that was not synced is lost.
const loseAll = 1

// disks are directories on which power can fail, by their number.
type disks struct {
	t       *testing.T
	program string
	mounted []disk
}

type disk struct {
	commands io.Writer
	answers  *bufio.Scanner
}

func newDisks(t *testing.T) *disks {
	t.Helper()
	if *chaos == 0 {
		t.Skip("builds a file system: part of make chaos")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Getuid() != 0 {
		t.Skip("NOT TESTED: a power loss needs root and /dev/fuse")
	}
	return &disks{t: t, program: outside(t, powerless, ".", "powerloss")}
}

// mount makes the next one, and returns its directory.
func (d *disks) mount() string {
	d.t.Helper()
	dir := d.t.TempDir()
	cmd := exec.Command(d.program, dir, d.t.TempDir())
	cmd.Stderr, cmd.SysProcAttr = os.Stderr, leash()
	commands, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = commands.Close()
		if err := cmd.Wait(); err != nil {
			d.t.Errorf("unmount: %v", err)
		}
	})
	made := disk{commands, bufio.NewScanner(answers)}
	if !made.answers.Scan() || made.answers.Text() != "mounted" {
		d.t.Fatalf("the disk said %q", made.answers.Text())
	}
	d.mounted = append(d.mounted, made)
	return dir
}

// fail takes the power from the i-th disk, whose writer is dead, and returns what that cost.
func (d *disks) fail(i int, seed uint64) string {
	d.t.Helper()
	_, _ = fmt.Fprintln(d.mounted[i].commands, seed) // whoever is gone gives no answer
	if !d.mounted[i].answers.Scan() || !strings.HasPrefix(d.mounted[i].answers.Text(), "lost ") {
		d.t.Fatalf("disk %d said %q", i, d.mounted[i].answers.Text())
	}
	d.t.Logf("disk %d %s", i, d.mounted[i].answers.Text())
	return d.mounted[i].answers.Text()
}
