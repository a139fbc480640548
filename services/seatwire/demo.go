package seatwire

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

const (
	demoPeople     = 25_000
	demoConnection = "acme"
	demoKey        = "demo-key"
	demoApp        = "demo-app"
	demoClient     = "demo-client"
	demoSecret     = "demo-secret"
)

// demo runs the pipeline against both simulators and tells a story with figures, each checked against what the
// simulators themselves recorded. It fails when they disagree.
//
// With --attach the pipeline is one that runs already, on the NATS of -config: the demo only serves the simulators that
// the file's connection acme leads to, and tells the story.
func demo(ctx context.Context, c *invocation) error {
	t := &theatre{}
	keep, attach := false, false
	args, err := c.parse(func(fs *flag.FlagSet) {
		fs.IntVar(&t.people, "people", demoPeople, "")
		fs.BoolVar(&keep, "keep", false, "")
		fs.BoolVar(&attach, "attach", false, "")
		fs.StringVar(&t.psURL, "pluralsight-listen", "127.0.0.1:0", "")
		fs.StringVar(&t.pvURL, "productiv-listen", "127.0.0.1:0", "")
	})
	if err != nil {
		return err
	}
	if len(args) > 0 || t.people < 1000 {
		return usage("takes no arguments, and at least 1000 people")
	}
	defer t.close()
	if err := t.open(); err != nil {
		return err
	}
	if attach {
		t.configFile = c.configFile
		return t.perform(ctx, c, keep)
	}
	if t.dir, err = os.MkdirTemp("", "seatwire-demo-"); err != nil {
		return err
	}
	if err := t.play(ctx, c, keep); err != nil {
		return err // what it left behind tells why
	}
	return os.RemoveAll(t.dir)
}

// theatre is the outside world of the demo, and the file that leads ours there.
type theatre struct {
	dir         string // of the pipeline that the demo runs itself
	people      int
	pluralsight *pluralsightsim.Sim
	productiv   *productivsim.Sim
	psURL       string
	pvURL       string
	configFile  string
	servers     []*http.Server
}

// open serves both vendors on the addresses that psURL and pvURL hold, and puts their URLs there.
func (t *theatre) open() (err error) {
	t.pluralsight = pluralsightsim.New(pluralsightsim.Options{Plans: []pluralsightsim.Plan{
		pluralsightsim.Plan{Name: demoConnection, Key: demoKey}.Generate(t.people, 2026),
	}})
	t.productiv = productivsim.New(productivsim.Options{Apps: []productivsim.App{
		{ID: demoApp, ClientID: demoClient, ClientSecret: demoSecret},
	}})
	if t.psURL, err = t.serve(t.psURL, t.pluralsight.Handler()); err != nil {
		return err
	}
	t.pvURL, err = t.serve(t.pvURL, t.productiv.Handler())
	return err
}

func (t *theatre) serve(address string, h http.Handler) (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	t.servers = append(t.servers, server)
	go func() { _ = server.Serve(ln) }() // ends with close; until then every failure shows as a failed call
	return "http://" + ln.Addr().String(), nil
}

func (t *theatre) close() {
	for _, s := range t.servers {
		_ = s.Close()
	}
	if t.pluralsight != nil {
		t.pluralsight.Close()
	}
}

// freePort asks the system for a port that nobody uses now.
func freePort() (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (t *theatre) writeConfig() error {
	address, err := freePort()
	if err != nil {
		return err
	}
	text := fmt.Sprintf(`# The demo's configuration: everything not said here is the default.
nats: {listen: %q, storeDir: %q}
connections:
  - name: %s
    pluralsight:
      graphqlUrl: %s/graphql
      deprovisionUrl: %s/deprovision
      token: {value: %s}
    productiv:
      baseUrl: %s
      tokenUrl: %s/oauth2/token
      appId: %s
      clientId: %s
      clientSecret: {value: %s}
    sync: {every: 0}
    deprovision: {apply: review, batchMaxAge: 2s, verifyEvery: 1s}
`, address, filepath.Join(t.dir, "nats"), demoConnection, t.psURL, t.psURL, demoKey, t.pvURL, t.pvURL, demoApp, demoClient, demoSecret)
	t.configFile = filepath.Join(t.dir, "seatwire.yaml")
	return os.WriteFile(t.configFile, []byte(text), 0o600)
}

// play starts the pipeline and performs on it.
func (t *theatre) play(ctx context.Context, c *invocation, keep bool) error {
	if err := t.writeConfig(); err != nil {
		return err
	}
	cfg, err := config.Load(t.configFile)
	if err != nil {
		return configError{err}
	}
	logs, err := os.Create(filepath.Join(t.dir, "seatwire.log"))
	if err != nil {
		return err
	}
	defer logs.Close()
	all, err := assemble(ctx, cfg, logs, "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	defer all.close()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- all.run(running) }()
	err = t.perform(ctx, c, keep)
	stop()
	if drained := <-ended; err == nil {
		err = drained
	}
	if err != nil {
		slog.New(slog.NewTextHandler(c.env.Stderr, nil)).Error("the demo failed", "log", logs.Name())
	}
	return err
}

// perform tells the story, and with keep stays until a signal.
func (t *theatre) perform(ctx context.Context, c *invocation, keep bool) error {
	err := newStory(t, c).tell(ctx)
	if err == nil && keep {
		t.stay(ctx, c)
	}
	return err
}

func (t *theatre) stay(ctx context.Context, c *invocation) {
	fmt.Fprintf(c.env.Stdout, `
Staying up until Ctrl-C. Try it yourself:
  seatwire status -config %[1]s
  seatwire sync %[2]s --wait -config %[1]s
  Pluralsight simulator  %[3]s/_sim/
  Productiv simulator    %[4]s/_sim/
`, t.configFile, demoConnection, t.psURL, t.pvURL)
	if t.dir != "" {
		fmt.Fprintf(c.env.Stdout, "  log                    %s/seatwire.log\n", t.dir)
	}
	<-ctx.Done()
}
