package process

import (
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Build says what is running.
type Build struct {
	// Version is the module's, "(devel)" for a build from a working tree.
	Version string
	// Revision is the commit, with "+dirty" if the tree had changes; "unknown" outside version control.
	Revision string
	// GoVersion compiled it.
	GoVersion string
}

// ReadBuild reads what the linker recorded.
func ReadBuild() Build {
	b := Build{Version: "unknown", Revision: "unknown", GoVersion: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.GoVersion = info.GoVersion
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	b.Revision += dirty
	return b
}

// NewRegistry returns a registry of our own, not the global one, with the collectors that every program has: the Go
// runtime, the process, and what was built.
func NewRegistry(program string, b Build) *prometheus.Registry {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "seatwire_build_info",
		Help: "1, labelled with what is running.",
		ConstLabels: prometheus.Labels{
			"program": program, "version": b.Version, "revision": b.Revision, "goversion": b.GoVersion,
		},
	})
	build.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
