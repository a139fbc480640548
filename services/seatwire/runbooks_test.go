package seatwire

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Every command of ours that a runbook names is one, and every page that the index leads to is there.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../deploy/runbooks/*.md")
	if err != nil || len(pages) < 9 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	named := regexp.MustCompile("(?m)(?:`|^ *|; )seatwire ([a-z]+)")
	link := regexp.MustCompile(`\]\(([^):#]+)[#)]`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range named.FindAllSubmatch(text, -1) {
			if !slices.ContainsFunc(commands(), func(c command) bool { return c.name == string(found[1]) }) {
				t.Errorf("%s: there is no command %q", filepath.Base(page), found[1])
			}
		}
		for _, found := range link.FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), string(found[1]))); err != nil {
				t.Errorf("%s: %v", filepath.Base(page), err)
			}
		}
	}
}
