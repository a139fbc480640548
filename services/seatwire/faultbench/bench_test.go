package faultbench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// services are the programs under attack, in the order of the flow.
var services = []string{streams.Fetcher, streams.Normalizer, streams.Publisher, streams.Deprovisioner}

const (
	// startLimit is for a process to become ready, drainLimit for it to end, on a machine that is busy.
	startLimit = 5 * time.Minute
	drainLimit = 30 * time.Second
	// syncLimit is for a request to be answered, whatever strikes meanwhile: several take-overs of 20 s.
	syncLimit = 3 * time.Minute
)

// Options are a bench's size and manners.
type Options struct {
	// People on each connection's plan.
	People int
	// Others on the plans of the connections after the first; 0 is as many.
	Others int
	// Cluster has the broker be three servers, which keep everything threefold.
	Cluster bool
	// Link is a link of the services to a single server that does more than pass bytes on; nil is none.
	Link func(to io.Writer, from io.Reader)
	// Server is the program of the cluster's nodes, a file; empty is this tree's.
	Server string
	// StoreDir makes the directory of a NATS server; nil is temporary ones.
	StoreDir func() string
	// StoreKey encrypts what a cluster's nodes store; empty leaves it plain.
	StoreKey string
	// Connections by name; nil is one, "acme".
	Connections []string
	// Services that run; nil is all.
	Services []string
	// Replicas of each service; 0 is 1.
	Replicas int
	// Programs is the directory of those that are started first; "" is the ones of this tree.
	Programs string
	// PageSize of Pluralsight and BatchSize of Productiv, in people; 0 is 100 and 1000.
	PageSize, BatchSize int
	// FileSize of Pluralsight's files, in people; 0 is 100.
	FileSize int
	// VerifyWithin is how long a world waits for the proof of a removal; 0 is patient.
	VerifyWithin time.Duration
	// Latency of each vendor call.
	Latency time.Duration
	// CallTimeout of each vendor call; 0 is 30 s.
	CallTimeout time.Duration
	// Attempts of what may be repeated; 0 is 3.
	Attempts int
	// MaxDeliveries of a message before it is given up; 0 is 5.
	MaxDeliveries int
	// Deprovision holds the members of that section of each connection, as YAML; empty is the program's own defaults.
	Deprovision string
}

// Bench is a whole deployment, every part a process, with judges for vendors.
type Bench struct {
	*vendors
	t       *testing.T
	options Options
	dir     string
	// broker is a single server, or cluster three of them; the other is nil.
	broker  *broker
	cluster *cluster
	nats    interface {
		// url is where services connect, direct where the judges do; replicas is how often everything is kept.
		url() string
		direct() string
		replicas() int
	}
	replicas map[string][]*program
	topology streams.Topology
	nc       *nats.Conn
	js       jetstream.JetStream
	outcomes *outcomes

	mu       sync.Mutex
	changed  chan struct{} // closed at the next sign of life
	requests []request
	// gone is how many left a plan by Change.
	gone map[string]int
	// letters is how many dead letters are due at the end.
	letters int
}

// Start starts everything, and stops it with the test. It returns when all programs are ready.
func Start(t *testing.T, o Options) *Bench {
	t.Helper()
	o.Connections, o.Services = defaulted(o.Connections, "acme"), defaulted(o.Services, services...)
	o.Replicas, o.PageSize, o.BatchSize = cmp.Or(o.Replicas, 1), cmp.Or(o.PageSize, 100), cmp.Or(o.BatchSize, 1000)
	o.CallTimeout, o.Attempts = cmp.Or(o.CallTimeout, 30*time.Second), cmp.Or(o.Attempts, 3)
	o.Others = cmp.Or(o.Others, o.People)
	o.MaxDeliveries = cmp.Or(o.MaxDeliveries, 5)
	b := &Bench{t: t, options: o, dir: t.TempDir(), replicas: map[string][]*program{}, changed: make(chan struct{}), gone: map[string]int{}}
	b.vendors = newVendors(t, o, b.ring)
	if o.StoreDir == nil {
		o.StoreDir = t.TempDir
	}
	if o.Cluster {
		b.cluster = startCluster(t, o)
		b.nats = b.cluster
	} else {
		b.broker = startBroker(t, o.StoreDir())
		b.nats = b.broker
		if o.Link != nil {
			b.nats = linked{b.broker, startProxy(t, b.broker.client)}
			b.nats.(linked).link.speaks = o.Link
		}
	}
	b.connect()
	t.Cleanup(b.report)
	for _, service := range o.Services {
		for i := range o.Replicas {
			b.add(service, i)
		}
	}
	b.AwaitReady()
	cfg, err := config.Load(b.configure(owner{"judge", 0, 0}))
	if err != nil {
		t.Fatal(err)
	}
	b.topology = streams.For(cfg)
	b.outcomes = b.collect()
	return b
}

func defaulted(names []string, instead ...string) []string {
	if names == nil {
		return instead
	}
	return names
}

// connect is the bench's own link to the broker. It listens to everything that is stored, at the moment at which the
// broker gets it: the publisher does not know yet whether it is stored.
func (b *Bench) connect() {
	b.t.Helper()
	b.nc, b.js = dial(b.t, b.nats.direct())
	for _, subject := range []string{events.Prefix + ">", stateSubject + ">"} {
		if _, err := b.nc.Subscribe(subject, b.overhear); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

// dial connects to a broker, again and again when it is gone.
func dial(t *testing.T, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

// stateSubject is what the client library makes of the keys of the state bucket.
const stateSubject = "$KV." + streams.State + "."

func (b *Bench) overhear(m *nats.Msg) {
	a := act{subject: m.Subject}
	if strings.HasPrefix(m.Subject, streams.UsersNormalizedSubject) {
		a.by.service = streams.Normalizer
	}
	if strings.HasPrefix(m.Subject, stateSubject) {
		a.body = m.Data
	}
	b.note(a)
}

func (b *Bench) add(service string, replica int) {
	p := &program{
		service: service, replica: replica, from: cmp.Or(b.options.Programs, programs), configure: b.configure, ring: b.ring, orders: b.t.TempDir(),
	}
	p.start(b.t)
	b.replicas[service] = append(b.replicas[service], p)
	b.t.Cleanup(func() { p.thaw(); p.kill9() })
}

// configure writes the file of one process: the same for all, but for the vendors' addresses.
func (b *Bench) configure(by owner) string {
	text := fmt.Sprintf(`nats: {url: %q, replicas: %d}
retry: {maxAttempts: %d, initialDelay: 50ms, maxDelay: 1s, callTimeout: %s}
deadLetters: {maxDeliveries: %d}
connections:
`, b.nats.url(), b.nats.replicas(), b.options.Attempts, b.options.CallTimeout, b.options.MaxDeliveries)
	for _, name := range b.options.Connections {
		text += fmt.Sprintf(`  - name: %s
    pluralsight:
      graphqlUrl: %s/graphql
      deprovisionUrl: %s/deprovision
      token: {value: %s}
      pageSize: %d
    productiv:
      baseUrl: %s
      appId: %s
      accessToken: {value: %s}
      batchSize: %d
    sync: {every: 0}
    guards: {maxRemovalPercent: 100, maxRemovals: 1000000, maxRemovalPercent24h: 100}
    deprovision: {%s}
`, name, b.address(by, toPluralsight), b.address(by, toPluralsight), keyPrefix+name, b.options.PageSize,
			b.address(by, toProductiv), appOf(name), tokenPrefix+name, b.options.BatchSize, b.options.Deprovision)
	}
	file := filepath.Join(b.dir, fmt.Sprintf("%s-%d.yaml", by.service, by.replica))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		panic(err) // a test's own directory; nothing can go on without it
	}
	return file
}

// ring tells every waiter to look again.
func (b *Bench) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *Bench) changes() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// Await returns when the condition holds. It is asked after every sign of life, and now and then for what only the
// broker knows.
func (b *Bench) Await(limit time.Duration, what string, condition func() bool) {
	b.t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		changed := b.changes()
		if condition() {
			return
		}
		select {
		case <-changed:
		case <-look.C:
		case <-deadline.C:
			b.t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// every visits all programs in the order of the flow.
func (b *Bench) every(visit func(*program)) {
	for _, service := range b.options.Services {
		for _, p := range b.replicas[service] {
			visit(p)
		}
	}
}

// AwaitReady returns when every program says that it is ready.
func (b *Bench) AwaitReady() {
	b.t.Helper()
	b.Await(startLimit, "every program is ready", func() bool {
		ready := true
		b.every(func(p *program) { ready = ready && !p.readyAt().IsZero() })
		return ready
	})
}

// Kill9 kills one replica, which is gone when it returns.
func (b *Bench) Kill9(service string, replica int) { b.replicas[service][replica].kill9() }

// Restart starts a replica that is gone. It does not wait until that is ready.
func (b *Bench) Restart(service string, replica int) { b.replicas[service][replica].start(b.t) }

// Stop freezes one replica: SIGSTOP.
func (b *Bench) Stop(service string, replica int) { b.replicas[service][replica].freeze() }

// Cont lets a frozen replica go on: SIGCONT.
func (b *Bench) Cont(service string, replica int) { b.replicas[service][replica].thaw() }

// KillNATS kills the broker, which is gone when it returns.
func (b *Bench) KillNATS() { b.broker.kill() }

// RestartNATS starts the broker on its data, and returns when it answers.
func (b *Bench) RestartNATS() { b.broker.start(b.t) }

// report shows the ends of all logs when the test failed, and how far each durable is.
func (b *Bench) report() {
	if !b.t.Failed() {
		return
	}
	for _, c := range b.topology.Consumers {
		b.t.Logf("---- %s", b.standing(c.Stream, c.Config.Durable))
	}
	b.every(func(p *program) {
		b.t.Logf("---- %s replica %d, started %d times\n%s", p.service, p.replica, p.starts, p.tail(25))
	})
	for _, letter := range b.deadLetters() {
		b.t.Logf("---- dead letter %s: %s %s", letter.Subject, letter.Header.Get("Seatwire-Dead-Reason"), letter.Header.Get("Seatwire-Dead-Error"))
	}
}

// standing is what the broker says of a durable.
func (b *Bench) standing(stream, durable string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c, err := b.js.Consumer(ctx, stream, durable)
	if err != nil {
		return fmt.Sprintf("%s.%s: %v", stream, durable, err)
	}
	info := c.CachedInfo()
	leader := "alone"
	if info.Cluster != nil {
		leader = "led by " + info.Cluster.Leader
	}
	return fmt.Sprintf("%s.%s, %s: %d to come, %d out, %d again, %d ask", stream, durable, leader,
		info.NumPending, info.NumAckPending, info.NumRedelivered, info.NumWaiting)
}

// connectionOf is the connection of a Productiv app.
func connectionOf(app string) string { return strings.TrimPrefix(app, "app-") }

// subject joins a contract's subject and its tokens.
func subject(base string, tokens ...string) string { return events.Subject(base, tokens...) }
