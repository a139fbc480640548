package deprovisioner

import (
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/stage"
)

// Open puts a deprovisioner on a stage: one Pluralsight client for each connection.
func Open(s *stage.Stage) (stage.Service, error) {
	plans := map[string]Pluralsight{}
	for _, c := range s.Config.Connections {
		plans[c.Name] = pluralsight.New(pluralsight.ConfigOf(c.Pluralsight, s.Config.Retry, "seatwire-"+s.Name),
			pluralsight.Deps{Log: s.Log, Registry: s.Registry, Connection: c.Name})
	}
	return New(s.Config, Deps{
		Conn: s.Conn, Router: s.Router, Plans: plans, Log: s.Log, Registry: s.Registry, Now: s.Now,
	}), nil
}
