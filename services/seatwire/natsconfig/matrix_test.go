package natsconfig

import (
	"context"
	"crypto/tls"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// installation is a server that runs on written files.
type installation struct {
	dir    string
	url    string
	server *server.Server
	config Config
}

func install(t *testing.T) *installation {
	t.Helper()
	cfg := config.Default()
	cfg.Connections = []config.Connection{config.DefaultConnection("acme"), config.DefaultConnection("beta")}
	i := &installation{dir: t.TempDir()}
	i.config = Config{
		Dir: i.dir, At: i.dir, Store: t.TempDir(), Nodes: []string{"localhost"}, Topology: streams.For(cfg),
		Systems: []streams.PublishingSystem{{Name: "hr"}, {Name: "idp", Connections: []string{"acme"}}},
	}
	if _, err := Write(i.config); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(filepath.Join(i.dir, "localhost.conf"))
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, 0, true, true
	opts.JetStreamMaxStore = 1 << 40 // the streams reserve their limits, whatever this disk has
	if i.server, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	i.server.Start()
	t.Cleanup(func() { i.server.Shutdown(); i.server.WaitForShutdown() })
	if !i.server.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	i.url = strings.Replace(i.server.ClientURL(), "nats://", "tls://", 1)
	return i
}

// as connects as a user; what the broker denies is noted.
func (i *installation) as(t *testing.T, user string) (*nats.Conn, *denials) {
	t.Helper()
	noted := &denials{subjects: map[string]int{}}
	key, err := nats.NkeyOptionFromSeed(filepath.Join(i.dir, "users", user+".nk"))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(i.url, key, nats.RootCAs(filepath.Join(i.dir, "tls", "ca.pem")),
		nats.CustomInboxPrefix("_INBOX_"+user), nats.ErrorHandler(noted.note))
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	t.Cleanup(nc.Close)
	return nc, noted
}

type denials struct {
	mu       sync.Mutex
	subjects map[string]int
}

func (d *denials) note(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	_, rest, _ := strings.Cut(err.Error(), `"`)
	subject, _, _ := strings.Cut(rest, `"`)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subjects[subject]++
}

func (d *denials) len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.subjects)
}

// concrete fills in the wildcards of a subject.
func concrete(subject string) string {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		switch token {
		case "*":
			tokens[i] = "acme"
		case ">":
			tokens[i] = "any.thing"
		}
	}
	return strings.Join(tokens, ".")
}

// covered reports whether one of the patterns takes the subject.
func covered(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return server.SubjectsCollide(p, subject) })
}

// apis are JetStream's requests about one stream.
func apis(stream string) (subjects []string) {
	for _, verb := range []string{
		"STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE", "STREAM.INFO", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.SNAPSHOT",
		"STREAM.RESTORE", "STREAM.PEER.REMOVE", "STREAM.LEADER.STEPDOWN", "CONSUMER.NAMES", "CONSUMER.LIST", "DIRECT.GET",
	} {
		subjects = append(subjects, "$JS.API."+verb+"."+stream)
	}
	for _, verb := range []string{
		"CONSUMER.CREATE", "CONSUMER.DURABLE.CREATE", "CONSUMER.INFO", "CONSUMER.DELETE", "CONSUMER.MSG.NEXT", "CONSUMER.PAUSE", "CONSUMER.UNPIN",
		"CONSUMER.LEADER.STEPDOWN",
	} {
		subjects = append(subjects, "$JS.API."+verb+"."+stream+".somebody")
	}
	return append(subjects, "$JS.ACK."+stream+".somebody.1.1.1.1.0")
}

// universe is everything that anybody could want to publish to.
func (c Config) universe() []string {
	subjects := []string{
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.ACCOUNT.PURGE.SEATWIRE", "$JS.API.META.LEADER.STEPDOWN",
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.SEATWIRE.CONNZ", "$SYS.ACCOUNT.SEATWIRE.DISCONNECT", "anything",
		"$KV.SEATWIRE_STATE.anything", "seatwire.v1.deprovision.requested.acme.nobody", "seatwire.v1.deprovision.requested.beta.idp",
	}
	for _, s := range names(c.Topology) {
		subjects = append(subjects, apis(s)...)
	}
	for _, s := range c.Topology.Streams {
		for _, subject := range s.Subjects {
			subjects = append(subjects, concrete(subject))
		}
	}
	for _, may := range c.everybody() {
		for _, subject := range may.Publish {
			subjects = append(subjects, concrete(subject))
		}
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

func (c Config) everybody() map[string]streams.Permissions {
	all := map[string]streams.Permissions{}
	for _, name := range streams.Users() {
		all[name] = c.Topology.Permissions(name)
	}
	for _, s := range c.Systems {
		all[s.Name] = user{may: streams.SystemPermissions(s)}.abroad().may
	}
	return all
}

// TestMatrix lets every user try every subject that is not its own, and counts the refusals.
func TestMatrix(t *testing.T) {
	t.Parallel()
	i := install(t)
	published, subscribed := 0, 0
	for user, may := range i.config.everybody() {
		nc, noted := i.as(t, user)
		tried := map[string]bool{}
		for _, subject := range i.config.universe() {
			if !covered(may.Publish, subject) {
				tried[subject] = true
				if err := nc.Publish(subject, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		published += len(tried)
		for _, subject := range i.ears(may) {
			tried[subject] = true
			subscribed++
			if _, err := nc.SubscribeSync(subject); err != nil {
				t.Fatal(err)
			}
		}
		if err := nc.FlushTimeout(patience); err != nil {
			t.Fatal(err)
		}
		natstest.Eventually(t, patience, user+" is refused everything", func(context.Context) bool { return noted.len() == len(tried) })
		for subject := range tried {
			if noted.subjects[subject] == 0 {
				t.Errorf("%s was not refused %s", user, subject)
			}
		}
	}
	t.Logf("%d users: %d publishes and %d subscriptions tried and refused", len(i.config.everybody()), published, subscribed)
}

// ears are what a user must not hear: others' answers, the system's events, and everything.
func (i *installation) ears(may streams.Permissions) (subjects []string) {
	all := []string{">", "seatwire.>", "$JS.>", "$KV.>", "$SYS.>", "_INBOX.>", "$JS.EVENT.ADVISORY.>", "seatwire.v1.deprovision.settled.acme.hr", "seatwire.v1.beat.deprovisioner.*"}
	for user := range i.config.everybody() {
		all = append(all, "_INBOX_"+user+".>")
	}
	return slices.DeleteFunc(all, func(s string) bool { return slices.Contains(may.Subscribe, s) })
}

// Nobody else may, whatever the table of grants says: the rules are written out once more, by effect.
func TestRules(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Connections = []config.Connection{config.DefaultConnection("acme")}
	c := Config{Topology: streams.For(cfg), Systems: []streams.PublishingSystem{{Name: "hr"}, {Name: "idp", Connections: []string{"acme"}}}}
	for subject, owners := range map[string][]string{
		"$JS.API.STREAM.DELETE.SEATWIRE_LEDGER":                        nil,
		"$JS.API.STREAM.PURGE.SEATWIRE_LEDGER":                         nil,
		"$JS.API.STREAM.PURGE.SEATWIRE_NORMALIZED":                     {streams.Publisher},
		"$JS.API.STREAM.MSG.DELETE.SEATWIRE_LEDGER":                    nil,
		"$JS.API.STREAM.MSG.DELETE.SEATWIRE_DEADLETTERS":               {streams.Operator},
		"$JS.API.STREAM.CREATE.SEATWIRE_SYNC":                          {streams.Provisioner},
		"$JS.API.STREAM.UPDATE.SEATWIRE_SYNC":                          {streams.Provisioner},
		"$JS.API.CONSUMER.CREATE.SEATWIRE_DEPROVISION.thief":           {streams.Provisioner},
		"$JS.API.CONSUMER.DELETE.SEATWIRE_SWEEPS.fetcher-lane-acme":    nil,
		"$JS.API.CONSUMER.MSG.NEXT.SEATWIRE_SWEPT.publisher-lane-acme": {streams.Publisher},
		"$JS.ACK.SEATWIRE_DEPROVISION.deprovisioner-intake.1.1.1.1.0":  {streams.Deprovisioner},
		"$KV.SEATWIRE_STATE.pause.acme":                                {streams.Operator, streams.Provisioner},
		"$KV.SEATWIRE_STATE.publication.acme":                          {streams.Publisher},
		"seatwire.v1.deprovision.requested.acme.hr":                    {"hr", streams.Operator},
		"seatwire.v1.deprovision.requested.beta.idp":                   {streams.Operator},
		"seatwire.v1.deprovision.settled.acme.hr":                      {streams.Deprovisioner},
		"seatwire.v1.roster.published.acme":                            {streams.Publisher},
		"seatwire.v1.users.normalized.acme.s.0000001-1":                {streams.Normalizer},
		"seatwire.v1.ledger.decision.acme.b.1":                         {streams.Operator},
		"seatwire.v1.ledger.batch.acme.b":                              {streams.Deprovisioner},
		"seatwire.v1.deadletter.fetcher.acme":                          {streams.Fetcher},
	} {
		var may []string
		for user, p := range c.everybody() {
			if covered(p.Publish, subject) {
				may = append(may, user)
			}
		}
		slices.Sort(may)
		slices.Sort(owners)
		if !slices.Equal(may, owners) {
			t.Errorf("%s: %v may publish, want %v", subject, may, owners)
		}
	}
}

// Without TLS, or with another authority, nobody gets in; neither does a stranger.
func TestStrangers(t *testing.T) {
	t.Parallel()
	i := install(t)
	ca := nats.RootCAs(filepath.Join(i.dir, "tls", "ca.pem"))
	key, err := nats.NkeyOptionFromSeed(filepath.Join(i.dir, "users", "hr.nk"))
	if err != nil {
		t.Fatal(err)
	}
	for name, options := range map[string][]nats.Option{
		"no credentials":    {ca},
		"another authority": {key},
		"an old TLS":        {key, ca, func(o *nats.Options) error { o.TLSConfig.MaxVersion = tls.VersionTLS12; return nil }},
	} {
		if nc, err := nats.Connect(i.url, options...); err == nil {
			nc.Close()
			t.Errorf("%s: let in", name)
		}
	}
}

// names are the broker's streams, the bucket's included.
func names(t streams.Topology) (all []string) {
	for _, s := range t.Streams {
		all = append(all, s.Name)
	}
	for _, b := range t.Buckets {
		all = append(all, "KV_"+b.Bucket)
	}
	return all
}

// The reason that publishing systems have accounts of their own: within one, the broker lets a request name any subject
// for its answer. When this fails, NATS has begun to look, and deploy/decisions/0006 can be thought over.
func TestBroker_doesNotCheckReplySubjects(t *testing.T) {
	t.Parallel()
	i := install(t)
	provisioner, _ := i.as(t, streams.Provisioner)
	js, err := jetstream.New(provisioner)
	if err != nil {
		t.Fatal(err)
	}
	if err := streams.Ensure(t.Context(), js, i.config.Topology); err != nil {
		t.Fatal(err)
	}
	normalizer, _ := i.as(t, streams.Normalizer)
	msg := &nats.Msg{Subject: "seatwire.v1.users.normalized.acme.s.1", Reply: "$KV.SEATWIRE_STATE.pause.acme"}
	if err := normalizer.PublishMsg(msg); err != nil {
		t.Fatal(err)
	}
	bucket, err := js.Stream(t.Context(), "KV_"+streams.State)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, "the answer lies in the state bucket", func(ctx context.Context) bool {
		info, err := bucket.Info(ctx)
		return err == nil && info.State.Msgs == 1
	})
}
