package fetcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	acme = "acme"
	// patience is how long a test waits for what must happen; a passing test never waits that long.
	patience = 20 * time.Second
)

// ground is a broker with everything declared.
type ground struct {
	t     *testing.T
	cfg   *config.Config
	conn  *bus.Conn
	store *state.Store
}

func newGround(t *testing.T) *ground {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir(), MaxStore: 1 << 40}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := bus.Connect(ctx, bus.Options{InProcess: server.InProcess(), Name: "test"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	g := &ground{t: t, cfg: config.Default(), conn: conn}
	g.cfg.Connections = []config.Connection{config.DefaultConnection(acme)}
	if err := streams.Ensure(ctx, conn.JS(), streams.For(g.cfg)); err != nil {
		t.Fatal(err)
	}
	if g.store, err = state.Open(ctx, conn.JS()); err != nil {
		t.Fatal(err)
	}
	return g
}

// ask stores an accepted request, as intake would, and returns its delivery.
func (g *ground) ask(id string) bus.Delivery {
	g.t.Helper()
	subject := events.Subject(streams.SweepAcceptedSubject, acme, id)
	ack, err := g.conn.JS().Publish(g.t.Context(), subject, []byte(`{"requestId":"`+id+`"}`))
	if err != nil {
		g.t.Fatal(err)
	}
	return bus.Delivery{Stream: streams.Sweeps, Subject: subject, Sequence: ack.Sequence}
}

// process is a lane as a newly started process has it.
func (g *ground) process(v Plans, p Publisher) *lane {
	pages := p
	if p == nil {
		real := bus.NewPublisher(g.conn)
		p, pages = real, bus.NewGroup(real)
	}
	return &lane{
		connection: g.cfg.Connections[0], slots: make(chan struct{}, 1), maxStalls: 3,
		deps: Deps{
			Log: slog.New(slog.DiscardHandler), JS: g.conn.JS(), Publisher: p, Pages: pages, State: g.store,
			Plans: map[string]Plans{acme: v}, Now: time.Now,
		},
	}
}

// vendor is a plan that answers page by page; its cursors are positions. before is asked at each call, by number from
// 1: it may fail the call, crash the process or stop it.
type vendor struct {
	admins, users int
	pageSize      int
	// mark is in everybody's name: it tells one reading from another.
	mark   string
	before func(call int, after string) error

	mu    sync.Mutex
	calls int
}

func (v *vendor) call(after string) error {
	v.mu.Lock()
	v.calls++
	n := v.calls
	v.mu.Unlock()
	if v.before == nil {
		return nil
	}
	return v.before(n, after)
}

func (v *vendor) Plan(context.Context) (pluralsight.Plan, error) {
	return pluralsight.Plan{Products: []pluralsight.Product{{Purchased: new(50), Assigned: new(40)}, {}}}, v.call("")
}

// slice is the part of a list of n that follows a cursor.
func (v *vendor) slice(n int, after string) (ids []int, page pluralsight.Page) {
	start, _ := strconv.Atoi(after)
	end := min(start+v.pageSize, n)
	for i := start; i < end; i++ {
		ids = append(ids, i)
	}
	return ids, pluralsight.Page{TotalCount: n, HasNext: end < n, EndCursor: strconv.Itoa(end)}
}

func (v *vendor) Admins(_ context.Context, after string) (pluralsight.AdminPage, error) {
	if err := v.call(after); err != nil {
		return pluralsight.AdminPage{}, err
	}
	ids, page := v.slice(v.admins, after)
	out := pluralsight.AdminPage{Page: page}
	for _, i := range ids {
		out.Admins = append(out.Admins, pluralsight.Admin{PsUserID: fmt.Sprintf("a%d", i), FirstName: v.mark})
	}
	return out, nil
}

func (v *vendor) Users(_ context.Context, after string) (pluralsight.UserPage, error) {
	if err := v.call(after); err != nil {
		return pluralsight.UserPage{}, err
	}
	ids, page := v.slice(v.users, after)
	out := pluralsight.UserPage{Page: page}
	for _, i := range ids {
		out.Users = append(out.Users, pluralsight.User{PsUserID: fmt.Sprintf("u%d", i), FirstName: v.mark, OnAccount: new(true)})
	}
	return out, nil
}

// productivOf is a target that includes people by a rule.
func productivOf(include string) config.Productiv {
	p := config.DefaultProductiv("app")
	p.Include = include
	return p
}

var errCrash = errors.New("this process is gone")

// failing is a publisher that fails when told to, before anything is stored.
type failing struct {
	Publisher
	fail func(subject string) bool
}

func (f failing) PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (*jetstream.PubAck, error) {
	if f.fail(subject) {
		return nil, errCrash
	}
	return f.Publisher.PublishMsg(ctx, subject, id, header, body)
}
