package bus

import (
	"strings"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// reserved begins the headers that the broker acts on: a rollup would purge, a schedule would fire.
const reserved = "Nats-"

// marshal is watermill-nats' wire format: the payload as it is, metadata as headers, the UUID in a header of its own.
func marshal(subject string, m *message.Message) (*nats.Msg, error) {
	return (&wmnats.NATSMarshaler{}).Marshal(subject, m)
}

// unmarshal reads that format from anybody's message and cannot fail, unlike watermill-nats': a header with several
// values gives its first one here and keeps all of them in Delivery.Header; the broker's headers are left out.
func unmarshal(m *nats.Msg) *message.Message {
	header := m.Header
	msg := message.NewMessage(header.Get(wmnats.WatermillUUIDHdr), m.Data)
	for name, values := range header {
		if name == wmnats.WatermillUUIDHdr || strings.HasPrefix(name, reserved) || len(values) == 0 {
			continue
		}
		msg.Metadata.Set(name, values[0])
	}
	return msg
}
