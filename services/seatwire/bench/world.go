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

	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

const (
	benchConnection = "bench"
	benchKey        = "bench-key"
	benchApp        = "bench-app"
	benchToken      = "bench-token"
)

// world is both vendors and the broker, in this process; the services run as processes of their own.
type world struct {
	dir         string
	pluralsight *pluralsightsim.Sim
	productiv   *productivsim.Sim
	psURL       string
	pvURL       string
	nats        *embedded.Server
	servers     []*http.Server
}

func newWorld(dir string, o Options) (*world, error) {
	w := &world{dir: dir}
	switches := pluralsightsim.DefaultSwitches()
	switches.Latency = pluralsightsim.Duration(o.Latency)
	w.pluralsight = pluralsightsim.New(pluralsightsim.Options{LedgerLimit: pluralsightsim.CountsOnly, Plans: []pluralsightsim.Plan{
		pluralsightsim.Plan{Name: benchConnection, Key: benchKey, Switches: &switches}.Generate(o.People, 1),
	}})
	w.productiv = productivsim.New(productivsim.Options{CountsOnly: true, Apps: []productivsim.App{{ID: benchApp, AccessTokens: []string{benchToken}}}})
	var err error
	if w.psURL, err = w.serve(w.pluralsight.Handler()); err != nil {
		return nil, err
	}
	if w.pvURL, err = w.serve(w.productiv.Handler()); err != nil {
		return nil, err
	}
	w.nats, err = embedded.Start(embedded.Config{
		StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", SyncAlways: true, MaxStore: 128 << 30,
	}, slog.New(slog.DiscardHandler))
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
	w.nats.Shutdown()
}

// config writes the services' file; more is added to the connection.
func (w *world) config(mode, more string) (string, error) {
	text := fmt.Sprintf(`
nats: {url: %q}
connections:
  - name: %s
    pluralsight: {graphqlUrl: %s/graphql, deprovisionUrl: %s/deprovision, token: {value: %s}}
    productiv: {baseUrl: %s, appId: %s, accessToken: {value: %s}, mode: %s}
    sync: {every: 0}
%s
`, w.nats.ClientURL(), benchConnection, w.psURL, w.psURL, benchKey, w.pvURL, benchApp, benchToken, mode, more)
	file := filepath.Join(w.dir, "seatwire.yaml")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// calls is how often each vendor was asked.
func (w *world) calls() (graphQL, productiv int) {
	c := w.productiv.AppCounts(benchApp)
	return w.pluralsight.RequestCounts()["/graphql"], c.Gets + c.Posts + c.Deletes
}
