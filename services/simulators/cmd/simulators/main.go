// Command simulators serves both vendors on two ports: Pluralsight with a plan of invented people, and Productiv with one
// application whose list is empty. Both keep their state in memory, and both have a page under /_sim/.
//
// Credentials are fixed and worth nothing (see the README); the control pages ask for none, so the default is the loopback
// interface.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// grace is how long calls under way may take after SIGTERM. Faults make some that never end; they are cut off then.
const grace = 2 * time.Second

// config is what the flags say.
type config struct {
	pluralsight, productiv string // addresses to listen on
	people                 int
	seed                   uint64
}

func main() {
	var c config
	flag.StringVar(&c.pluralsight, "pluralsight-listen", "127.0.0.1:0", "`address` of the Pluralsight simulator")
	flag.StringVar(&c.productiv, "productiv-listen", "127.0.0.1:0", "`address` of the Productiv simulator")
	flag.IntVar(&c.people, "people", 250, "`number` of invented people in the Pluralsight plan")
	flag.Uint64Var(&c.seed, "seed", 1, "`seed` of the people and of faults by chance")
	flag.Parse()
	if flag.NArg() > 0 || c.people < 0 {
		fmt.Fprintln(os.Stderr, "simulators: no arguments are taken, and -people is 0 or more")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(ctx, c, log); err != nil {
		log.Error("simulators stopped", "error", err.Error())
		os.Exit(1)
	}
}

// run serves until the context ends, which is a plain stop, or until a server fails.
func run(ctx context.Context, c config, log *slog.Logger) error {
	var listen net.ListenConfig
	pluralsight, err := listen.Listen(ctx, "tcp", c.pluralsight)
	if err != nil {
		return err
	}
	productiv, err := listen.Listen(ctx, "tcp", c.productiv)
	if err != nil {
		return errors.Join(err, pluralsight.Close())
	}
	log.Info("simulators ready", "pluralsight", pluralsight.Addr().String(), "productiv", productiv.Addr().String())

	ctx, stop := context.WithCancel(ctx)
	failures := make(chan error, 2)
	go func() { defer stop(); failures <- serve(ctx, pluralsight, plan(c).Handler()) }()
	go func() { defer stop(); failures <- serve(ctx, productiv, app(c).Handler()) }()
	return errors.Join(<-failures, <-failures)
}

// serve answers on l until the context ends. There is no limit on the time of an answer: faults make slow ones.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	forget := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close() // what a fault holds up ends here
		}
	})
	defer forget()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-stopped
	return nil
}

func plan(c config) *pluralsightsim.Sim {
	demo := pluralsightsim.Plan{Name: "demo", Key: "demo-pluralsight-key"}
	return pluralsightsim.New(pluralsightsim.Options{
		Plans: []pluralsightsim.Plan{demo.Generate(c.people, c.seed)}, Seed: c.seed,
	})
}

func app(c config) *productivsim.Sim {
	return productivsim.New(productivsim.Options{Seed: c.seed, Apps: []productivsim.App{
		{ID: "demo-app", ClientID: "demo-client", ClientSecret: "demo-secret"},
	}})
}
