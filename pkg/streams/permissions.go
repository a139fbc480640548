package streams

import (
	"slices"

	"github.com/seatwire/seatwire/pkg/events"
)

// Users of the broker that are no service.
const (
	// Operator is the command line's.
	Operator = "seatwire"
	// Provisioner declares the topology. It alone may.
	Provisioner = "provisioner"
)

// Permissions are the subjects that one user may publish to and subscribe to; the broker refuses everything else.
type Permissions struct {
	Publish   []string
	Subscribe []string
}

// grant is what one program does, in the topology's words. Consuming from its own durables, looking at streams and
// leaving dead letters need not be said.
type grant struct {
	// publishes are subjects, keys the state bucket's.
	publishes, keys []string
	// reads are streams whose messages it gets by subject or sequence, follows those on which it makes readers that
	// live as long as it does.
	reads, follows []string
	// purges are streams from which it frees what nothing refers to any more.
	purges []string
	// hears are subjects that no stream holds.
	hears []string
}

// StateStream is the stream of the state bucket.
const StateStream = "KV_" + State

// StateSubject is the subject of one of its keys.
func StateSubject(key string) string { return "$KV." + State + "." + key }

var grants = map[string]grant{
	Fetcher: {
		// The schedule asks through the front door, as everybody does.
		publishes: []string{
			events.SyncRequestedSubject + ".*", SweepAcceptedSubject + ".*.*",
			UsersFetchedSubject + ".*.*.*", UsersSweptSubject + ".*.*",
		},
		keys:  []string{"sweep.*"},
		reads: []string{StateStream, Sweeps},
	},
	Normalizer: {
		publishes: []string{UsersNormalizedSubject + ".*.*.*"},
		reads:     []string{StateStream, Normalized},
	},
	Publisher: {
		publishes: []string{PublicationChunkSubject + ".*.*.*.*", PublicationOwnedSubject + ".*.*.*", events.RosterPublishedSubject + ".*"},
		keys:      []string{"publication.*"},
		reads:     []string{StateStream, Sweeps, Swept, Normalized, Plans, Owned},
		purges:    []string{Normalized, Plans, Owned},
	},
	Deprovisioner: {
		publishes: []string{
			LedgerRequestSubject + ".*.*", LedgerCancelSubject + ".*.*", LedgerBatchSubject + ".*.*", LedgerSpentSubject + ".*",
			LedgerToldSubject + ".*", LedgerLaneSubject + ".*", LedgerLaneSubject + ".*.mark", BeatSubject + ".*",
			events.DeprovisionProgressedSubject + ".*.*", events.DeprovisionSettledSubject + ".*.*",
		},
		reads:   []string{StateStream, Ledger, Outcomes},
		follows: []string{Ledger},
		hears:   []string{BeatSubject + ".*"},
	},
	Operator: {
		publishes: []string{
			events.SyncRequestedSubject + ".*", events.DeprovisionRequestedSubject + ".*.*", PublicationDecidedSubject + ".*.*.*", LedgerDecisionSubject + ".*.*.*",
			// A replay goes where its dead letter came from.
			events.DeprovisionCancelledSubject + ".*.*", SweepAcceptedSubject + ".*.*", UsersFetchedSubject + ".*.*.*", UsersSweptSubject + ".*.*",
		},
		keys:    []string{"pause.*", "deadletters.run"},
		reads:   []string{StateStream, Normalized, Plans, Ledger, DeadLetters, Sweeps, Swept},
		follows: []string{Outcomes},
	},
}

// Users are the programs that have a user of their own, in the order of the flow.
func Users() []string {
	return []string{Fetcher, Normalizer, Publisher, Deprovisioner, Operator, Provisioner}
}

// Permissions returns what the user of a program may do. A service may do nothing that declares, changes or deletes a
// stream or a durable; the provisioner does nothing else, and copies streams out and back.
func (t Topology) Permissions(user string) Permissions {
	p := Permissions{Publish: t.provisioning(), Subscribe: append([]string{inbox(user)}, grants[user].hears...)}
	if user != Provisioner {
		p.Publish = slices.Concat(grants[user].subjects(), t.looking(), t.working(user))
	}
	slices.Sort(p.Publish)
	p.Publish = slices.Compact(p.Publish)
	return p
}

func (g grant) subjects() []string {
	subjects := slices.Clone(g.publishes)
	for _, key := range g.keys {
		subjects = append(subjects, StateSubject(key))
	}
	for _, s := range g.reads {
		subjects = append(subjects, read(s)...)
	}
	for _, s := range g.follows {
		subjects = append(subjects, follow(s)...)
	}
	for _, s := range g.purges {
		subjects = append(subjects, "$JS.API.STREAM.PURGE."+s)
	}
	return subjects
}

// looking is what everybody does to see whether the topology is there, and how far it is.
func (t Topology) looking() (subjects []string) {
	for _, s := range t.streamNames() {
		subjects = append(subjects, "$JS.API.STREAM.INFO."+s)
	}
	for _, s := range t.Streams {
		subjects = append(subjects, "$JS.API.CONSUMER.INFO."+s.Name+".*", "$JS.API.CONSUMER.NAMES."+s.Name)
	}
	return subjects
}

// working lets a service work through its durables and leave dead letters, and the operator take those off the list.
func (t Topology) working(user string) (subjects []string) {
	if user == Operator {
		for _, s := range []string{DeadLetters, Sweeps, Swept} { // where the subject is a key, an original makes room for its replay
			subjects = append(subjects, "$JS.API.STREAM.MSG.DELETE."+s)
		}
		return subjects
	}
	for _, c := range t.Of(user).Consumers {
		subjects = append(subjects, consume(c)...)
		subjects = append(subjects, account(c)...)
	}
	return append(subjects, events.DeadLetterSubject+"."+user+".*")
}

func (t Topology) provisioning() []string {
	// The first is asked before a bucket is made; what is restored is paused.
	subjects := []string{"$JS.API.INFO", StateSubject("pause.*")}
	for _, s := range t.streamNames() {
		for _, verb := range []string{"CREATE", "UPDATE", "SNAPSHOT", "RESTORE"} {
			subjects = append(subjects, "$JS.API.STREAM."+verb+"."+s)
		}
		subjects = append(subjects, "$JS.SNAPSHOT.ACK."+s+".>", "$JS.SNAPSHOT.RESTORE."+s+".>")
	}
	for _, s := range t.Streams {
		subjects = append(subjects, "$JS.API.CONSUMER.CREATE."+s.Name+".>")
	}
	return append(subjects, t.looking()...)
}

func (t Topology) streamNames() (names []string) {
	for _, s := range t.Streams {
		names = append(names, s.Name)
	}
	for _, b := range t.Buckets {
		names = append(names, "KV_"+b.Bucket)
	}
	return names
}

func inbox(user string) string { return "_INBOX_" + user + ".>" }

// read is to get messages, one or many, without a consumer.
func read(stream string) []string {
	return []string{"$JS.API.DIRECT.GET." + stream, "$JS.API.DIRECT.GET." + stream + ".>", "$JS.API.STREAM.MSG.GET." + stream}
}

// consume is to work through a durable that somebody else declared. The durables of lanes are all of their service's, so
// a new connection changes nobody's permissions.
func consume(c Consumer) []string {
	durable := c.Config.Durable
	if c.Config.Metadata["connection"] != "" {
		durable = "*"
	}
	at := c.Stream + "." + durable
	return []string{"$JS.API.CONSUMER.MSG.NEXT." + at, "$JS.ACK." + at + ".>"}
}

// account is to find what the broker gave up on.
func account(c Consumer) []string {
	if c.Stream == Advisories {
		return nil
	}
	durable := c.Config.Durable
	if c.Config.Metadata["connection"] != "" {
		durable = "*"
	}
	return []string{"$JS.API.STREAM.MSG.GET." + c.Stream, StateSubject(AccountedKey(c.Stream, durable))}
}

// follow is to read a stream in order from some place on, through consumers that end with their reader.
func follow(stream string) (subjects []string) {
	for _, verb := range []string{"CREATE." + stream + ".>", "MSG.NEXT." + stream + ".*", "DELETE." + stream + ".*"} {
		subjects = append(subjects, "$JS.API.CONSUMER."+verb)
	}
	return subjects
}

// PublishingSystem is another system that asks for licences back: its name is the source token of its subjects.
type PublishingSystem struct {
	Name string
	// Connections it may speak for; nil is all.
	Connections []string
}

// AddPublishingSystem declares the durables through which a system reads what became of its requests: NAME has the
// settled events, NAME-progressed the progress. It gets no right to make its own, because who may make a consumer may
// have it deliver to any subject.
func (t *Topology) AddPublishingSystem(p PublishingSystem) {
	t.Consumers = append(t.Consumers,
		filtered(durable(p.Name, Outcomes, p.Name, "", systemPending), p.subjects(events.DeprovisionSettledSubject)...),
		filtered(durable(p.Name, Outcomes, p.Name+"-progressed", "", systemPending), p.subjects(events.DeprovisionProgressedSubject)...),
	)
}

// systemPending is how many events a publishing system may hold unacknowledged.
const systemPending = 1000

func (p PublishingSystem) subjects(base string) (subjects []string) {
	if p.Connections == nil {
		return []string{events.Subject(base, "*", p.Name)}
	}
	for _, c := range p.Connections {
		subjects = append(subjects, events.Subject(base, c, p.Name))
	}
	return subjects
}

// SystemPermissions returns what the user of a publishing system may do: ask and withdraw under its own name, and read
// its own answers.
func SystemPermissions(p PublishingSystem) Permissions {
	var t Topology
	t.AddPublishingSystem(p)
	may := Permissions{
		Publish:   append(p.subjects(events.DeprovisionRequestedSubject), p.subjects(events.DeprovisionCancelledSubject)...),
		Subscribe: []string{inbox(p.Name)},
	}
	for _, c := range t.Consumers {
		may.Publish = append(may.Publish, append(consume(c), "$JS.API.CONSUMER.INFO."+c.Stream+"."+c.Config.Durable)...)
	}
	slices.Sort(may.Publish)
	return may
}
