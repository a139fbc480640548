package seatwire

import (
	"context"
	"fmt"
	"os/exec"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
)

// isolated starts one service of up once more, for messages that may kill a process.
func (c *invocation) isolated(service string) func() *exec.Cmd {
	if c.env.Self == "" {
		return nil
	}
	return func() *exec.Cmd {
		cmd := exec.CommandContext(context.Background(), c.env.Self, "errands", service, "-config", c.configFile) // the router ends it
		cmd.Stderr = c.env.Stderr
		return cmd
	}
}

// errands is that service: it handles the messages that it is sent on standard input.
func errands(ctx context.Context, c *invocation) error {
	args, err := c.parse(nil)
	if err != nil {
		return err
	}
	for _, s := range services {
		if len(args) == 1 && args[0] == s.name {
			cfg, err := c.configFor(config.PluralsightSecrets | config.ProductivSecrets)
			if err != nil {
				return err
			}
			return runErrands(ctx, c, cfg, s.name, s.open)
		}
	}
	return usage("takes the name of one service")
}

func runErrands(ctx context.Context, c *invocation, cfg *config.Config, name string, open func(*stage.Stage) (stage.Service, error)) error {
	s, err := stage.Open(ctx, name, stage.Deps{
		Config: cfg, Log: process.NewLogger(c.env.Stderr).With("service", name), Registry: process.NewRegistry("seatwire", process.ReadBuild()),
	})
	if err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	defer s.Close()
	if _, err := open(s); err != nil {
		return fmt.Errorf("open %s: %w", name, err)
	}
	return s.Router.RunErrands(c.env.Stdin, c.env.Stdout)
}
