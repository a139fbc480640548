package seatwire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/process"
)

// Env is what main hands over.
type Env struct {
	Getenv         func(string) string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Self is the program's own file, for what up starts of it. Empty: it starts nothing.
	Self string
}

// command is one verb. run gets what stands behind the verb.
type command struct {
	name, usage, does string
	run               func(ctx context.Context, c *invocation) error
}

// commands in the order of the help.
func commands() []command {
	return []command{
		{"up", "up", "run everything in one process, on an embedded NATS server when nats.url is empty", up},
		{"demo", "demo [--people N] [--keep]", "the same against simulators, with a story", demo},
		{"check", "check", "try configuration, NATS and each vendor; writes nothing", check},
		{"sync", "sync CONNECTION [--wait]", "request a sweep, and wait for its outcome", sync},
		{"status", "status", "each connection at a glance", status},
		{"users", "users CONNECTION [--email E]", "the roster as last swept", users},
		{"publications", "publications list | release|decline CONNECTION SWEEPID --by NAME", "see and decide held publications", publications},
		{"deprovision", "deprovision submit CONNECTION (--email E… | --csv FILE) --source TOKEN --reason R", "ask for licences back, as any other system would", deprovisionCommand},
		{"deprovision", "deprovision list [--batches] | show BATCHID", "requests and batches", deprovisionCommand},
		{"deprovision", "deprovision approve|decline BATCHID --by NAME [--sha256 H]", "decide a batch that waits for a person", deprovisionCommand},
		{"explain", "explain EMAIL", "everything about one person, in order", explain},
		{"deadletters", "deadletters list [--service S] [--connection C] [--reason R] [--older-than D] [--newer-than D] | show --sequence N", "messages that a stage gave up on", deadLetters},
		{"deadletters", "deadletters replay|discard --sequence N… | --all [the same] [--rate N]", "send them through every check again, or drop them", deadLetters},
		{"deadletters", "deadletters stop", "end the replay or discard that is under way", deadLetters},
		{"nats", "nats config --dir DIR [--node HOST]… [--publisher NAME[=CONNECTION,…]]…", "write NATS servers' configuration, users, keys and certificates", natsCommand},
		{"nats", "nats provision [--publisher NAME[=CONNECTION,…]]…", "declare streams, buckets and consumers, as the user provisioner", natsCommand},
		{"nats", "nats resources [--account NAME] [--publisher NAME[=CONNECTION,…]]…", "the same as resources for NACK, JetStream's controller on Kubernetes", natsCommand},
		{"nats", "nats backup DIR | restore DIR", "copy all streams and buckets out, or back to an empty server, paused", natsCommand},
		{"errands", "errands SERVICE", "handle what a service of up sends: it starts this itself", errands},
		{"pause", "pause CONNECTION", "stop every call that removes something at a vendor", pause},
		{"resume", "resume CONNECTION", "let removals go on", resume},
	}
}

// usageError is wrong usage: exit 2.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// Main runs one command and returns the exit code: 0 done, 1 it failed or the answer is no, 2 usage or configuration.
func Main(ctx context.Context, args []string, env Env) int {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		printHelp(env.Stdout)
		return process.ExitOK
	}
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == args[0] })
	if i < 0 {
		fmt.Fprintf(env.Stderr, "seatwire: there is no command %q; seatwire help lists them\n", args[0])
		return process.ExitUsage
	}
	c := &invocation{command: all[i], env: env, args: args[1:]}
	err := all[i].run(ctx, c)
	var wrong usageError
	var configuration configError
	switch {
	case err == nil:
		return process.ExitOK
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(env.Stdout, "usage: seatwire %s\n%s\n", c.command.usage, c.command.does)
		return process.ExitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(env.Stderr, "seatwire %s: %s; usage: seatwire %s\n", c.command.name, wrong, c.command.usage)
		return process.ExitUsage
	case errors.As(err, &configuration):
		fmt.Fprintf(env.Stderr, "seatwire: %s\n", configuration)
		return process.ExitUsage
	case errors.Is(err, errAnswerIsNo):
		return process.ExitFailure
	default:
		fmt.Fprintf(env.Stderr, "seatwire %s: %s\n", c.command.name, text(err))
		return process.ExitFailure
	}
}

// errAnswerIsNo ends a command that has already printed why the answer is no.
var errAnswerIsNo = errors.New("the answer is no")

// configError is a configuration that cannot be used: exit 2.
type configError struct{ error }

// text is what an operator is shown of an error: our own words, never a foreign body.
func text(err error) string {
	if own, ok := errors.AsType[plainError](err); ok {
		return own.Error()
	}
	return fault.Text(err)
}

// plainError is a sentence of ours for the operator.
type plainError string

func (e plainError) Error() string { return string(e) }

func plain(format string, args ...any) error { return plainError(fmt.Sprintf(format, args...)) }

func printHelp(w io.Writer) {
	fmt.Fprintln(w, "seatwire takes Pluralsight licences back and keeps Productiv's list of holders true.\n\ncommands:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-66s %s\n", c.usage, c.does)
	}
	fmt.Fprintln(w, "\nevery command takes -config FILE (default $SEATWIRE_CONFIG, then ./seatwire.yaml) and -o json")
}

// invocation is one command with its arguments.
type invocation struct {
	command command
	env     Env
	args    []string

	configFile string
	json       bool
}

// parse reads flags before, between and after the arguments, with one dash or two, and returns the arguments.
func (c *invocation) parse(declare func(*flag.FlagSet)) ([]string, error) {
	fs := flag.NewFlagSet(c.command.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.configFile, "config", process.DefaultConfig(c.env.Getenv), "")
	format := fs.String("o", "text", "")
	if declare != nil {
		declare(fs)
	}
	var rest []string
	for args := c.args; ; {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, usageError{err}
		}
		if fs.NArg() == 0 {
			break
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
	if c.json = *format == "json"; !c.json && *format != "text" {
		return nil, usage("-o is json or text")
	}
	return rest, nil
}

// config loads the file for a command that calls no vendor, as nearly all are.
func (c *invocation) config() (*config.Config, error) { return c.configFor(0) }

// configFor loads the file for a command that reads those secrets.
func (c *invocation) configFor(secrets config.Secrets) (*config.Config, error) {
	return c.load(func(file string) (*config.Config, error) { return config.LoadFor(file, secrets) })
}

func (c *invocation) load(load func(file string) (*config.Config, error)) (*config.Config, error) {
	cfg, err := load(c.configFile)
	if err != nil {
		return nil, configError{err}
	}
	return cfg, nil
}

// connection finds the connection that an argument names.
func connection(cfg *config.Config, name string) (config.Connection, error) {
	if c, known := cfg.Connection(name); known {
		return c, nil
	}
	var names []string
	for _, c := range cfg.Connections {
		names = append(names, c.Name)
	}
	return config.Connection{}, plain("no connection %q is configured; there are: %s", name, strings.Join(names, ", "))
}
