package faultbench

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// takeOver is the contract's promise: what a dead process was doing goes on within this time.
const takeOver = 20 * time.Second

// kill is one kill -9, and what followed.
type kill struct {
	service string
	// after is how many acts of its own the victim had done since the last request.
	after int
	at    time.Time
	// took is the time to the service's next sign of work; idle says that it had none left, and that took is the time
	// to its readiness.
	took time.Duration
	idle bool
	// log is what the service said meanwhile, if that was too long.
	log string
}

// killed is what a report needs of a kill.
type killed struct {
	Service string
	Took    time.Duration
	Idle    bool
}

// MarshalJSON implements json.Marshaler.
func (k kill) MarshalJSON() ([]byte, error) { return json.Marshal(killed{k.service, k.took, k.idle}) }

// UnmarshalJSON implements json.Unmarshaler.
func (k *kill) UnmarshalJSON(body []byte) error {
	var was killed
	err := json.Unmarshal(body, &was)
	k.service, k.took, k.idle = was.Service, was.Took, was.Idle
	return err
}

// kills are all of a run.
type kills []kill

// times are those of one kind, in order; an empty service is all.
func (k kills) times(service string, idle bool) (out []time.Duration) {
	for _, one := range k {
		if (service == "" || one.service == service) && one.idle == idle {
			out = append(out, one.took)
		}
	}
	slices.Sort(out)
	return out
}

// table is the figures.
func (k kills) table() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d kills\n%-22s %6s %8s %8s   %6s %8s %8s\n", len(k),
		"service", "busy", "median", "worst", "idle", "median", "worst")
	for _, service := range append(slices.Clone(services), "") {
		busy, idle := k.times(service, false), k.times(service, true)
		name := service
		if service == "" {
			name = "all"
		}
		fmt.Fprintf(&text, "%-22s %6d %8s %8s   %6d %8s %8s\n", name,
			len(busy), median(busy), worst(busy), len(idle), median(idle), worst(idle))
	}
	return text.String()
}

// report prints the figures, and fails the test for one that is beyond the promise.
func (k kills) report(t *testing.T) {
	t.Helper()
	t.Log(k.table())
	found.kills(k)
	found.fault(rowRandomKill, len(k))
	limit := takeOver
	if *chaos == 0 {
		limit *= 2 // the short form shares two cores with every other test
	}
	for _, one := range k {
		if one.took > limit && !one.idle { // how fast a process starts is the machine's promise
			t.Errorf("%s, killed at its act %d, was back after %s; the contract says %s\n%s", one.service, one.after, one.took, takeOver, one.log)
		}
	}
}

func median(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fs", sorted[len(sorted)/2].Seconds())
}

func worst(sorted []time.Duration) string {
	if len(sorted) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fs", sorted[len(sorted)-1].Seconds())
}
