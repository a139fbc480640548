package seatwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	locks "sync" // this package has a function of that name
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a whole deployment in one test: both vendors, and the pipeline on an embedded server that listens, so that
// commands reach it the way an operator's do.
type world struct {
	t           *testing.T
	pluralsight *pluralsightsim.Sim
	productiv   *productivsim.Sim
	configFile  string
	stop        func()
}

const (
	testPlan = "acme"
	testKey  = "canary-key-pluralsight"
	testApp  = "app-acme"
	testTok  = "canary-token-productiv"
)

// tweak changes the configuration text of a world before it starts.
type tweak func(string) string

// replace is a tweak that must hit something.
func replaceText(old, with string) tweak {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("tweak: " + old + " is not in the configuration")
		}
		return strings.Replace(s, old, with, 1)
	}
}

// newWorld starts both vendors with n generated people, and nothing of ours.
func newWorld(t *testing.T, n int, tweaks ...tweak) *world {
	t.Helper()
	w := &world{t: t}
	w.pluralsight = pluralsightsim.New(pluralsightsim.Options{Plans: []pluralsightsim.Plan{
		pluralsightsim.Plan{Name: testPlan, Key: testKey}.Generate(n, 7),
	}})
	w.productiv = productivsim.New(productivsim.Options{Apps: []productivsim.App{{ID: testApp, AccessTokens: []string{testTok}}}})
	ps, pv := httptest.NewServer(w.pluralsight.Handler()), httptest.NewServer(w.productiv.Handler())
	t.Cleanup(func() { w.pluralsight.Close(); ps.Close(); pv.Close() })
	text := fmt.Sprintf(`
nats: {listen: %q, storeDir: %q}
retry: {initialDelay: 5ms, maxDelay: 50ms, callTimeout: 5s}
connections:
  - name: acme
    pluralsight:
      graphqlUrl: %s/graphql
      deprovisionUrl: %s/deprovision
      token: {value: %s}
    productiv:
      baseUrl: %s
      appId: %s
      accessToken: {value: %s}
    sync: {every: 0}
    guards: {maxRemovalPercent: 10, maxRemovals: 100, maxRemovalPercent24h: 20}
`, natstest.FreeAddress(t).String(), filepath.Join(t.TempDir(), "nats"), ps.URL, ps.URL, testKey, pv.URL, testApp, testTok)
	for _, change := range tweaks {
		text = change(text)
	}
	w.configFile = filepath.Join(t.TempDir(), "seatwire.yaml")
	if err := os.WriteFile(w.configFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

// up starts the pipeline, and stops it with the test.
func (w *world) up() {
	w.t.Helper()
	cfg, err := config.Load(w.configFile)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	all, err := assemble(ctx, cfg, w.t.Output(), "127.0.0.1:0", nil)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- all.run(ctx) }()
	w.stop = locks.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			w.t.Errorf("run: %v", err)
		}
		all.close()
	})
	w.t.Cleanup(w.stop)
}

// run runs one command as an operator would and returns its exit code and output.
func (w *world) run(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	code = Main(ctx, append(args, "-config", w.configFile), Env{Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &errs})
	w.t.Logf("seatwire %s → %d\n%s%s", strings.Join(args, " "), code, out.String(), errs.String())
	return code, out.String(), errs.String()
}

// sync runs a sweep to its outcome.
func (w *world) sync() events.RosterPublished {
	w.t.Helper()
	_, out, _ := w.run("sync", "acme", "--wait", "-o", "json")
	var o events.RosterPublished
	if err := json.Unmarshal([]byte(out), &o); err != nil {
		w.t.Fatalf("sync printed no outcome: %v", err)
	}
	return o
}

// wantOutcome checks an outcome and the start of its reason.
func (w *world) wantOutcome(o events.RosterPublished, outcome, reason string) {
	w.t.Helper()
	if o.Outcome != outcome || !strings.HasPrefix(o.Reason, reason) {
		w.t.Errorf("outcome %s (%s), want %s (%s…)", o.Outcome, o.Reason, outcome, reason)
	}
}

// licensed is the truth: ids of everybody on the account with an address, in order.
func (w *world) licensed() []string {
	w.t.Helper()
	people, err := w.pluralsight.People(testPlan, 0, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, p := range people {
		if p.IsOnAccount == pluralsightsim.Yes && !p.NeverLicensed && p.Email != "" {
			ids = append(ids, p.PsUserID)
		}
	}
	slices.Sort(ids)
	return ids
}

// listed is what Productiv holds, in order.
func (w *world) listed() []string {
	var ids []string
	for _, u := range w.productiv.Users(testApp) {
		ids = append(ids, u.AppUserID)
	}
	slices.Sort(ids)
	return ids
}

// wantSame checks that Productiv lists exactly the licensed.
func (w *world) wantSame() {
	w.t.Helper()
	if want, got := w.licensed(), w.listed(); !slices.Equal(want, got) {
		w.t.Errorf("Productiv lists %d people, %d are licensed, or they are others", len(got), len(want))
	}
}
