package seatwire

import (
	"strings"
	"testing"
)

func TestNATSResources(t *testing.T) {
	t.Parallel()
	// A laptop has no vendor's token, and no broker runs.
	w := newWorld(t, 1, replaceText("token: {value: "+testKey+"}", "token: {file: /nowhere/at/all}"))
	code, out, errs := w.run("nats", "resources", "--account", "provisioner", "--publisher", "hr=acme")
	if code != 0 || errs != "" {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, want := range []string{"kind: Stream\n", "kind: KeyValue\n", "durableName: publisher-lane-acme\n", "seatwire.v1.deprovision.settled.acme.hr\n", "account: provisioner\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if code, _, _ := w.run("nats", "resources", "acme"); code != 2 {
		t.Errorf("an argument too many: exit %d", code)
	}
}
