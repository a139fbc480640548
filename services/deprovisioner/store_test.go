package deprovisioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

// TestLostLaneWritesNothing: the holder that was overtaken cannot write, neither one document nor a batch of them.
func TestLostLaneWritesNothing(t *testing.T) {
	t.Parallel()
	w := newTown(t, 0, func(*config.Deprovision) {})
	documents := func(n int) (saves []save) {
		for i := range n {
			r := deprovision.Request{Connection: "acme", Key: fmt.Sprint(i), State: deprovision.Accepted}
			saves = append(saves, save{deprovision.RequestSubject("acme", r.Key), r})
		}
		return saves
	}
	take := func(replica string) fencedStore {
		b := newBeats(w.js.Conn(), replica)
		b.started = time.Now().Add(-leaseTime) // long enough to know that nobody beats
		fence, _, err := claim(t.Context(), w.js, "acme", b, time.Now())
		if err != nil || fence == 0 {
			t.Fatalf("claim of %s: %d, %v", replica, fence, err)
		}
		return fencedStore{js: w.js, connection: "acme", fence: fence}
	}
	first := take("one")
	written, err := first.commit(t.Context(), documents(2*commitSize+1))
	if err != nil || len(written) != 2*commitSize+1 {
		t.Fatalf("%d documents written: %v", len(written), err)
	}
	for subject, sequence := range written {
		msg, err := streams.At(w.js).Newest(t.Context(), streams.Ledger, subject)
		if err != nil || msg == nil || msg.Sequence != sequence {
			t.Fatalf("%s is not at %d (%v)", subject, sequence, err)
		}
	}
	second := take("two")
	for _, n := range []int{1, 5} {
		if _, err := first.commit(t.Context(), documents(n)); !errors.Is(err, errLaneLost) {
			t.Errorf("the overtaken holder wrote %d documents: %v", n, err)
		}
	}
	if _, err := second.commit(t.Context(), documents(5)); err != nil {
		t.Errorf("the new holder: %v", err)
	}
}

// TestLast_waitsForAReplicaThatKnows: a replica that lags behind a place is asked again, and what it has does not count.
func TestLast_waitsForAReplicaThatKnows(t *testing.T) {
	t.Parallel()
	w := newTown(t, 0, func(*config.Deprovision) {})
	asked := make(chan struct{}, 100)
	if _, err := w.js.Conn().Subscribe("$JS.API.DIRECT.GET."+streams.Ledger, func(*nats.Msg) { asked <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	put := func(subject, body string) uint64 {
		ack, err := w.js.Publish(t.Context(), subject, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}
	told, lane := toldSubject("acme"), laneSubject("acme")
	put(lane, `{}`)
	old := put(told, `{"ledger":1}`)
	store := fencedStore{js: w.js, connection: "acme", fence: old + 2}
	var got struct{ Ledger uint64 }
	at := make(chan uint64)
	go func() {
		n, err := store.last(t.Context(), told, &got, place{lane, store.fence})
		if err != nil {
			t.Error(err)
		}
		at <- n
	}()
	for range 3 { // the first two answers came too early
		select {
		case <-asked:
		case n := <-at:
			t.Fatalf("the document at %d is taken for the newest", n)
		}
	}
	put(told, `{"ledger":2}`)
	put(lane, `{}`)
	if n := <-at; n != old+1 || got.Ledger != 2 {
		t.Errorf("the document at %d says %d", n, got.Ledger)
	}
	if n, err := store.last(t.Context(), spentSubject("acme"), &got, place{lane, store.fence}); n != 0 || err != nil {
		t.Errorf("a document that nobody wrote is at %d, %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := store.last(ctx, told, &got, place{lane, store.fence + 1}); fault.ClassOf(err) != fault.Transient {
		t.Errorf("nobody knows the place: %v", err)
	}
}

// TestLaneIsLeftToWhoLives: a beating holder keeps its lane, one that hands it back loses it at once.
func TestLaneIsLeftToWhoLives(t *testing.T) {
	t.Parallel()
	w := newTown(t, 0, func(*config.Deprovision) {})
	one, two := newBeats(w.js.Conn(), "one"), newBeats(w.js.Conn(), "two")
	fence, _, err := claim(t.Context(), w.js, "acme", one, time.Now())
	if err != nil || fence == 0 {
		t.Fatal(fence, err)
	}
	two.started = time.Now().Add(-2 * leaseTime)
	two.heard["one"] = time.Now()
	stolen, by, err := claim(t.Context(), w.js, "acme", two, time.Now())
	if err != nil || stolen != 0 || by != "one" {
		t.Fatalf("the lane of a living replica was taken: %d from %q, %v", stolen, by, err)
	}
	if err := handBack(t.Context(), w.js, "acme", fence, time.Now()); err != nil {
		t.Fatal(err)
	}
	if fence, _, err := claim(t.Context(), w.js, "acme", two, time.Now()); err != nil || fence == 0 {
		t.Fatalf("a lane that was handed back is not free: %d, %v", fence, err)
	}
}

// TestLaneIsAskedForWhenItMayBeFree: the broker is not asked about a lane whose holder beats, until the holder tells that
// it is free, falls silent, or some time has passed in which that may have been missed.
func TestLaneIsAskedForWhenItMayBeFree(t *testing.T) {
	t.Parallel()
	two := newBeats(natstest.Run(t).Connect(t), "two")
	two.started = time.Now().Add(-leaseTime)
	says := func(replica, what string) {
		two.hear(&nats.Msg{Subject: events.Subject(streams.BeatSubject, replica), Data: []byte(what)})
	}
	if !two.worthALook("acme", "one", time.Now()) {
		t.Error("a silent holder keeps its lane")
	}
	says("one", "")
	if two.worthALook("acme", "one", time.Now()) {
		t.Error("a living holder's lane is asked for")
	}
	if !two.worthALook("acme", "one", time.Now().Add(-lookEvery)) || !two.worthALook("acme", "", time.Now()) {
		t.Error("a lane that may have been missed, or has no known holder, is not asked for")
	}
	says("one", "acme")
	if two.worthALook("globex", "one", time.Now()) || !two.worthALook("acme", "one", time.Now()) {
		t.Error("a lane that was given back is not asked for, or another is")
	}
	if two.worthALook("acme", "one", time.Now()) {
		t.Error("a lane that was given back once is asked for again and again")
	}
}

// TestBatchWaitsForItsTurn: the broker refuses a batch while 50 others are open on the stream, as when many lanes write at
// the same time. Nobody loses a lane for that.
func TestBatchWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	w := newTown(t, 0, func(*config.Deprovision) {})
	var open []jetstreamext.BatchPublisher
	for i := range 50 {
		b, err := jetstreamext.NewBatchPublisher(w.js)
		if err == nil {
			err = b.Add(deprovision.RequestSubject("globex", fmt.Sprint(i)), []byte("{}"))
		}
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, b)
	}
	var msgs []*nats.Msg
	for i := range 2 {
		msgs = append(msgs, &nats.Msg{Subject: deprovision.RequestSubject("acme", fmt.Sprint(i)), Header: nats.Header{}, Data: []byte("{}")})
	}
	tries, err := w.js.Conn().SubscribeSync(msgs[0].Subject)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := publishAtomic(ctx, w.js, msgs)
		done <- err
	}()
	for range 2 { // the second try says that the first was refused
		if _, err := tries.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range open {
		if _, err := b.Commit(t.Context(), deprovision.RequestSubject("globex", "last"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("the batch was given up: %v", err)
	}
}

// TestTellingTwiceIsTellingOnce: after a crash between telling and noting it, nothing is told again, duplicate window
// or not.
func TestTellingTwiceIsTellingOnce(t *testing.T) {
	t.Parallel()
	w := newTown(t, 0, func(*config.Deprovision) {})
	r := moved(deprovision.Request{Connection: "acme", Key: "k", Publisher: "hr", Source: "/hr", ID: "1"}, deprovision.Accepted, "", time.Now())
	r = settled(r, deprovision.OutcomeRemoved, "", time.Now())
	first := teller{stream: outcomeStream{w.js}, connection: "acme"}
	if err := first.tell(t.Context(), requestEvents(r)); err != nil {
		t.Fatal(err)
	}
	again := teller{stream: outcomeStream{w.js}, connection: "acme"}
	if err := again.recall(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if len(again.known) != 2 || again.last != first.last {
		t.Fatalf("recalled %d events up to %d, want 2 up to %d", len(again.known), again.last, first.last)
	}
	again.known = nil // inside the window the broker drops them: all at once, or one by one
	if err := again.tell(t.Context(), append(requestEvents(r), requestEvents(settledOther())...)); err != nil {
		t.Fatal(err)
	}
	n, err := streams.Count(t.Context(), w.js, streams.Outcomes, events.Subject(events.DeprovisionSettledSubject, "acme", "*"))
	if err != nil || n != 2 {
		t.Fatalf("%d settled events (%v), want one for each of two requests", n, err)
	}
}

func settledOther() deprovision.Request {
	return settled(deprovision.Request{Connection: "acme", Key: "other", Publisher: "hr"}, deprovision.OutcomeFailed, "", time.Now())
}

// Events of 128 KiB can take six times that in the ledger and in an outcome: hundreds of them as one batch would not
// pass in time, and be offered again for ever.
func TestChunks_areFewAndSmall(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{0, 1 << 10, 700 << 10}), 0, 1000).Draw(t, "sizes")
		body := make([]byte, 700<<10)
		msgs := make([]*nats.Msg, len(sizes))
		for i, size := range sizes {
			msgs[i] = &nats.Msg{Data: body[:size]}
		}
		var seen []*nats.Msg
		for chunk := range chunks(msgs) {
			bytes := 0
			for _, msg := range chunk[:len(chunk)-1] {
				bytes += len(msg.Data)
			}
			if len(chunk) > commitSize || bytes >= commitBytes {
				t.Fatalf("%d messages, %d bytes without the last", len(chunk), bytes)
			}
			seen = append(seen, chunk...)
		}
		if !slices.Equal(seen, msgs) {
			t.Fatalf("%d of %d messages, or in another order", len(seen), len(msgs))
		}
	})
}
