package streams

import (
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// Advisories holds what the broker says of messages that it gave up on. It is there when no program of ours is, so
// none of them goes unheard.
const Advisories = "SEATWIRE_ADVISORIES"

// AdvisorySubject is where the broker speaks of consumers. Its tokens: kind, stream, durable.
const AdvisorySubject = "$JS.EVENT.ADVISORY.CONSUMER"

// Kinds of advisories that end a message's way: delivered as often as its durable allows, and ended by hand.
var advisoryKinds = []string{"MAX_DELIVERIES", "MSG_TERMINATED"}

// AdvisoriesDurable is the durable through which a service hears of its own messages.
func AdvisoriesDurable(service string) string { return service + "-advisories" }

// AccountedKey is the state key of how far the messages of a durable are accounted for.
func AccountedKey(stream, durable string) string { return "accounted." + stream + "." + durable }

// addAdvisories declares the broker's advisories about every durable that was added before.
func (t *Topology) addAdvisories() {
	read := map[string][]string{} // streams that a service reads
	var subjects []string
	for _, c := range t.Consumers {
		service := c.Config.Metadata["service"]
		if slices.Contains(read[service], c.Stream) {
			continue
		}
		read[service] = append(read[service], c.Stream)
		for _, kind := range advisoryKinds {
			subjects = append(subjects, AdvisorySubject+"."+kind+"."+c.Stream+".*")
		}
	}
	t.Streams = append(t.Streams, jetstream.StreamConfig{Name: Advisories, Subjects: subjects, MaxBytes: 16 * mib, MaxAge: 30 * day})
	for _, service := range []string{Fetcher, Normalizer, Publisher, Deprovisioner} {
		var filters []string
		for _, stream := range read[service] {
			filters = append(filters, AdvisorySubject+".*."+stream+".*")
		}
		if len(filters) > 0 {
			t.Consumers = append(t.Consumers, filtered(durable(service, Advisories, AdvisoriesDurable(service), "", 1), filters...))
		}
	}
}
