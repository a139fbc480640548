package nack_test

import (
	"os"
	"strings"
	"testing"
	"text/template"

	"github.com/google/go-cmp/cmp"

	"github.com/seatwire/seatwire/services/seatwire/nack"
)

const chart = "../../../deploy/helm/seatwire/"

type values map[string]any

// render does what Helm does with the chart's template, which uses nothing that Go's own templates have not.
func render(t *testing.T, v values) string {
	t.Helper()
	parsed, err := template.New("nack.yaml").Option("missingkey=error").ParseFiles(chart + "templates/nack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := parsed.Execute(&out, values{"Values": v}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTemplate_rendersTheTopology(t *testing.T) {
	t.Parallel()
	var connections []values
	for _, name := range awkward {
		connections = append(connections, values{"name": name})
	}
	documents := render(t, values{
		"connections": connections,
		"nats": values{
			"provisioning": "nack", "replicas": 3, "nack": values{"account": "acc"},
			"publishers": []values{{"name": "hr", "connections": nil}, {"name": "idp", "connections": awkward}},
		},
	})
	if diff := cmp.Diff(whole(3), declaredBy(t, documents, "acc"), byName...); diff != "" {
		t.Errorf("want -, chart +:\n%s", diff)
	}
}

func TestTemplate_rendersNothingUnlessAskedFor(t *testing.T) {
	t.Parallel()
	if got := render(t, values{"nats": values{"provisioning": "job"}}); strings.TrimSpace(got) != "" {
		t.Errorf("%s", got)
	}
}

func TestTemplate_isGenerated(t *testing.T) {
	t.Parallel()
	want, err := nack.Template()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(chart + "templates/nack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the chart is stale, run make generate:\n%s", diff)
	}
}
