package seatwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	locks "sync" // this package has a function of that name
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/seatwire/natsconfig"
)

// guarded is a world whose NATS server runs on what `seatwire nats config` wrote: every program has its own user.
type guarded struct {
	*world
	dir, store, url string
	registries      map[string]*prometheus.Registry
	logs            map[string]*safeLog
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	w := newWorld(t, 60, func(s string) string {
		return s + "    deprovision: {apply: auto, batchMaxAge: 100ms, verifyEvery: 100ms, protect: [\"keep@*\"]}\n"
	})
	g := &guarded{world: w, dir: t.TempDir(), store: t.TempDir(), registries: map[string]*prometheus.Registry{}, logs: map[string]*safeLog{}}
	if code, _, _ := w.run("nats", "config", "--dir", g.dir, "--at", g.dir, "--store", g.store, "--node", "localhost",
		"--publisher", "hr", "--publisher", "idp=acme"); code != 0 {
		t.Fatal("no configuration")
	}
	opts, err := server.ProcessConfigFile(filepath.Join(g.dir, "localhost.conf"))
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, true, true
	opts.JetStreamMaxStore = maxStore
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	g.url = strings.Replace(s.ClientURL(), "nats://", "tls://", 1)
	return g
}

var natsLine = regexp.MustCompile(`(?m)^nats: .*$`)

// as is the configuration file of a user.
func (g *guarded) as(user string) string {
	g.t.Helper()
	text, err := os.ReadFile(g.configFile)
	if err != nil {
		g.t.Fatal(err)
	}
	own := fmt.Sprintf("nats: {url: %q, credentials: %q, tls: {ca: %q}}", g.url,
		filepath.Join(g.dir, "users", user+".nk"), filepath.Join(g.dir, "tls", "ca.pem"))
	file := filepath.Join(g.t.TempDir(), user+".yaml")
	if err := os.WriteFile(file, natsLine.ReplaceAll(text, []byte(own)), 0o600); err != nil {
		g.t.Fatal(err)
	}
	return file
}

// command runs a command as a user.
func (g *guarded) command(user string, args ...string) (int, string) {
	g.t.Helper()
	as := *g.world
	as.configFile = g.as(user)
	code, out, _ := as.run(args...)
	return code, out
}

// start runs a service as its user until the test ends, and returns its health.
func (g *guarded) start(name string, open func(*stage.Stage) (stage.Service, error)) *process.Health {
	g.t.Helper()
	cfg, err := config.Load(g.as(name))
	if err != nil {
		g.t.Fatal(err)
	}
	registry, log := prometheus.NewRegistry(), &safeLog{}
	g.registries[name], g.logs[name] = registry, log
	health := process.NewHealth(registry)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	program := stage.Main(name, 0, open)
	go func() {
		done <- program.Run(ctx, &process.Process{Name: name, Config: cfg, Log: slog.New(slog.NewJSONHandler(log, nil)), Registry: registry, Health: health})
	}()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !strings.Contains(err.Error(), "canceled") {
			g.t.Errorf("%s: %v", name, err)
		}
	})
	return health
}

// denied is how often the broker denied something to a service.
func (g *guarded) denied(name string) (n float64) {
	g.t.Helper()
	families, err := g.registries[name].Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "seatwire_nats_permission_denied_total" {
			n += f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return n
}

// system connects as another system does: with its seed, and nothing of ours.
func (g *guarded) system(name string) (*nats.Conn, jetstream.JetStream) {
	g.t.Helper()
	key, err := nats.NkeyOptionFromSeed(filepath.Join(g.dir, "users", name+".nk"))
	if err != nil {
		g.t.Fatal(err)
	}
	nc, err := nats.Connect(g.url, key, nats.RootCAs(filepath.Join(g.dir, "tls", "ca.pem")), nats.CustomInboxPrefix("_INBOX_"+name))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	js, err := jetstream.NewWithAPIPrefix(nc, natsconfig.APIPrefix, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		g.t.Fatal(err)
	}
	return nc, js
}

// leaver is an event as hr sends it.
func leaver(id, email string) *nats.Msg {
	msg := nats.NewMsg("seatwire.v1.deprovision.requested.acme.hr")
	msg.Data = fmt.Appendf(nil, `{"email":%q,"reason":"left"}`, email)
	for name, value := range map[string]string{
		"ce-specversion": "1.0", "ce-type": events.DeprovisionRequestedType, "ce-source": "/hr", "ce-id": id, "ce-time": time.Now().UTC().Format(time.RFC3339),
	} {
		msg.Header.Set(name, value)
	}
	return msg
}

// settledFor reads hr's own durable until its request's answer comes.
func (g *guarded) settledFor(js jetstream.JetStream, id string) (settled events.DeprovisionSettled) {
	g.t.Helper()
	consumer, err := js.Consumer(g.t.Context(), streams.Outcomes, "hr")
	if err != nil {
		g.t.Fatal(err)
	}
	natstest.Eventually(g.t, patience, id+" is settled", func(context.Context) bool {
		msg, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return false
		}
		if err := msg.DoubleAck(g.t.Context()); err != nil {
			g.t.Fatal(err)
		}
		e, err := events.Read(msg.Headers(), msg.Data())
		if err != nil || json.Unmarshal(e.Data, &settled) != nil {
			g.t.Fatalf("what hr reads is no event: %v", err)
		}
		return settled.RequestID == id
	})
	return settled
}

func (g *guarded) licensedAddress() string {
	g.t.Helper()
	people, err := g.pluralsight.People(testPlan, 0, 0)
	if err != nil {
		g.t.Fatal(err)
	}
	for _, p := range people {
		if p.IsOnAccount == 0 && !p.NeverLicensed && !p.Admin && p.Email != "" {
			return p.Email
		}
	}
	g.t.Fatal("nobody holds a licence")
	return ""
}

// TestLeastPrivilege_everythingWorks runs the whole pipeline under the generated permissions: services, commands and
// another system do all that they do, and are denied nothing.
func TestLeastPrivilege_everythingWorks(t *testing.T) {
	g := newGuarded(t)
	if code, out := g.command(streams.Provisioner, "nats", "provision", "--publisher", "hr", "--publisher", "idp=acme"); code != 0 {
		t.Fatal(out)
	}
	for _, s := range services {
		g.start(s.name, s.open)
	}
	if code, _ := g.command(streams.Operator, "sync", "acme", "--wait"); code != 0 {
		t.Error("the sync failed")
	}
	g.wantSame()
	_, js := g.system("hr")
	gone := g.licensedAddress()
	if _, err := js.PublishMsg(t.Context(), leaver("leaver-1", gone)); err != nil {
		t.Fatal(err)
	}
	if s := g.settledFor(js, "leaver-1"); s.Outcome != "removed" {
		t.Errorf("settled as %s (%s)", s.Outcome, s.Reason)
	}
	g.attack(js)
	for _, args := range [][]string{
		{"status"}, {"users", "acme"}, {"publications", "list"}, {"deprovision", "list"}, {"deprovision", "list", "--batches"}, {"explain", gone},
		{"deadletters", "list"}, {"deadletters", "discard", "--all"}, {"pause", "acme"}, {"resume", "acme"},
		{"deprovision", "submit", "acme", "--email", "keep@example.com", "--source", "ops", "--reason", "test"},
	} {
		if code, out := g.command(streams.Operator, args...); code != 0 {
			t.Errorf("%v: exit %d %s", args, code, out)
		}
	}
	for _, s := range services {
		if n := g.denied(s.name); n != 0 {
			t.Errorf("%s was denied %v operations\n%s", s.name, n, g.logs[s.name])
		}
	}
	g.wantEncrypted(gone)
}

// attack sends what a publishing system must not achieve: with headers that the broker acts on, and with reply subjects
// that would have the broker's own answer stored where others read.
func (g *guarded) attack(js jetstream.JetStream) {
	g.t.Helper()
	if code, _ := g.command(streams.Operator, "pause", "acme"); code != 0 {
		g.t.Fatal("not paused")
	}
	before := g.sequences()
	for i, forged := range []nats.Header{
		{"Nats-Rollup": {"all"}}, {"Nats-Rollup": {"sub"}}, {"Nats-TTL": {"1s"}}, {"Nats-Schedule": {"@every 1s"}, "Nats-Schedule-Target": {"seatwire.v1.deprovision.requested.acme.idp"}},
		{"Nats-Expected-Last-Sequence": {"0"}}, {"Nats-Expected-Last-Subject-Sequence": {"0"}}, {"Nats-Incr": {"1"}},
		{"Nats-Batch-Id": {"b"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
	} {
		msg := leaver(fmt.Sprintf("forged-%d", i), "nobody@example.com")
		maps.Copy(msg.Header, forged)
		if _, err := js.PublishMsg(g.t.Context(), msg); err == nil {
			if s := g.settledFor(js, fmt.Sprintf("forged-%d", i)); s.Reason != "unknown-user" {
				g.t.Errorf("%v: %s %s", forged, s.Outcome, s.Reason)
			}
		}
	}
	for _, reply := range []string{
		"$KV.SEATWIRE_STATE.pause.acme", "$KV.SEATWIRE_STATE.publication.acme", "seatwire.v1.deprovision.requested.acme.idp", "seatwire.v1.deprovision.settled.acme.idp",
		"seatwire.v1.ledger.lane.acme", "seatwire.v1.publication.decided.acme.x.1",
	} {
		msg := leaver("reply-"+reply, "nobody@example.com")
		msg.Reply = reply
		if err := js.Conn().PublishMsg(msg); err != nil {
			g.t.Fatal(err)
		}
		if s := g.settledFor(js, "reply-"+reply); s.Reason != "unknown-user" {
			g.t.Errorf("%s: %s %s", reply, s.Outcome, s.Reason)
		}
	}
	if after := g.sequences(); after["KV_"+streams.State] != before["KV_"+streams.State] {
		g.t.Error("a publishing system wrote to the state bucket")
	}
	if _, out := g.command(streams.Operator, "status", "-o", "json"); !strings.Contains(out, `"paused": true`) {
		g.t.Error("a publishing system lifted the pause")
	}
	if code, _ := g.command(streams.Operator, "resume", "acme"); code != 0 {
		g.t.Error("not resumed")
	}
}

// sequences are the last ones of each stream, as the provisioner may see them.
func (g *guarded) sequences() map[string]uint64 {
	g.t.Helper()
	cfg, err := config.Load(g.as(streams.Provisioner))
	if err != nil {
		g.t.Fatal(err)
	}
	conn, err := dial(g.t.Context(), cfg, streams.Provisioner)
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	last := map[string]uint64{}
	for _, name := range []string{streams.Deprovision, "KV_" + streams.State} {
		s, err := conn.JS().Stream(g.t.Context(), name)
		if err != nil {
			g.t.Fatal(err)
		}
		last[name] = s.CachedInfo().State.LastSeq
	}
	return last
}

// wantEncrypted looks through the server's files for what went through it.
func (g *guarded) wantEncrypted(address string) {
	g.t.Helper()
	looked := 0
	err := filepath.WalkDir(g.store, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		looked += len(content)
		if bytes.Contains(content, []byte(address)) {
			g.t.Errorf("%s holds an address in clear", filepath.Base(path))
		}
		return err
	})
	if err != nil || looked == 0 {
		g.t.Errorf("looked at %d bytes: %v", looked, err)
	}
}

// TestLeastPrivilege_waitsForItsTopology starts a service before anybody declared anything: it says what is denied and
// who should act, is not ready, and goes on by itself.
func TestLeastPrivilege_waitsForItsTopology(t *testing.T) {
	g := newGuarded(t)
	health := g.start(services[0].name, services[0].open)
	address := g.serve(health)
	natstest.Eventually(t, patience, "it says what it waits for", func(context.Context) bool {
		log := g.logs[streams.Fetcher].String()
		return strings.Contains(log, "seatwire nats provision") && strings.Contains(log, "$JS.API.STREAM.CREATE.") && g.denied(streams.Fetcher) > 0
	})
	if code := readiness(t, address); code != http.StatusServiceUnavailable {
		t.Errorf("ready without its streams: %d", code)
	}
	if code, out := g.command(streams.Provisioner, "nats", "provision"); code != 0 {
		t.Fatal(out)
	}
	natstest.Eventually(t, patience, "it is ready", func(context.Context) bool { return readiness(t, address) == http.StatusOK })
	if code, _ := g.command(streams.Operator, "nats", "provision"); code == 0 {
		t.Error("the operator may provision")
	}
}

// serve answers the health's requests until the test ends.
func (g *guarded) serve(h *process.Health) (address string) {
	g.t.Helper()
	log := &safeLog{}
	stop, err := h.Serve(g.t.Context(), "127.0.0.1:0", slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(stop)
	var line struct{ Listen string }
	if err := json.Unmarshal([]byte(log.String()), &line); err != nil {
		g.t.Fatal(err)
	}
	return line.Listen
}

func readiness(t *testing.T, address string) int {
	t.Helper()
	resp, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// safeLog is a log that is read while it is written.
type safeLog struct {
	mu   locks.Mutex
	text bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
