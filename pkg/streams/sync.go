package streams

import (
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
)

// Services, as they name their durables, dead letters and metrics.
const (
	Fetcher       = "fetcher"
	Normalizer    = "normalizer"
	Publisher     = "productiv-publisher"
	Deprovisioner = "deprovisioner"
)

// Streams of the roster's way from Pluralsight to Productiv, in its order.
const (
	// Sync holds what anybody asked for: sync.requested.<connection>.
	Sync = "SEATWIRE_SYNC"
	// Sweeps holds accepted requests, one message per request for ever: the subject is the identity.
	Sweeps = "SEATWIRE_SWEEPS"
	// Fetched holds pages on their way to the normalizer.
	Fetched = "SEATWIRE_FETCHED"
	// Normalized holds the pages of rosters: the newest ones, and any that is held.
	Normalized = "SEATWIRE_NORMALIZED"
	// Swept is the publisher's lane: manifests, and decisions about holds.
	Swept = "SEATWIRE_SWEPT"
	// Plans holds the sealed chunks of publications: the exact bytes that Productiv is sent.
	Plans = "SEATWIRE_PLANS"
	// Owned holds, per connection and generation, whom we published.
	Owned = "SEATWIRE_OWNED"
	// Outcomes holds what we told the world.
	Outcomes = "SEATWIRE_OUTCOMES"
	// DeadLetters holds what a stage gave up on.
	DeadLetters = "SEATWIRE_DEADLETTERS"
)

// State is the bucket of small compare-and-set state: sweeps, publications, pauses.
const State = "SEATWIRE_STATE"

// Internal subjects. Their tokens are listed behind the names.
const (
	SweepAcceptedSubject      = events.Prefix + "sweep.accepted"      // connection, request key
	UsersFetchedSubject       = events.Prefix + "users.fetched"       // connection, sweep, page
	UsersNormalizedSubject    = events.Prefix + "users.normalized"    // connection, sweep, page
	UsersSweptSubject         = events.Prefix + "users.swept"         // connection, sweep
	PublicationDecidedSubject = events.Prefix + "publication.decided" // connection, sweep, hold
	PublicationChunkSubject   = events.Prefix + "publication.chunk"   // connection, sweep, plan, chunk
	PublicationOwnedSubject   = events.Prefix + "publication.owned"   // connection, generation, part
)

// FetcherIntake is the durable that accepts sync requests; lanes are per connection.
const (
	FetcherIntake     = "fetcher-intake"
	NormalizerDurable = "normalizer"
)

// FetcherLane is the durable through which the sweeps of a connection run one at a time.
func FetcherLane(connection string) string { return "fetcher-lane-" + connection }

// PublisherLane is the durable through which the publications of a connection run one at a time.
func PublisherLane(connection string) string { return "publisher-lane-" + connection }

func (t *Topology) addSync(cfg *config.Config) {
	t.Streams = append(t.Streams,
		jetstream.StreamConfig{
			Name: Sync, Subjects: []string{events.SyncRequestedSubject + ".*"},
			MaxBytes: 128 * mib, MaxAge: 30 * day, MaxMsgSize: maxMessage, Duplicates: intakeDuplicates,
		},
		keyed(jetstream.StreamConfig{
			Name: Sweeps, Subjects: []string{SweepAcceptedSubject + ".*.*"},
			MaxBytes: 128 * mib, MaxAge: 30 * day,
		}),
		// 512 MiB is how far the fetcher may run ahead of the normalizer; then it waits.
		jetstream.StreamConfig{
			Name: Fetched, Subjects: []string{UsersFetchedSubject + ".*.*.*"},
			Retention: jetstream.WorkQueuePolicy, MaxBytes: 512 * mib, MaxAge: day, AllowAtomicPublish: true,
		},
		keyed(jetstream.StreamConfig{
			Name: Normalized, Subjects: []string{UsersNormalizedSubject + ".*.*.*"},
			MaxBytes: 4 * gib, MaxAge: 90 * day,
		}),
		keyed(jetstream.StreamConfig{
			Name:     Swept,
			Subjects: []string{UsersSweptSubject + ".*.*", PublicationDecidedSubject + ".*.*.*"},
			MaxBytes: 128 * mib, MaxAge: 90 * day,
		}),
		keyed(jetstream.StreamConfig{
			Name: Plans, Subjects: []string{PublicationChunkSubject + ".*.*.*.*"},
			MaxBytes: gib, MaxAge: 30 * day,
		}),
		keyed(jetstream.StreamConfig{
			Name: Owned, Subjects: []string{PublicationOwnedSubject + ".*.*.*"},
			MaxBytes: 512 * mib,
		}),
		jetstream.StreamConfig{
			Name: Outcomes,
			Subjects: []string{
				events.RosterPublishedSubject + ".*",
				events.DeprovisionProgressedSubject + ".*.*",
				events.DeprovisionSettledSubject + ".*.*",
			},
			// A day of duplicate window: an outcome that a crash left unconfirmed is sent again under its own id.
			MaxBytes: gib, MaxAge: 90 * day, Duplicates: day, AllowAtomicPublish: true,
		},
		jetstream.StreamConfig{
			Name: DeadLetters, Subjects: []string{events.DeadLetterSubject + ".*.*"},
			MaxBytes: 512 * mib, MaxAge: 90 * day, Duplicates: day,
		},
	)
	t.Buckets = append(t.Buckets, jetstream.KeyValueConfig{Bucket: State, History: 1, MaxBytes: 64 * mib})
	t.Consumers = append(t.Consumers,
		durable(Fetcher, Sync, FetcherIntake, events.SyncRequestedSubject+".*", 64),
		durable(Normalizer, Fetched, NormalizerDurable, UsersFetchedSubject+".*.*.*", 256),
	)
	for _, c := range cfg.Connections {
		t.Consumers = append(t.Consumers,
			lane(Fetcher, Sweeps, FetcherLane(c.Name), c.Name, SweepAcceptedSubject+"."+c.Name+".*"),
			lane(Publisher, Swept, PublisherLane(c.Name), c.Name,
				UsersSweptSubject+"."+c.Name+".*", PublicationDecidedSubject+"."+c.Name+".*.*"),
		)
	}
}

// The limits add up to about 10 GiB, which the broker sets aside when the streams are declared: a million people take
// some 500 MiB of normalised pages a sweep, and two sweeps are kept.

// keyed makes the subject the key: a second message on a subject is refused, for as long as the first is kept.
func keyed(s jetstream.StreamConfig) jetstream.StreamConfig {
	s.MaxMsgsPerSubject = 1
	s.DiscardNewPerSubject = true
	s.AllowAtomicPublish = true
	return s
}

// lane declares a connection's own durable with one message in hand at most: its work is done one at a time.
func lane(service, stream, name, connection string, filters ...string) Consumer {
	c := filtered(durable(service, stream, name, "", 1), filters...)
	c.Config.Metadata["connection"] = connection
	return c
}

// filtered makes a consumer read several subjects of its stream.
func filtered(c Consumer, filters ...string) Consumer {
	c.Config.FilterSubjects = filters
	return c
}
