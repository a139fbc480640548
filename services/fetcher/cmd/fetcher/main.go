// Command fetcher runs the fetcher service; see package fetcher.
package main

import (
	"os"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/fetcher"
)

func main() {
	os.Exit(process.Main(stage.Main(streams.Fetcher, config.PluralsightSecrets, fetcher.Open), os.Args[1:], os.Getenv, os.Stderr))
}
