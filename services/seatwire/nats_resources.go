package seatwire

import (
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/services/seatwire/nack"
)

// resources prints the topology as resources for NACK. It asks no broker and no vendor.
func (f *natsFlags) resources(c *invocation, cfg *config.Config) error {
	resources, err := nack.Resources(f.topology(cfg), f.account)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c.env.Stdout, map[string]any{"apiVersion": "v1", "kind": "List", "items": resources})
	}
	return nack.Write(c.env.Stdout, resources)
}
