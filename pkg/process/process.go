// Package process is what every service's main needs and nothing else: flags, configuration, logs, signals, a health
// server, and the exit code.
//
// A main is then:
//
//	func main() {
//		os.Exit(process.Main(process.Program{Name: "fetcher", Run: run}, os.Args[1:], os.Getenv, os.Stderr))
//	}
//
// and run wires and runs the service. Main only returns: leaving the process is main's. The exit code is 0 after a
// drain, 1 when the service failed, 2 for wrong usage or configuration, which starts nothing.
package process

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

// Exit codes, as the contract has them.
const (
	ExitOK      = 0
	ExitFailure = 1
	ExitUsage   = 2
)

// Program is one service.
type Program struct {
	// Name is the program's, such as "fetcher": it stands in usage, log lines and metrics.
	Name string
	// Secrets are the vendors' that it reads: their presence is checked before it starts.
	Secrets config.Secrets
	// Run does the work until ctx ends, then drains and returns nil. ctx ends at SIGTERM or SIGINT; a second signal
	// kills. An error means that the service cannot go on; its supervisor should start it again.
	Run func(ctx context.Context, p *Process) error
}

// Process is what a service is given to work with.
type Process struct {
	// Name is the program's.
	Name string
	// Config is loaded and checked, the program's own secrets included.
	Config *config.Config
	// Log writes JSON to standard error, scrubbed of addresses.
	Log *slog.Logger
	// Registry feeds /metrics.
	Registry *prometheus.Registry
	// Health feeds /readyz: the service registers its checks here.
	Health *Health
	// Errands is set in a program that another instance of itself started, to handle the messages that it is sent.
	Errands *Errands
	// Isolated returns the command that starts such an instance; its standard streams but the error are the caller's.
	Isolated func() *exec.Cmd
}

// Errands are the pipes to the parent.
type Errands struct {
	In  io.Reader
	Out io.Writer
}

// Main runs the program until a signal or a failure, and returns the exit code. args are the arguments without the
// program's name.
func Main(p Program, args []string, getenv func(string) string, stderr io.Writer) int {
	tuneMemory(getenv)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	// From the first signal on, the next one has its default effect: a drain that hangs can be killed by hand.
	context.AfterFunc(ctx, stop)
	return start(ctx, p, args, getenv, stderr)
}

// start is Main with the signals already turned into a context, which is what tests give it.
func start(ctx context.Context, p Program, args []string, getenv func(string) string, stderr io.Writer) int {
	f, err := parseFlags(p.Name, args, getenv, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return ExitOK
	case err != nil:
		fmt.Fprintf(stderr, "%s: %s; %s -h lists the flags\n", p.Name, oneLine(err.Error()), p.Name)
		return ExitUsage
	}
	cfg, err := config.LoadFor(f.config, p.Secrets)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", p.Name, oneLine(err.Error()))
		return ExitUsage
	}
	log := NewLogger(stderr).With("service", p.Name)
	if f.errands {
		return runErrands(ctx, p, cfg, log)
	}
	if err := serve(ctx, p, cfg, f, log); err != nil {
		log.Error("stopped by a failure", "reason", fault.ReasonOf(err), "error", err.Error())
		return ExitFailure
	}
	return ExitOK
}

type flags struct {
	config, listen string
	errands        bool
}

func parseFlags(name string, args []string, getenv func(string) string, stderr io.Writer) (flags, error) {
	var f flags
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // an error is one line, ours; only -h prints the flags
	fs.StringVar(&f.config, "config", DefaultConfig(getenv), "configuration `FILE` (default $SEATWIRE_CONFIG, then ./seatwire.yaml)")
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "`ADDR` to serve /livez, /readyz and /metrics on")
	fs.BoolVar(&f.errands, "errands", false, "handle messages from standard input: what the program starts itself with")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fs.SetOutput(stderr)
		fmt.Fprintf(stderr, "Usage of %s:\n", name)
		fs.PrintDefaults()
	}
	if err == nil && fs.NArg() > 0 {
		err = errors.New("takes no arguments, only flags")
	}
	return f, err
}

// DefaultConfig is the configuration file of a program that was given no -config.
func DefaultConfig(getenv func(string) string) string {
	return cmp.Or(getenv("SEATWIRE_CONFIG"), "./seatwire.yaml")
}

// serve answers health requests for as long as the service runs, its drain included.
func serve(ctx context.Context, p Program, cfg *config.Config, f flags, log *slog.Logger) error {
	build := ReadBuild()
	registry := NewRegistry(p.Name, build)
	health := NewHealth(registry)
	stop, err := health.Serve(ctx, f.listen, log.With("version", build.Version, "revision", build.Revision))
	if err != nil {
		return err
	}
	defer stop()
	err = p.Run(ctx, &Process{Name: p.Name, Config: cfg, Log: log, Registry: registry, Health: health, Isolated: isolated(f.config, log)})
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) { // the signal's own echo is no failure
		log.Info("drained")
		return nil
	}
	return err
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
