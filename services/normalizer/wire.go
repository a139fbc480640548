package normalizer

import (
	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/stage"
)

// Open puts a normalizer on a stage.
func Open(s *stage.Stage) (stage.Service, error) {
	return New(s.Config, Deps{Log: s.Log, JS: s.JS(), Router: s.Router, Publisher: bus.NewGroup(s.Publisher)}), nil
}
