package publisher

import (
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/stage"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Open puts a publisher on a stage, with a Productiv client for each connection that publishes.
func Open(s *stage.Stage) (stage.Service, error) {
	return New(s.Config, Deps{
		Log: s.Log, Streams: streams.At(s.JS()), Router: s.Router, Publisher: s.Publisher, State: s.State, Now: s.Now,
		OpenApp: func(c config.Connection, guard func() error) App {
			cfg := productiv.ConfigOf(*c.Productiv, s.Config.Retry, "seatwire-"+s.Name)
			cfg.Guard = guard
			return productiv.New(cfg, productiv.Deps{Log: s.Log, Registry: s.Registry, Connection: c.Name})
		},
	}), nil
}
