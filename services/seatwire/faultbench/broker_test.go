package faultbench

import "testing"

// broker is a cluster's alternative: one NATS server.
type broker struct{ *node }

func startBroker(t *testing.T, dir string) *broker {
	t.Helper()
	b := &broker{newNode(t, "broker", dir)}
	b.start(t)
	return b
}

func (b *broker) url() string    { return "nats://" + b.client }
func (b *broker) direct() string { return b.url() }
func (b *broker) replicas() int  { return 1 }

// linked is a server that services reach over a link.
type linked struct {
	*broker
	link *proxy
}

func (l linked) url() string { return "nats://" + l.link.address() }
