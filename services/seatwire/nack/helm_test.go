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

// document is one object that Helm rendered.
type document struct {
	object `yaml:",inline"`
	Data   map[string]string
	text   string
}

// helmTemplate renders the chart.
func helmTemplate(t *testing.T, values string) (all []document) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(*helm, "template", "seatwire", chart, "-f", values)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	for text := range strings.SplitSeq(string(out), "\n---\n") {
		d := document{text: text}
		if err := yaml.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	return all
}

// rendering is what the chart makes of one values file. The configuration is loaded as the programs load it.
type rendering struct {
	config   *config.Config
	nack     string // documents
	triggers []trigger
	declares bool // by a job
}

type trigger struct{ target, stream, consumer string }

func renderWithHelm(t *testing.T, values string) (r rendering) {
	t.Helper()
	for _, d := range helmTemplate(t, values) {
		switch {
		case strings.HasPrefix(d.APIVersion, "jetstream.nats.io/"):
			r.nack += "---\n" + d.text + "\n"
		case d.Kind == "ScaledObject":
			r.triggers = append(r.triggers, readTriggers(t, d.Spec)...)
		case d.Kind == "Job":
			r.declares = true
		case d.Data["seatwire.yaml"] != "":
			r.config = load(t, d.Data["seatwire.yaml"])
		}
	}
	return r
}

func load(t *testing.T, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "seatwire.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
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

// What each pod holds and where it may go, for three connections of which two have an app at Productiv: its own seed and
// the secrets that it reads; DNS, the broker, and the vendors that it calls.
func TestHelm_leastPrivilege(t *testing.T) {
	if *helm == "" {
		t.Skip("deploy/ci/helm.sh runs this with the Helm that it builds")
	}
	t.Parallel()
	secrets, ways := map[string][]string{}, map[string][]int{}
	for _, d := range helmTemplate(t, "../../../deploy/helm/ci/production.yaml") {
		switch name := strings.TrimPrefix(d.Metadata.Name, "seatwire-"); d.Kind {
		case "Deployment", "Job":
			secrets[name] = mounted(t, d)
		case "NetworkPolicy":
			ways[name] = egress(t, d)
		}
	}
	pluralsight := []string{"acme/pluralsight", "beta/pluralsight", "bond/pluralsight"}
	wantSecrets := map[string][]string{
		"fetcher":             append([]string{"nats-users/fetcher.nk", "seatwire-nats-ca/ca.pem"}, pluralsight...),
		"normalizer":          {"seatwire-nats-normalizer/seed", "seatwire-nats-ca/ca.pem"},
		"productiv-publisher": {"seatwire-nats-productiv-publisher/seed", "seatwire-nats-ca/ca.pem", "acme/productiv", "beta/productiv"},
		"deprovisioner":       append([]string{"seatwire-nats-deprovisioner/seed", "seatwire-nats-ca/ca.pem"}, pluralsight...),
		"provision":           {"seatwire-nats-provisioner/seed", "seatwire-nats-ca/ca.pem"},
	}
	if diff := cmp.Diff(wantSecrets, secrets); diff != "" {
		t.Errorf("secrets, want -, chart +:\n%s", diff)
	}
	const dns, nats, vendor = 53, 4222, 3128
	wantWays := map[string][]int{
		"default-deny":        nil,
		"fetcher":             {dns, dns, nats, vendor},
		"normalizer":          {dns, dns, nats},
		"productiv-publisher": {dns, dns, nats, vendor},
		"deprovisioner":       {dns, dns, nats, vendor, vendor},
		"provision":           {dns, dns, nats},
	}
	if diff := cmp.Diff(wantWays, ways); diff != "" {
		t.Errorf("egress, want -, chart +:\n%s", diff)
	}
}

// mounted lists the keys of secrets that a pod mounts.
func mounted(t *testing.T, d document) (keys []string) {
	t.Helper()
	var workload struct {
		Template struct {
			Spec struct {
				Volumes []struct {
					Projected struct {
						Sources []struct {
							Secret struct {
								Name  string
								Items []struct{ Key string }
							}
						}
					}
				}
			}
		}
	}
	if err := d.Spec.Decode(&workload); err != nil {
		t.Fatal(err)
	}
	for _, v := range workload.Template.Spec.Volumes {
		for _, s := range v.Projected.Sources {
			for _, i := range s.Secret.Items {
				keys = append(keys, s.Secret.Name+"/"+i.Key)
			}
		}
	}
	return keys
}

// egress lists the ports that a policy lets pods go to; a rule without a destination would let them go anywhere.
func egress(t *testing.T, d document) (ports []int) {
	t.Helper()
	var policy struct {
		Egress []struct {
			To    []map[string]any
			Ports []struct{ Port int }
		}
	}
	if err := d.Spec.Decode(&policy); err != nil {
		t.Fatal(err)
	}
	for _, rule := range policy.Egress {
		if len(rule.To) == 0 {
			t.Errorf("%s goes anywhere", d.Metadata.Name)
		}
		for _, p := range rule.Ports {
			ports = append(ports, p.Port)
		}
	}
	return ports
}
