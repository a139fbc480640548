package fetcher

import (
	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/stage"
)

// Open puts a fetcher on a stage, with a Pluralsight client for each connection.
func Open(s *stage.Stage) (stage.Service, error) {
	plans := map[string]Plans{}
	for _, c := range s.Config.Connections {
		plans[c.Name] = client(s, c)
	}
	return New(s.Config, Deps{
		Log: s.Log, JS: s.JS(), Router: s.Router, Publisher: s.Publisher, Pages: bus.NewGroup(s.Publisher), State: s.State, Plans: plans, Now: s.Now,
	}), nil
}

func client(s *stage.Stage, c config.Connection) *pluralsight.Client {
	return pluralsight.New(pluralsight.ConfigOf(c.Pluralsight, s.Config.Retry, "seatwire-"+s.Name), pluralsight.Deps{Log: s.Log, Registry: s.Registry, Connection: c.Name})
}
