package seatwire

import (
	"context"
	"fmt"
	"time"

	"github.com/seatwire/seatwire/pkg/state"
)

func pause(ctx context.Context, c *invocation) error  { return setPaused(ctx, c, true) }
func resume(ctx context.Context, c *invocation) error { return setPaused(ctx, c, false) }

// setPaused writes the switch that every removal asks.
func setPaused(ctx context.Context, c *invocation, paused bool) error {
	return withSession(ctx, c, nil, onConnection(func(s *session, name string) error {
		if err := state.SetPaused(ctx, s.state, name, paused, time.Now().UTC()); err != nil {
			return err
		}
		if c.json {
			return printJSON(c.env.Stdout, map[string]any{"connection": name, "paused": paused})
		}
		verb := "paused: nothing is removed at any vendor until resume"
		if !paused {
			verb = "resumed"
		}
		_, err := fmt.Fprintf(c.env.Stdout, "%s %s\n", name, verb)
		return err
	}))
}
