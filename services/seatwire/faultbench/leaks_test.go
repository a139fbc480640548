package faultbench

import (
	"encoding/json"
	"regexp"
	"strings"
)

// leak is what must show nowhere: a canary credential, or the address of anybody in the simulators or the events.
var leak = regexp.MustCompile(keyPrefix + `|` + tokenPrefix + `|[^\s"@]+@[a-z0-9-]+(\.[a-z]+)*\.example\.com|canary@`)

// wantNoLeak scans all logs, all metrics and what dead letters say in our words.
func (b *Bench) wantNoLeak() {
	b.t.Helper()
	b.every(func(p *program) {
		for line := range strings.Lines(p.text()) {
			if leak.MatchString(line) {
				found.violation(b.t, noLeaks, "%s logged a secret or an address; %d characters into the line", p.service, leak.FindStringIndex(line)[0])
			}
			if !p.mayCrash() && !json.Valid([]byte(line)) {
				found.violation(b.t, noLeaks, "%s logged a line that is no JSON: %.100s", p.service, line)
			}
		}
		found.tests(noLeaks, strings.Count(p.text(), "\n")+1)
		if _, metrics := p.get("/metrics"); leak.MatchString(metrics) {
			found.violation(b.t, noLeaks, "%s shows a secret or an address in its metrics", p.service)
		}
	})
	for _, letter := range b.deadLetters() {
		found.tests(noLeaks, 1)
		for name, values := range letter.Header {
			if strings.HasPrefix(name, "Seatwire-Dead-") && leak.MatchString(strings.Join(values, " ")) {
				found.violation(b.t, noLeaks, "a dead letter shows a secret or an address in %s", name)
			}
		}
	}
}
