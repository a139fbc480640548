package process

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"runtime/debug"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

// errandsMemory is enough for one message at a time, beside a parent in the same container.
const errandsMemory = 48 << 20

// isolated starts this program again with the same configuration. It shares standard error, where logs go.
func isolated(file string, log *slog.Logger) func() *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		log.Warn("this program does not know its own file; no message is handled in a process of its own")
		return nil
	}
	return func() *exec.Cmd {
		cmd := exec.CommandContext(context.Background(), self, "-config", file, "-errands") // the router ends it
		cmd.Stderr = os.Stderr
		return cmd
	}
}

// runErrands serves no health and ends with its standard input: signals are for the parent.
func runErrands(ctx context.Context, p Program, cfg *config.Config, log *slog.Logger) int {
	debug.SetMemoryLimit(errandsMemory)
	// When memory runs out, this is the process to kill. Only Linux has the file.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	registry := NewRegistry(p.Name, ReadBuild())
	err := p.Run(context.WithoutCancel(ctx), &Process{
		Name: p.Name, Config: cfg, Log: log, Registry: registry, Health: NewHealth(registry), Errands: &Errands{os.Stdin, os.Stdout},
	})
	if err != nil {
		log.Error("errands ended", "reason", fault.ReasonOf(err), "error", fault.Text(err))
		return ExitFailure
	}
	return ExitOK
}
