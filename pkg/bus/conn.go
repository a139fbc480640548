package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/fault"
)

const (
	// connectTimeout bounds one attempt; Connect goes on until its context ends.
	connectTimeout = 2 * time.Second
	reconnectWait  = 250 * time.Millisecond
	// A broken network path is noticed after pingInterval * (maxPingsOut + 1), inside the contract's 20 s.
	pingInterval = 4 * time.Second
	maxPingsOut  = 2
	drainTimeout = 5 * time.Second
	// requestTimeout is for one request to the broker whose caller set no deadline. A cluster that lost a leader
	// answers again after about six seconds.
	requestTimeout = 10 * time.Second
)

// Options say which broker, and as whom.
type Options struct {
	// URL is nats://host:port[,…]. It is ignored with InProcess.
	URL string
	// Credentials is a NATS credentials file, or one that holds a user's nkey seed. It is read again at every reconnect.
	Credentials string
	// CA, Cert and Key are PEM files; Cert and Key come together.
	CA, Cert, Key string
	// Name shows in the broker's connection list. Use the program's name.
	Name string
	// InProcess connects to an embedded server without a socket.
	InProcess nats.InProcessConnProvider
	// Registry receives the connection metrics. Nil: they are not exposed.
	Registry prometheus.Registerer
}

// Conn is a program's link to the broker. Publishing and consuming have a connection each, so that a consumer which
// falls behind and is cut off does not take the publishes with it.
type Conn struct {
	publish, consume     *nats.Conn
	publishJS, consumeJS jetstream.JetStream
	health               *health
	// changed rings when the consuming connection stands again, and when it is closed for good.
	changed *bell
}

// Connect returns when both connections stand, and keeps trying until ctx ends. From then on they reconnect for ever.
// While the broker is away a publish fails at once instead of being kept: what is buffered is stored later although
// its publisher was told that it failed.
func Connect(ctx context.Context, opts Options, log *slog.Logger) (*Conn, error) {
	c := &Conn{health: newHealth(opts.Registry, log), changed: newBell()}
	var err error
	if c.publish, c.publishJS, err = dial(ctx, opts, "publish", c.health); err != nil {
		return nil, err
	}
	if c.consume, c.consumeJS, err = dial(ctx, opts, "consume", c.health); err != nil {
		c.publish.Close()
		return nil, err
	}
	c.consume.SetReconnectHandler(func(*nats.Conn) { log.Info("consuming from NATS again"); c.changed.ring() })
	c.consume.SetClosedHandler(func(*nats.Conn) { c.changed.ring() })
	return c, nil
}

func dial(ctx context.Context, opts Options, role string, h *health) (*nats.Conn, jetstream.JetStream, error) {
	options, err := opts.nats(role)
	if err != nil {
		return nil, nil, unreachable(opts.URL, err)
	}
	nc, err := attempt(ctx, opts.URL, append(options, h.handlers(role)...))
	if err != nil {
		return nil, nil, unreachable(opts.URL, err)
	}
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		nc.Close()
		return nil, nil, unreachable(opts.URL, err)
	}
	return nc, js, nil
}

// attempt connects until it succeeds, ctx ends, or it is certain that waiting does not help. The client library could
// do the waiting, but then keeps to itself why it waits.
func attempt(ctx context.Context, urls string, options []nats.Option) (*nats.Conn, error) {
	for {
		nc, err := nats.Connect(urls, options...)
		if err == nil || hopeless(err) {
			return nc, err
		}
		if within(ctx.Done(), reconnectWait) {
			return nil, errors.Join(context.Cause(ctx), err)
		}
	}
}

// hopeless tells what only an operator can mend: a file that cannot be read, a URL that is none.
func hopeless(err error) bool {
	_, file := errors.AsType[*fs.PathError](err)
	_, address := errors.AsType[*url.Error](err)
	return file || address
}

func (o Options) nats(role string) ([]nats.Option, error) {
	options := []nats.Option{
		nats.Name(cmp.Or(o.Name, "seatwire") + " " + role),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1),
		nats.IgnoreAuthErrorAbort(), // credentials may be renewed on disk while we wait
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.DrainTimeout(drainTimeout),
	}
	if o.Credentials != "" {
		credentials, err := credentialsOption(o.Credentials)
		if err != nil {
			return nil, err
		}
		options = append(options, credentials, nats.CustomInboxPrefix(InboxPrefix(o.Name)))
	}
	if o.CA != "" {
		options = append(options, nats.RootCAs(o.CA))
	}
	if o.Cert != "" || o.Key != "" {
		options = append(options, nats.ClientCert(o.Cert, o.Key))
	}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	}
	return options, nil
}

// InboxPrefix is where a user's answers come when it has credentials: permissions then give each user a prefix of its
// own, so that nobody reads another's answers.
func InboxPrefix(user string) string { return "_INBOX_" + user }

// credentialsOption looks into the file, because the two kinds are given to the client library in different ways.
func credentialsOption(file string) (nats.Option, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(content), "NATS USER JWT") {
		return nats.UserCredentials(file), nil
	}
	return nats.NkeyOptionFromSeed(file)
}

// JS is for publishing, key-value and provisioning.
func (c *Conn) JS() jetstream.JetStream { return c.publishJS }

// ConsumeJS is for consumers.
func (c *Conn) ConsumeJS() jetstream.JetStream { return c.consumeJS }

// Healthy returns nil while both connections stand, neither lost messages as a slow consumer, and nothing was denied
// to us within the last minute.
func (c *Conn) Healthy() error {
	for _, nc := range []*nats.Conn{c.publish, c.consume} {
		if !nc.IsConnected() {
			return fault.New(fault.Transient, "nats-disconnected", "the connection %q is %s", nc.Opts.Name, strings.ToLower(nc.Status().String()))
		}
	}
	return c.health.recent()
}

// UntilDenied returns a context that ends with ctx, or when the broker denies something to our user: the broker does not
// answer a request that it denies, so whoever asked would wait in vain. Its cause is the denial then.
func (c *Conn) UntilDenied(ctx context.Context) (context.Context, context.CancelFunc) {
	guarded, cancel := context.WithCancelCause(ctx)
	denied := c.health.denials.wait()
	go func() {
		select {
		case <-denied:
			cancel(c.health.recent())
		case <-guarded.Done():
		}
	}()
	return guarded, func() { cancel(context.Canceled) }
}

// Close drains both connections and returns when they are closed, after five seconds at the latest. Stop routers and
// subscribers first: what they still hold could not be acknowledged any more.
func (c *Conn) Close() {
	for _, nc := range []*nats.Conn{c.consume, c.publish} {
		drain(nc)
	}
}

func drain(nc *nats.Conn) {
	closed := nc.StatusChanged(nats.CLOSED)
	if nc.Drain() == nil && !nc.IsClosed() {
		select {
		case <-closed:
		case <-time.After(drainTimeout):
		}
	}
	nc.Close()
}

// unreachable hides the URL's password and the client's text.
func unreachable(urls string, err error) error {
	var shown []string
	for raw := range strings.SplitSeq(urls, ",") {
		if u, parseErr := url.Parse(strings.TrimSpace(raw)); parseErr == nil && u.Host != "" {
			shown = append(shown, u.Host)
		}
	}
	class, reason, why := fault.Transient, "nats-unreachable", "no answer"
	switch path, isFile := errors.AsType[*fs.PathError](err); {
	case isFile:
		class, reason, why = fault.Permanent, "nats-file-unreadable", "cannot "+path.Op+" "+path.Path
	case hopeless(err):
		class, reason, why = fault.Permanent, "nats-bad-url", "want nats://host:port"
	case errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired):
		reason, why = "nats-unauthorized", "the credentials were refused"
	}
	where := cmp.Or(strings.Join(shown, ", "), "the configured address")
	return fault.New(class, reason, "NATS at %s: %s", where, why).Because(fmt.Errorf("connect: %w", err))
}

// bell wakes everybody who waits for it, each time that it rings.
type bell struct {
	mu    sync.Mutex
	rings chan struct{}
}

func newBell() *bell { return &bell{rings: make(chan struct{})} }

// wait returns a channel that the next ring closes.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rings
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.rings)
	b.rings = make(chan struct{})
}
