package faultbench

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// Vendors, as the paths of their calls name them.
const (
	toPluralsight = "pluralsight"
	toProductiv   = "productiv"
)

// Credentials. They are canaries too: no log, metric or dead letter may show one.
const (
	keyPrefix   = "canary-key-"
	tokenPrefix = "canary-token-"
)

func appOf(connection string) string { return "app-" + connection }

// act is one sign of work: a vendor's call, or a message on its way to the broker.
type act struct {
	at time.Time
	// by is the process. Of messages, only pages tell a service: the normalizer's.
	by owner
	// to is the vendor of a call, method how it was called.
	to, method string
	// subject and body are a message's; body is kept for states only.
	subject string
	body    []byte
}

// write reports a call that changes Productiv's list, or tries to.
func (a act) write() bool { return a.to == toProductiv && a.method != http.MethodGet }

// vendors are both simulators behind one server. Each process is given addresses of its own, so that the judges know
// who called without having to believe a word of the caller's.
type vendors struct {
	pluralsight *pluralsightsim.Sim
	productiv   *productivsim.Sim
	url         string
	ring        func()

	mu   sync.Mutex
	acts []act
	// worked is the time of all calls together, from their arrival to the end of their answers.
	worked time.Duration
	// hook sees every call before the simulator does.
	hook func(act)
}

func newVendors(t *testing.T, o Options, ring func()) *vendors {
	t.Helper()
	v := &vendors{ring: ring}
	var plans []pluralsightsim.Plan
	var apps []productivsim.App
	for i, name := range o.Connections {
		plan := pluralsightsim.Plan{Name: name, Key: keyPrefix + name}
		switches := pluralsightsim.DefaultSwitches()
		switches.Latency = pluralsightsim.Duration(o.Latency)
		plan.Switches = &switches
		people := o.People
		if i > 0 {
			people = o.Others
		}
		plans = append(plans, plan.Generate(people, *seed+uint64(i)))
		apps = append(apps, productivsim.App{ID: appOf(name), AccessTokens: []string{tokenPrefix + name}, Users: foreign()})
	}
	slow := productivsim.DefaultSwitches()
	slow.Latency = productivsim.Duration(o.Latency)
	v.pluralsight = pluralsightsim.New(pluralsightsim.Options{Plans: plans, Seed: *seed})
	v.productiv = productivsim.New(productivsim.Options{Apps: apps, Seed: *seed, Switches: &slow})
	mux := http.NewServeMux()
	mux.Handle("/as/{owner}/"+toPluralsight+"/", v.known(toPluralsight, "X-Seatwire-Owner", v.pluralsight.Handler()))
	mux.Handle("/as/{owner}/"+toProductiv+"/", v.known(toProductiv, "X-Owner", v.productiv.Handler()))
	server := httptest.NewServer(mux)
	v.url = server.URL
	t.Cleanup(func() {
		v.pluralsight.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return v
}

// address is where one process finds one vendor.
func (v *vendors) address(by owner, vendor string) string {
	return v.url + "/as/" + by.String() + "/" + vendor
}

// known notes who calls, and passes the call on under the vendor's own path.
func (v *vendors) known(vendor, header string, sim http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by := r.PathValue("owner")
		v.note(act{by: parseOwner(by), to: vendor, method: r.Method})
		r.Header.Set(header, by)
		began := time.Now()
		http.StripPrefix("/as/"+by+"/"+vendor, sim).ServeHTTP(w, r)
		v.mu.Lock()
		defer v.mu.Unlock()
		v.worked += time.Since(began)
	})
}

func (v *vendors) note(a act) {
	a.at = time.Now()
	v.mu.Lock()
	v.acts = append(v.acts, a)
	hook := v.hook
	v.mu.Unlock()
	if hook != nil {
		hook(a)
	}
	v.ring()
}

// work is the time of all calls together so far.
func (v *vendors) work() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.worked
}

// onCall has every act shown to hook from now on, nil ends that.
func (v *vendors) onCall(hook func(act)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.hook = hook
}

// count counts acts since a moment that fit.
func (v *vendors) count(since time.Time, fits func(act) bool) int {
	n := 0
	v.each(since, func(a act) bool {
		if fits(a) {
			n++
		}
		return true
	})
	return n
}

// first returns the first act after a moment that fits.
func (v *vendors) first(since time.Time, fits func(act) bool) (found act, ok bool) {
	v.each(since, func(a act) bool {
		if fits(a) {
			found, ok = a, true
		}
		return !ok
	})
	return found, ok
}

// each goes through the acts after a moment in order. It looks for the place from the end: what is asked for is recent.
func (v *vendors) each(since time.Time, visit func(act) bool) {
	v.mu.Lock()
	i := len(v.acts)
	for i > 0 && v.acts[i-1].at.After(since) {
		i--
	}
	recent := v.acts[i:len(v.acts):len(v.acts)]
	v.mu.Unlock()
	for _, a := range recent {
		if !visit(a) {
			return
		}
	}
}

func of(service string) func(act) bool {
	return func(a act) bool { return a.by.service == service }
}

func sends(base string) func(act) bool {
	return func(a act) bool { return strings.HasPrefix(a.subject, base+".") }
}
