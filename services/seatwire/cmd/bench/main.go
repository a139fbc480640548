// Command bench measures the pipeline beside a plain program; see package bench.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/seatwire/seatwire/services/seatwire/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var o bench.Options
	modes := flag.String("modes", "append,reconcile", "publisher modes, in order")
	flag.IntVar(&o.People, "people", 100_000, "people in all plans together")
	flag.DurationVar(&o.Latency, "latency", 0, "latency of every GraphQL call")
	flag.StringVar(&o.Bin, "bin", "bin", "where make build put the programs")
	flag.BoolVar(&o.SkipPlain, "skip-plain", false, "measure the pipeline only")
	flag.IntVar(&o.Nodes, "nodes", 1, "nodes of the broker, 1 or 3")
	intake := flag.Int("intake", 0, "measure the deprovisioner's intake with so many events instead")
	takeOver := flag.Int("takeover", 0, "measure a deprovisioner's start with so many open requests instead")
	scale := flag.Int("scale", 0, "measure nodes, connections and replicas with so many events, and -people, instead")
	setups := flag.String("setups", "", "nodes/connections/replicas by commas, for -scale; the first is what the others are compared with")
	idle := flag.Int("idle", 0, "measure the start and the idling of so many connections instead")
	replicas := flag.Int("replicas", 1, "of each service, for -idle")
	serve := flag.String("serve", "", "be the broker of a measurement, with its data in this `DIR`, until the input ends")
	flag.Parse()
	switch {
	case *serve != "":
		return bench.Serve(*serve, o.Nodes, os.Stdin, os.Stdout)
	case *intake > 0:
		return bench.Intake(ctx, o, *intake, os.Stdout)
	case *takeOver > 0:
		return bench.TakeOver(ctx, o, *takeOver, os.Stdout)
	case *scale > 0:
		rows, err := bench.ParseSetups(*setups)
		if err != nil {
			return err
		}
		return bench.Scale(ctx, bench.Size{Bin: o.Bin, People: o.People, Events: *scale, Setups: rows}, os.Stdout)
	case *idle > 0:
		return bench.Idle(ctx, o.Bin, o.Nodes, *idle, *replicas, os.Stdout)
	}
	for mode := range strings.SplitSeq(*modes, ",") {
		o.Mode = mode
		if _, err := bench.Run(ctx, o, os.Stdout); err != nil {
			return err
		}
	}
	return nil
}
