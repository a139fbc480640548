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
	var o bench.Options
	modes := flag.String("modes", "append,reconcile", "publisher modes, in order")
	flag.IntVar(&o.People, "people", 100_000, "people in the plan")
	flag.DurationVar(&o.Latency, "latency", 0, "latency of every GraphQL call")
	flag.StringVar(&o.Bin, "bin", "bin", "where make build put the programs")
	flag.BoolVar(&o.SkipPlain, "skip-plain", false, "measure the pipeline only")
	intake := flag.Int("intake", 0, "measure the deprovisioner's intake with so many events instead")
	flag.Parse()
	if *intake > 0 {
		if err := bench.Intake(ctx, o.Bin, *intake, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	for mode := range strings.SplitSeq(*modes, ",") {
		o.Mode = mode
		if _, err := bench.Run(ctx, o, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
	}
}
