package seatwire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/seatwire/natsconfig"
)

// provisionWithin bounds the declaration of a topology: a new cluster elects its leaders first.
const provisionWithin = 2 * time.Minute

// natsFlags are those of all its verbs together; each verb takes its own.
type natsFlags struct {
	dir, at, store, account string
	nodes                   []string
	systems                 []streams.PublishingSystem
}

func (f *natsFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&f.dir, "dir", "", "")
	fs.StringVar(&f.at, "at", "/etc/nats", "")
	fs.StringVar(&f.store, "store", "/data", "")
	fs.StringVar(&f.account, "account", "", "")
	fs.Func("node", "", func(s string) error { f.nodes = append(f.nodes, s); return nil })
	fs.Func("publisher", "", func(s string) error {
		name, connections, some := strings.Cut(s, "=")
		system := streams.PublishingSystem{Name: name}
		if some {
			system.Connections = strings.Split(connections, ",")
		}
		f.systems = append(f.systems, system)
		return nil
	})
}

const natsVerbs = "config, provision, resources, backup DIR or restore DIR"

// natsCommand is for whoever runs the NATS servers.
func natsCommand(ctx context.Context, c *invocation) error {
	f := &natsFlags{}
	args, err := c.parse(f.declare)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return usage("takes %s", natsVerbs)
	}
	cfg, err := c.load(config.LoadWithoutFiles) // some verbs make the files that it names
	if err != nil {
		return err
	}
	if err := f.known(cfg); err != nil {
		return err
	}
	switch verb, rest := args[0], args[1:]; {
	case verb == "config" && len(rest) == 0 && f.dir != "":
		return f.config(c, cfg)
	case verb == "provision" && len(rest) == 0:
		return f.provision(ctx, c, cfg)
	case verb == "resources" && len(rest) == 0:
		return f.resources(c, cfg)
	case verb == "backup" && len(rest) == 1:
		return natsBackup(ctx, c, cfg, rest[0])
	case verb == "restore" && len(rest) == 1:
		return natsRestore(ctx, c, cfg, rest[0])
	case verb == "config":
		return usage("config takes --dir DIR, and no arguments")
	default:
		return usage("takes %s, not %q", natsVerbs, strings.Join(args, " "))
	}
}

// known refuses a publisher for a connection that the file does not have: it could publish, and nobody would listen.
func (f *natsFlags) known(cfg *config.Config) error {
	for _, s := range f.systems {
		for _, name := range s.Connections {
			if _, err := connection(cfg, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// config writes the servers' files.
func (f *natsFlags) config(c *invocation, cfg *config.Config) error {
	nodes := f.nodes
	if len(nodes) == 0 {
		nodes = []string{"nats-1", "nats-2", "nats-3"}
	}
	result, err := natsconfig.Write(natsconfig.Config{
		Dir: f.dir, At: f.at, Store: f.store, Nodes: nodes, Topology: streams.For(cfg), Systems: f.systems,
	})
	if err != nil {
		return plainError(err.Error()) // paths and names only, and it says what to do
	}
	if c.json {
		return printJSON(c.env.Stdout, map[string]any{"dir": f.dir, "nodes": nodes, "users": result.Users, "made": result.Made})
	}
	fmt.Fprintf(c.env.Stdout, "%s: configuration of %s\nusers: %s\nnew secrets: %s\n", f.dir, strings.Join(nodes, ", "),
		strings.Join(result.Users, ", "), strings.Join(result.Made, ", "))
	return nil
}

// provision declares the topology, and the durables of publishing systems.
func (f *natsFlags) provision(ctx context.Context, c *invocation, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, provisionWithin)
	defer cancel()
	conn, err := dial(ctx, cfg, streams.Provisioner)
	if err != nil {
		return err
	}
	defer conn.Close()
	guarded, stop := conn.UntilDenied(ctx)
	defer stop()
	topology := f.topology(cfg)
	err = streams.Ensure(guarded, conn.JS(), topology)
	if errors.Is(err, context.DeadlineExceeded) {
		return plain("NATS did not take the declarations within %s; its log says why", provisionWithin)
	}
	if err != nil {
		return err
	}
	made := map[string]int{"streams": len(topology.Streams), "buckets": len(topology.Buckets), "consumers": len(topology.Consumers)}
	if c.json {
		return printJSON(c.env.Stdout, made)
	}
	fmt.Fprintf(c.env.Stdout, "declared: %d streams, %d buckets, %d consumers\n", made["streams"], made["buckets"], made["consumers"])
	return nil
}

// topology is everything that the file and the flags ask for.
func (f *natsFlags) topology(cfg *config.Config) streams.Topology {
	topology := streams.For(cfg)
	for _, s := range f.systems {
		topology.AddPublishingSystem(s)
	}
	return topology
}

// dial connects as the user of that name.
func dial(ctx context.Context, cfg *config.Config, user string) (*bus.Conn, error) {
	n := cfg.NATS
	return bus.Connect(ctx, bus.Options{
		URL: cfg.BrokerURL(), Credentials: n.Credentials, CA: n.TLS.CA, Cert: n.TLS.Cert, Key: n.TLS.Key, Name: user,
	}, slog.New(slog.DiscardHandler))
}
