package state_test

import (
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/state"
)

// What lies under the switch's key and is no word of a person's stops removals, as anything unreadable does: a broker's
// acknowledgement can be sent there by whoever may publish.
func TestPaused_byAnythingThatIsNoDecision(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	s := open(t, js)
	paused := func() bool {
		is, _ := state.Paused(t.Context(), s, "acme")
		return is
	}
	if paused() {
		t.Error("paused although nobody said so")
	}
	for _, forged := range []string{`{"stream":"S","seq":1}`, `{}`, `garbage`, ``} {
		if _, err := js.Publish(t.Context(), "$KV."+bucket+".pause.acme", []byte(forged)); err != nil {
			t.Fatal(err)
		}
		if !paused() {
			t.Errorf("%q lets removals go on", forged)
		}
	}
	for _, want := range []bool{false, true} {
		if err := state.SetPaused(t.Context(), s, "acme", want, time.Now()); err != nil {
			t.Fatalf("a person has the last word: %v", err)
		}
		if is, err := state.Paused(t.Context(), s, "acme"); is != want || err != nil {
			t.Errorf("%v, %v", is, err)
		}
	}
}
