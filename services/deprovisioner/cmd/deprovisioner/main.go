// Command deprovisioner runs the deprovisioner service; see package deprovisioner.
package main

import (
	"os"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/deprovisioner"
)

func main() {
	os.Exit(process.Main(stage.Main(streams.Deprovisioner, config.PluralsightSecrets, deprovisioner.Open), os.Args[1:], os.Getenv, os.Stderr))
}
