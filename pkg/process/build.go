package process

import (
	"cmp"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// version and revision are what `make build` tells the linker. The go command's own record is only there when it found
// the repository itself, which it does not in a source archive or a worktree.
var version, revision string

// Build says what is running.
type Build struct {
	// Version is a release or commit; "(devel)" for a build from a working tree without make.
	Version string
	// Revision is the commit, with "+dirty" if the tree had changes; "unknown" when nothing recorded it.
	Revision string
	// GoVersion compiled it.
	GoVersion string
}

// ReadBuild reads what the linker recorded.
func ReadBuild() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	vcs, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			vcs = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	const unknown = "unknown"
	return Build{
		Version:   cmp.Or(version, info.Main.Version, unknown),
		Revision:  cmp.Or(revision, cmp.Or(vcs, unknown)+dirty),
		GoVersion: cmp.Or(info.GoVersion, unknown),
	}
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
