// Command productiv-publisher runs the productiv-publisher service; see package publisher.
package main

import (
	"os"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
	publisher "github.com/seatwire/seatwire/services/productiv-publisher"
)

func main() {
	os.Exit(process.Main(stage.Main(streams.Publisher, config.ProductivSecrets, publisher.Open), os.Args[1:], os.Getenv, os.Stderr))
}
