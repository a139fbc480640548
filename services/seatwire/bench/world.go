package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// A connection's credentials and app follow from its name.
func key(connection string) string   { return "key-" + connection }
func app(connection string) string   { return "app-" + connection }
func token(connection string) string { return "token-" + connection }

// world is both vendors in this process, and the broker in one of its own; so are the services.
type world struct {
	dir string
	// connections share the people evenly.
	connections []string
	pluralsight *pluralsightsim.Sim
	productiv   *productivsim.Sim
	psURL       string
	pvURL       string
	broker      *broker
	servers     []*http.Server
}

func newWorld(ctx context.Context, dir string, o Options) (*world, error) {
	w := &world{dir: dir}
	switches := pluralsightsim.DefaultSwitches()
	switches.Latency = pluralsightsim.Duration(o.Latency)
	var plans []pluralsightsim.Plan
	var apps []productivsim.App
	for i := range max(o.Connections, 1) {
		name := fmt.Sprintf("bench-%04d", i)
		w.connections = append(w.connections, name)
		plan := pluralsightsim.Plan{Name: name, Key: key(name), Switches: &switches}
		plans = append(plans, plan.Generate(o.People/max(o.Connections, 1), uint64(i)+1))
		apps = append(apps, productivsim.App{ID: app(name), AccessTokens: []string{token(name)}})
	}
	w.pluralsight = pluralsightsim.New(pluralsightsim.Options{LedgerLimit: pluralsightsim.CountsOnly, Plans: plans})
	w.productiv = productivsim.New(productivsim.Options{CountsOnly: true, Apps: apps})
	var err error
	if w.psURL, err = w.serve(w.pluralsight.Handler()); err != nil {
		return nil, err
	}
	if w.pvURL, err = w.serve(w.productiv.Handler()); err != nil {
		return nil, err
	}
	w.broker, err = startBroker(ctx, filepath.Join(dir, "nats"), max(o.Nodes, 1))
	return w, err
}

func (w *world) serve(h http.Handler) (string, error) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	w.servers = append(w.servers, server)
	go func() { _ = server.Serve(ln) }() // ends with close
	return "http://" + ln.Addr().String(), nil
}

func (w *world) close() {
	for _, s := range w.servers {
		_ = s.Close()
	}
	w.pluralsight.Close()
	w.broker.stop()
}

// connect opens the bench's own link to the broker.
func (w *world) connect(ctx context.Context) (*bus.Conn, error) {
	return bus.Connect(ctx, bus.Options{URL: w.broker.URL, Name: "bench"}, slog.New(slog.DiscardHandler))
}

// slow gives every call at both vendors a latency.
func (w *world) slow(latency time.Duration) error {
	for _, c := range w.connections {
		if err := w.pluralsight.Configure(c, func(s *pluralsightsim.Switches) { s.Latency = pluralsightsim.Duration(latency) }); err != nil {
			return err
		}
	}
	switches := w.productiv.Switches()
	switches.Latency = productivsim.Duration(latency)
	return w.productiv.SetSwitches(switches)
}

// config writes the services' file; more is added to each connection.
func (w *world) config(mode, more string) (string, error) {
	text := fmt.Sprintf("nats: {url: %q, replicas: %d}\nconnections:\n", w.broker.URL, w.broker.Nodes)
	for _, c := range w.connections {
		text += fmt.Sprintf(`  - name: %s
    pluralsight: {graphqlUrl: %s/graphql, deprovisionUrl: %s/deprovision, token: {value: %s}}
    productiv: {baseUrl: %s, appId: %s, accessToken: {value: %s}, mode: %s}
    sync: {every: 0}
%s
`, c, w.psURL, w.psURL, key(c), w.pvURL, app(c), token(c), mode, more)
	}
	file := filepath.Join(w.dir, "seatwire.yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// calls is how often each vendor was asked.
func (w *world) calls() (graphQL, productiv int) {
	c := w.productiv.Counts()
	return w.pluralsight.RequestCounts()["/graphql"], c.Gets + c.Posts + c.Deletes
}
