package seatwire

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/exec"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/deprovisioner"
	"github.com/seatwire/seatwire/services/fetcher"
	"github.com/seatwire/seatwire/services/normalizer"
	publisher "github.com/seatwire/seatwire/services/productiv-publisher"
)

// maxStore is what the embedded server may fill: the streams' own limits add up to less.
const maxStore = 128 << 30

// services are all stages of the pipeline, in the order of the flow.
var services = []struct {
	name string
	open func(*stage.Stage) (stage.Service, error)
}{
	{streams.Fetcher, fetcher.Open},
	{streams.Normalizer, normalizer.Open},
	{streams.Publisher, publisher.Open},
	{streams.Deprovisioner, deprovisioner.Open},
}

// up runs everything until a signal.
func up(ctx context.Context, c *invocation) error {
	listen := ""
	args, err := c.parse(func(fs *flag.FlagSet) { fs.StringVar(&listen, "listen", "127.0.0.1:0", "") })
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return usage("takes no arguments")
	}
	cfg, err := c.configFor(config.PluralsightSecrets | config.ProductivSecrets)
	if err != nil {
		return err
	}
	all, err := assemble(ctx, cfg, c.env.Stderr, listen, c.isolated)
	if err != nil {
		return err
	}
	defer all.close()
	return all.run(ctx)
}

// allInOne is the pipeline in one process, and its NATS server when the file names none.
type allInOne struct {
	log      *slog.Logger
	server   *embedded.Server
	stages   []*stage.Stage
	services []stage.Service
	stop     []func()
	isolated func(service string) func() *exec.Cmd
}

// assemble starts the server and opens every service, and starts none of them. isolated starts a service once more; nil:
// that is not to be had.
func assemble(ctx context.Context, cfg *config.Config, logs io.Writer, listen string, isolated func(service string) func() *exec.Cmd) (*allInOne, error) {
	a := &allInOne{log: process.NewLogger(logs), isolated: isolated}
	if err := a.open(ctx, cfg, listen); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *allInOne) open(ctx context.Context, cfg *config.Config, listen string) (err error) {
	deps := stage.Deps{Config: cfg, Log: a.log}
	if cfg.NATS.URL == "" {
		a.server, err = embedded.Start(embedded.Config{
			StoreDir: cfg.NATS.StoreDir, Listen: cfg.NATS.Listen, SyncAlways: true, MaxStore: maxStore,
		}, a.log)
		if err != nil {
			return plainError(err.Error()) // paths and ports only, and they say what to do
		}
		deps.InProcess = a.server.InProcess()
	}
	registry := process.NewRegistry("seatwire", process.ReadBuild())
	health := process.NewHealth(registry)
	stop, err := health.Serve(ctx, listen, a.log)
	if err != nil {
		return err
	}
	a.stop = append(a.stop, stop)
	for _, s := range services {
		if err := a.add(ctx, s.name, s.open, deps, registry, health); err != nil {
			return err
		}
	}
	return nil
}

func (a *allInOne) add(ctx context.Context, name string, open func(*stage.Stage) (stage.Service, error), deps stage.Deps, registry prometheus.Registerer, health *process.Health) error {
	deps.Log = a.log.With("service", name)
	if a.isolated != nil {
		deps.Isolated = a.isolated(name)
	}
	deps.Registry = prometheus.WrapRegistererWith(prometheus.Labels{"stage": name}, registry)
	s, err := stage.Open(ctx, name, deps)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	a.stages = append(a.stages, s)
	service, err := open(s)
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	s.Register(health)
	a.services = append(a.services, service)
	return nil
}

// run works until ctx ends or a service cannot go on.
func (a *allInOne) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range a.services {
		group.Go(func() error { return s.Run(ctx) })
	}
	return group.Wait()
}

// close lets go of everything, the server last.
func (a *allInOne) close() {
	for _, s := range a.stages {
		s.Close()
	}
	for _, stop := range a.stop {
		stop()
	}
	if a.server != nil {
		a.server.Shutdown()
	}
}
