package state_test

import (
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/state"
	"github.com/seatwire/seatwire/pkg/streams"
)

// What lies under the switch's key and is no word of a person's stops removals, as anything unreadable does: a broker's
// acknowledgement can be sent there by whoever may publish.
func TestPaused_byAnythingThatIsNoDecision(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	s := open(t, js)
	paused := func() bool {
		is, _ := state.Paused(t.Context(), streams.At(js), "acme")
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
		if is, err := state.Paused(t.Context(), streams.At(js), "acme"); is != want || err != nil {
			t.Errorf("%v, %v", is, err)
		}
	}
}

// A replica that lags behind does not know yet what a person was told is done, so none is asked; nor for what lanes
// decide by.
func TestGet_asksTheLeader(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	s := open(t, js)
	replicas, err := js.Conn().SubscribeSync("$JS.API.DIRECT.GET.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := state.SetPaused(t.Context(), s, "acme", true, time.Now()); err != nil {
		t.Fatal(err)
	}
	if is, err := state.Paused(t.Context(), streams.At(js), "acme"); !is || err != nil {
		t.Errorf("%v, %v", is, err)
	}
	if revision, err := s.Get(t.Context(), "pause.acme", &state.Pause{}); revision == 0 || err != nil {
		t.Errorf("%d, %v", revision, err)
	}
	if err := js.Conn().Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := replicas.Pending(); n > 0 || err != nil {
		t.Errorf("%d requests to any replica, %v", n, err)
	}
}
