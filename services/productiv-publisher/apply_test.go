package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// bisecting is a turn that may send, with an app that refuses some people.
func bisecting(refuses ...string) (*turn, *app) {
	a := &app{key: byID, pageSize: 1000, refuses: refuses}
	l := &lane{app: a, connection: config.Connection{Productiv: &config.Productiv{Mode: modeReconcile}}}
	return &turn{lane: l, refused: map[personKey]struct{}{}}, a
}

func batchOf(n int) (users []productiv.User) {
	for i := range n {
		users = append(users, productiv.User{AppUserID: fmt.Sprint("u", i), Email: fmt.Sprintf("u%d@x", i)})
	}
	return users
}

func sealedOf(t *testing.T, users []productiv.User) []byte {
	t.Helper()
	body, err := productiv.EncodeUsers(users)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// Exactly the refused people are set aside, everybody else gets through, and the calls stay within the budget.
func TestBisect_findsExactlyTheRefused(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		users := batchOf(rapid.IntRange(1, 120).Draw(rt, "people"))
		var refuses []string
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(users)-1), 0, min(6, len(users)), rapid.ID).Draw(rt, "refused") {
			refuses = append(refuses, users[i].AppUserID)
		}
		turn, a := bisecting(refuses...)
		turn.delivery.Lease = ours{}
		if err := turn.bisect(t.Context(), sealedOf(t, users)); err != nil {
			rt.Fatal(err)
		}
		if len(turn.refused) != len(refuses) || len(a.entries) != len(users)-len(refuses) {
			rt.Fatalf("%d set aside and %d listed of %d, %d refused", len(turn.refused), len(a.entries), len(users), len(refuses))
		}
		for _, id := range refuses {
			if _, found := turn.refused[keyOf(id)]; !found {
				rt.Fatalf("%s is not set aside", id)
			}
		}
		if calls := len(a.calls()); calls > 1+bisectBudget || turn.bisected > bisectBudget {
			rt.Fatalf("%d calls", calls)
		}
	})
}

// A chunk of which Productiv takes nobody must not cost a call for each.
func TestBisect_givesUpWhenTooManyAreRefused(t *testing.T) {
	t.Parallel()
	users := batchOf(1000)
	var all []string
	for _, u := range users {
		all = append(all, u.AppUserID)
	}
	turn, a := bisecting(all...)
	turn.delivery.Lease = ours{}
	err := turn.bisect(t.Context(), sealedOf(t, users))
	if err == nil || !strings.HasPrefix(err.Error(), "refused") {
		t.Error(err)
	}
	if calls := len(a.calls()); calls > 1+bisectBudget {
		t.Errorf("%d calls", calls)
	}
}

func TestSend_halvesWhatIsTooLarge(t *testing.T) {
	t.Parallel()
	for _, tooLarge := range []int{2, 3, 7, 100} {
		turn, a := bisecting()
		turn.delivery.Lease = ours{}
		a.tooLarge = tooLarge
		if err := turn.bisect(t.Context(), sealedOf(t, batchOf(20))); err != nil {
			t.Fatal(err)
		}
		if len(a.entries) != 20 {
			t.Errorf("limit %d: %d of 20 listed", tooLarge, len(a.entries))
		}
		for i, u := range a.entries {
			if u.AppUserID != fmt.Sprint("u", i) {
				t.Fatalf("limit %d: %s in place %d", tooLarge, u.AppUserID, i)
			}
		}
	}
	turn, a := bisecting()
	turn.delivery.Lease = ours{}
	a.tooLarge = 1
	if err := turn.bisect(t.Context(), sealedOf(t, batchOf(1))); err == nil || !strings.HasPrefix(err.Error(), "too-large") {
		t.Errorf("one person who is too large: %v", err)
	}
}

// A refused person keeps nobody else from the list, and the answer counts them without naming them.
func TestRefusedPeople(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for _, m := range []string{modeReconcile, modeAppend} {
		w := b.newWorld(t, "refused-"+m, mode(m), batches(4))
		w.app.refuses = []string{"u1", "u6"}
		got := w.publish(crowd(8))
		if got.Outcome != "published" || got.Reason != "refused: Productiv does not take 2 of the people; everybody else is published" {
			t.Errorf("%s: %+v", m, got)
		}
		if len(w.app.list()) != 6 {
			t.Errorf("%s: %q", m, w.app.list())
		}
	}
}

func (w *world) chunks() (subjects []string, bodies [][]byte) {
	w.t.Helper()
	filter := events.Subject(streams.PublicationChunkSubject, w.c.Name, "*", "*", "*")
	for msg, err := range streams.Read(w.t.Context(), w.js, streams.Plans, filter, 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		tokens := strings.Split(msg.Subject, ".")
		subjects, bodies = append(subjects, strings.Join(tokens[len(tokens)-3:], ".")), append(bodies, msg.Data)
	}
	return subjects, bodies
}

// The sealed bytes are those that are sent, they depend on the roster alone, and no chunk is beyond the batch size.
func TestSeal(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	var first [][]byte
	for _, name := range []string{"one", "two"} {
		w := b.newWorld(t, name, batches(4))
		w.publish(crowd(10))
		next := leave(crowd(13), "u0", "u1", "u2", "u3", "u4")
		w.publish(next)
		subjects, bodies := w.chunks()
		want := []string{
			"sweep-1.1.a000000", "sweep-1.1.a000001", "sweep-1.1.a000002",
			"sweep-2.2.r000000", "sweep-2.2.r000001", "sweep-2.2.a000000",
		}
		if !slices.Equal(subjects, want) {
			t.Fatalf("%q", subjects)
		}
		for i, body := range bodies {
			if n := strings.Count(string(body), "appUserId"); n > 4 {
				t.Errorf("%d people in %s", n, subjects[i])
			}
		}
		if first == nil {
			first = bodies
		}
		if !slices.EqualFunc(first, bodies, func(a, b []byte) bool { return string(a) == string(b) }) {
			t.Error("the same roster gives other bytes")
		}
		if sent := w.app.calls(); !slices.Equal(sent[3:], []string{"add u10 u11 u12", "remove u0 u1 u2 u3", "remove u4"}) {
			t.Errorf("%q", sent)
		}
	}
}

func TestSeal_sizes(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for i, tt := range []struct{ people, batch, chunks int }{{1, 1000, 1}, {1000, 1000, 1}, {1001, 1000, 2}, {5, 1, 5}} {
		w := b.newWorld(t, fmt.Sprint("sizes-", i), batches(tt.batch))
		w.app.pageSize = 1000
		turn := w.turn()
		if err := turn.begin(t.Context(), roster.Manifest{SweepID: "s"}); err != nil {
			t.Fatal(err)
		}
		s, err := turn.newSealer(t.Context(), roster.Manifest{SweepID: "s"})
		if err != nil {
			t.Fatal(err)
		}
		var leavers []pair
		for _, u := range batchOf(tt.people) {
			leavers = append(leavers, pair{u.AppUserID, u.Email})
		}
		if err := s.removals(t.Context(), leavers); err != nil {
			t.Fatal(err)
		}
		if subjects, _ := w.chunks(); s.plan.Deletes != tt.chunks || len(subjects) != tt.chunks {
			t.Errorf("%d people in %d chunks (%d stored), want %d", tt.people, s.plan.Deletes, len(subjects), tt.chunks)
		}
	}
}

// An app that replaces its list loses nobody but who the first chunk cost it: one call, no deletion, and a way out.
func TestTripwire(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	replaces := func(w *world) { w.app.replaces = true }
	stopped := func(w *world, got events.RosterPublished, calls int) {
		w.t.Helper()
		sent := w.app.calls()
		if got.Outcome != "failed" || !strings.HasPrefix(got.Reason, "semantics-mismatch") || !strings.Contains(got.Reason, "replace-single") {
			w.t.Errorf("%+v", got)
		}
		if len(sent) != calls || slices.ContainsFunc(sent, func(s string) bool { return strings.HasPrefix(s, "remove") }) {
			w.t.Errorf("%q, want %d additions", sent, calls)
		}
	}
	for _, m := range []string{modeReconcile, modeAppend} {
		t.Run(m+", people were listed before", func(t *testing.T) {
			w := b.newWorld(t, "listed-"+m, mode(m), batches(10), replaces)
			w.publish(crowd(10))
			w.app.calls()
			w.c.Productiv.BatchSize = 2
			next := crowd(16)
			stopped(w, w.publish(leave(next[6:], "u6", "u7"), func(m *roster.Manifest) {}), 1)
		})
		t.Run(m+", the list was empty", func(t *testing.T) {
			w := b.newWorld(t, "empty-"+m, mode(m), batches(2), replaces)
			stopped(w, w.publish(crowd(9)), 2)
		})
		t.Run(m+", one chunk and removals", func(t *testing.T) {
			w := b.newWorld(t, "removals-"+m, mode(m), batches(10), replaces)
			w.publish(crowd(6))
			w.app.calls()
			w.c.Productiv.BatchSize = 1
			next := leave(crowd(7), "u0")
			if m == modeAppend {
				stopped(w, w.publish(next), 1)
				return
			}
			stopped(w, w.publish(next), 1)
		})
		t.Run(m+", an app that adds is left alone", func(t *testing.T) {
			w := b.newWorld(t, "adds-"+m, mode(m), batches(2))
			if got := w.publish(crowd(9)); got.Outcome != "published" {
				t.Errorf("%+v", got)
			}
			if got := w.publish(leave(crowd(12), "u0")); got.Outcome != "published" {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("one chunk onto strangers, found when the list is read back", func(t *testing.T) {
		w := b.newWorld(t, "settle", batches(10), replaces)
		w.publish(crowd(3))
		w.app.calls()
		stopped(w, w.publish(append(crowd(3), active("new", "new@x"))), 1)
	})
}

func TestReplaceSingle(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	single := func(w *world) { w.c.Productiv.Mode, w.app.replaces = modeReplaceSingle, true }

	t.Run("one call with everybody", func(t *testing.T) {
		w := b.newWorld(t, "story", single)
		w.expect(w.publish(crowd(5)), "published", "", counts(5, 5, 0, 0))
		w.expect(w.publish(crowd(5)), "unchanged", "", counts(5, 0, 0, 0))
		got := w.publish(leave(crowd(6), "u0"))
		if got.Outcome != "published" || got.Counts.Added != 1 {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(6)[1:])...)
		if sent := w.app.calls(); !slices.Equal(sent, []string{"add u0 u1 u2 u3 u4", "add u1 u2 u3 u4 u5"}) {
			t.Errorf("%q", sent)
		}
	})
	t.Run("more than one call takes", func(t *testing.T) {
		w := b.newWorld(t, "limit", single, batches(5))
		if got := w.publish(crowd(5)); got.Outcome != "published" {
			t.Errorf("%+v", got)
		}
		if got := w.publish(crowd(6)); got.Outcome != "failed" || !strings.HasPrefix(got.Reason, "replace-single-too-many") {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(5))...)
	})
	t.Run("strangers would be erased", func(t *testing.T) {
		w := b.newWorld(t, "strangers", single)
		w.app.seed("x x@x")
		if got := w.publish(crowd(2)); got.Outcome != "failed" || !strings.HasPrefix(got.Reason, "foreign-people") {
			t.Errorf("%+v", got)
		}
		w.lists("x x@x")
	})
	t.Run("held, because absent people are erased too", func(t *testing.T) {
		w := b.newWorld(t, "absent", single, func(w *world) { w.c.Guards.MaxRemovals = 1 })
		w.publish(crowd(5))
		if got := w.publish(crowd(3)); got.Outcome != "held" {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(5))...)
	})
	t.Run("paused", func(t *testing.T) {
		w := b.newWorld(t, "pause", single)
		w.publish(crowd(5))
		w.pause(true)
		if got := w.publish(leave(crowd(5), "u0")); got.Outcome != "held" || got.Reason != "paused" {
			t.Errorf("%+v", got)
		}
	})
}

// notOurs is a lane that somebody else has by now.
type notOurs struct{}

func (notOurs) Renew(context.Context) error { return errors.New("somebody else has the message") }

// Right before each call the broker is asked whether the lane is still ours.
func TestSend_asksForTheLaneFirst(t *testing.T) {
	t.Parallel()
	turn := &turn{lane: &lane{}, delivery: bus.Delivery{Lease: notOurs{}}}
	err := turn.send(t.Context(), nil, func([]byte) error {
		t.Error("a call without the lane")
		return nil
	})
	if fault.ReasonOf(err) != "lane-lost" {
		t.Error(err)
	}
}
