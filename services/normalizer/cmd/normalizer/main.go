// Command normalizer runs the normalizer service; see package normalizer.
package main

import (
	"os"

	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/normalizer"
)

func main() {
	os.Exit(process.Main(stage.Main(streams.Normalizer, 0, normalizer.Open), os.Args[1:], os.Getenv, os.Stderr))
}
