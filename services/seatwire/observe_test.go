package seatwire

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Alerts and dashboards ask for metrics by name; a renamed metric would leave them silent.
func TestObserve_AsksForMetricsThatExist(t *testing.T) {
	t.Parallel()
	declared := textOf(t, "../../pkg", ".go") + textOf(t, "..", ".go")
	asking := textOf(t, "../../deploy/observe", ".yml", ".json") + textOf(t, "../../deploy/helm/seatwire", "alerts.yaml")
	asked := regexp.MustCompile(`\b(seatwire|deprovisioner)_[a-z_]+`).FindAllString(asking, -1)
	if len(asked) < 10 {
		t.Fatalf("only %d names are asked for", len(asked))
	}
	for _, name := range asked {
		if !strings.Contains(declared, `"`+strings.TrimSuffix(name, "_bucket")+`"`) {
			t.Errorf("no code declares %s", name)
		}
	}
}

// textOf is the content of all files below dir with one of the endings.
func textOf(t *testing.T, dir string, endings ...string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, ending := range endings {
			if strings.HasSuffix(path, ending) {
				content, err := os.ReadFile(path)
				all.Write(content)
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
