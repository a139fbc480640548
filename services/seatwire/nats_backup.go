package seatwire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/seatwire/backup"
)

// natsBackup copies all streams and buckets to a directory, while the services run.
func natsBackup(ctx context.Context, c *invocation, cfg *config.Config, dir string) error {
	return asProvisioner(ctx, cfg, func(ctx context.Context, js jetstream.JetStream) error {
		m, err := backup.Take(ctx, js, streams.For(cfg), connectionNames(cfg), dir)
		if err != nil {
			return plain("no backup was made: %v", err)
		}
		return printBackup(c, m, fmt.Sprintf("backed up to %s; it holds people's addresses, so keep it as you keep those", dir))
	})
}

// natsRestore brings a backup to a server that has none of its streams, and leaves every connection paused.
func natsRestore(ctx context.Context, c *invocation, cfg *config.Config, dir string) error {
	return asProvisioner(ctx, cfg, func(ctx context.Context, js jetstream.JetStream) error {
		m, err := backup.Restore(ctx, js, dir, cfg.NATS.Replicas, connectionNames(cfg))
		if err != nil {
			return plain("not restored: %v", err)
		}
		return printBackup(c, m, fmt.Sprintf("restored as of %s; paused until `seatwire resume`: %s",
			m.Started.Format("2006-01-02 15:04:05 UTC"), strings.Join(m.Connections, ", ")))
	})
}

// asProvisioner acts as the user who may do this, and ends when the broker denies it.
func asProvisioner(ctx context.Context, cfg *config.Config, act func(context.Context, jetstream.JetStream) error) error {
	dialling, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, err := dial(dialling, cfg, streams.Provisioner)
	if err != nil {
		return err
	}
	defer conn.Close()
	guarded, stop := conn.UntilDenied(ctx)
	defer stop()
	err = act(guarded, conn.JS())
	if err != nil && ctx.Err() == nil && guarded.Err() != nil {
		return context.Cause(guarded) // the denial, which says what to do
	}
	return err
}

func connectionNames(cfg *config.Config) (names []string) {
	for _, c := range cfg.Connections {
		names = append(names, c.Name)
	}
	return names
}

func printBackup(c *invocation, m backup.Manifest, last string) error {
	if c.json {
		return printJSON(c.env.Stdout, m)
	}
	var rows [][]any
	for _, s := range m.Streams {
		rows = append(rows, []any{s.Name, s.Messages, s.LastSeq, s.Bytes, len(s.Consumers)})
	}
	err := printTable(c.env.Stdout, "stream\tmessages\tlast\tbytes\tconsumers", rows)
	_, again := fmt.Fprintln(c.env.Stdout, last)
	return errors.Join(err, again)
}
