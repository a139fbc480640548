package nack_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/streams"
)

var helm = flag.String("helm", "", "path of the Helm that deploy/ci/helm.sh builds")

// rendering is what Helm makes of the chart with one values file.
type rendering struct {
	config   *config.Config
	nack     string // documents
	triggers []trigger
	declares bool // by a job
}

type trigger struct{ target, stream, consumer string }

// renderWithHelm runs Helm. The configuration is loaded as the programs load it.
func renderWithHelm(t *testing.T, values string) (r rendering) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(*helm, "template", "seatwire", chart, "-f", values)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for _, document := range strings.Split(string(out), "\n---\n") {
		var o struct {
			object `yaml:",inline"`
			Data   map[string]string
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(o.APIVersion, "jetstream.nats.io/"):
			r.nack += "---\n" + document + "\n"
		case o.Kind == "ScaledObject":
			r.triggers = append(r.triggers, readTriggers(t, o.Spec)...)
		case o.Kind == "Job":
			r.declares = true
		case o.Data["seatwire.yaml"] != "":
			r.config = load(t, o.Data["seatwire.yaml"])
		}
	}
	return r
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"seed", "ca.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "seatwire.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/run/secrets/nats", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadWithoutFiles(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func readTriggers(t *testing.T, spec yaml.Node) (found []trigger) {
	t.Helper()
	var scaled struct {
		ScaleTargetRef  struct{ Name string } `yaml:"scaleTargetRef"`
		MinReplicaCount int                   `yaml:"minReplicaCount"`
		Triggers        []struct {
			Metadata struct{ Stream, Consumer string }
		}
	}
	if err := spec.Decode(&scaled); err != nil {
		t.Fatal(err)
	}
	if scaled.MinReplicaCount < 1 {
		t.Errorf("%s may be scaled to nothing", scaled.ScaleTargetRef.Name)
	}
	for _, tr := range scaled.Triggers {
		found = append(found, trigger{scaled.ScaleTargetRef.Name, tr.Metadata.Stream, tr.Metadata.Consumer})
	}
	return found
}

// systems are the publishing systems of a values file.
func systems(t *testing.T, file string) (all []streams.PublishingSystem) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		NATS struct{ Publishers []streams.PublishingSystem }
	}
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v.NATS.Publishers
}

// What the real Helm renders loads as configuration, declares the topology of that configuration, and scales by durables
// that are in it.
func TestHelm(t *testing.T) {
	if *helm == "" {
		t.Skip("deploy/ci/helm.sh runs this with the Helm that it builds")
	}
	t.Parallel()
	files, err := filepath.Glob("../../../deploy/helm/ci/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d values files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			r := renderWithHelm(t, file)
			want := streams.For(r.config)
			for _, s := range systems(t, file) {
				want.AddPublishingSystem(s)
			}
			if r.declares == (r.nack != "") {
				t.Errorf("the topology is declared by a job: %v, by NACK: %v", r.declares, r.nack != "")
			}
			if r.nack != "" {
				if diff := cmp.Diff(want, declaredBy(t, r.nack, "seatwire-provisioner"), byName...); diff != "" {
					t.Errorf("want -, chart +:\n%s", diff)
				}
			}
			for _, tr := range r.triggers {
				if !scales(want, tr) {
					t.Errorf("%s is scaled by %s of %s, which is not its shared durable", tr.target, tr.consumer, tr.stream)
				}
			}
		})
	}
}

// scales reports whether a trigger's durable is the target's own, and one that several replicas share.
func scales(t streams.Topology, tr trigger) bool {
	for _, c := range t.Consumers {
		if c.Stream == tr.stream && c.Config.Durable == tr.consumer {
			return "seatwire-"+c.Config.Metadata["service"] == tr.target && c.Config.MaxAckPending > 1
		}
	}
	return false
}
