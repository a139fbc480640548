package publisher

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// counts are those of a plan of active people only, with what was told.
func counts(active, added, changed, deleted int) events.Counts {
	return events.Counts{Fetched: active, Active: active, Added: added, Changed: changed, Deleted: deleted}
}

// removedToo adds people who are in the plan but not on the account.
func removedToo(c events.Counts, removed int) events.Counts {
	c.Fetched, c.Removed = c.Fetched+removed, c.Removed+removed
	return c
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	people := crowd(7)

	t.Run("adds, changes, deletes, and leaves alone what is right", func(t *testing.T) {
		w := b.newWorld(t, "story", batches(3))
		w.expect(w.publish(people), "published", "", counts(7, 7, 0, 0))
		w.lists(lines(people)...)
		w.app.calls()

		w.expect(w.publish(people), "unchanged", "", counts(7, 0, 0, 0))
		if sent := w.app.calls(); len(sent) != 0 {
			t.Errorf("unchanged, and yet %q", sent)
		}

		next := leave(people, "u0", "u1")
		next[2].License = "Enterprise"
		next = append(next, active("u7", "u7@x"))
		w.expect(w.publish(next), "published", "", removedToo(counts(6, 1, 1, 2), 2))
		w.lists(lines(next[2:])...)
		if sent := w.app.calls(); !slices.Equal(sent, []string{"add u2 u7", "remove u0 u1"}) {
			t.Errorf("%q: additions come first", sent)
		}
		if p := w.state(); p.Owned.People != 6 || p.Plan != nil || p.Stalls != 0 || p.Published.People != 6 {
			t.Errorf("%+v", p)
		}
	})

	t.Run("strangers stay, whoever they are", func(t *testing.T) {
		w := b.newWorld(t, "strangers")
		w.app.seed("x1 x1@x", "u1 u1@x")
		w.publish(crowd(1))
		w.expect(w.publish(leave(crowd(2), "u0", "u1")), "published", "", removedToo(counts(0, 0, 0, 1), 2))
		w.lists("x1 x1@x", "u1 u1@x")
	})

	t.Run("adopted people are ours", func(t *testing.T) {
		w := b.newWorld(t, "adopted", func(w *world) { w.c.Productiv.Adopt = true })
		w.app.seed("u0 u0@x", "u1 u1@x", "x1 x1@x")
		w.expect(w.publish(leave(crowd(2), "u1")), "published", "", removedToo(counts(1, 0, 0, 1), 1))
		w.lists("u0 u0@x", "x1 x1@x")
		w.publish(leave(crowd(2), "u1")) // the second sound sweep without x1
		w.lists("u0 u0@x")
	})

	t.Run("somebody absent goes after two sound sweeps without them", func(t *testing.T) {
		w := b.newWorld(t, "absent")
		w.publish(crowd(3))
		w.expect(w.publish(crowd(2)), "unchanged", "", counts(2, 0, 0, 0))
		w.lists(lines(crowd(3))...)
		// A failed sweep in between says nothing about anybody.
		w.publish(nil, func(m *roster.Manifest) { m.Failure, m.Detail = "empty-page", "empty-page: nobody" })
		w.lists(lines(crowd(3))...)
		w.expect(w.publish(crowd(2)), "published", "", counts(2, 0, 0, 1))
		w.lists(lines(crowd(2))...)
	})

	t.Run("somebody who comes back in between starts the count again", func(t *testing.T) {
		w := b.newWorld(t, "back")
		for _, n := range []int{3, 2, 3, 2} {
			w.publish(crowd(n))
		}
		w.lists(lines(crowd(3))...)
		w.publish(crowd(2))
		w.lists(lines(crowd(2))...)
	})

	t.Run("a failed sweep touches nothing and says why", func(t *testing.T) {
		w := b.newWorld(t, "failed")
		w.publish(people)
		w.app.calls()
		got := w.publish(nil, func(m *roster.Manifest) { m.Failure, m.Detail = "loop", "loop: the vendor started over" })
		w.expect(got, "failed", "loop: the vendor started over", events.Counts{})
		if sent := w.app.calls(); len(sent) != 0 {
			t.Errorf("%q", sent)
		}
		if got.Plan != (events.PlanCounts{Licenses: 9, Assigned: 8}) || got.SweepID != "sweep-2" || got.RequestID != "request-2" {
			t.Errorf("%+v", got)
		}
	})

	t.Run("pages that are not whole, or not those that were read", func(t *testing.T) {
		for name, tt := range map[string]struct {
			people []roster.Person
			change func(*roster.Manifest)
			reason string
		}{
			"missing":   {people, func(m *roster.Manifest) { m.Pages++; m.Spans[0].To++ }, "missing-page"},
			"differ":    {people, func(m *roster.Manifest) { m.Root = "another" }, "pages-differ"},
			"too-few":   {people, func(m *roster.Manifest) { m.Total++ }, "counts-disagree"},
			"conflict":  {append(crowd(3), active("u0", "other@x")), nil, "conflicting-repeats"},
			"too-many":  {people, func(m *roster.Manifest) { m.Total-- }, "counts-disagree"},
			"repeats":   {append(crowd(3), crowd(1)...), nil, ""},
			"whole-one": {people, nil, ""},
		} {
			w := b.newWorld(t, name)
			if tt.change == nil {
				tt.change = func(*roster.Manifest) {}
			}
			got := w.publish(tt.people, tt.change)
			if want := map[bool]string{true: "published", false: "failed"}[tt.reason == ""]; got.Outcome != want || !strings.HasPrefix(got.Reason, tt.reason) {
				t.Errorf("%s: %s %q", name, got.Outcome, got.Reason)
			}
			if sent := w.app.calls(); tt.reason != "" && (len(sent) != 0 || w.app.reads != 0) {
				t.Errorf("%s: %q", name, sent)
			}
		}
	})

	t.Run("people who share an address are rejected, all of them", func(t *testing.T) {
		w := b.newWorld(t, "shared")
		got := w.publish([]roster.Person{active("a", "s@x"), active("b", "s@x"), active("c", "c@x"), {PsUserID: "d", Disposition: roster.Rejected}, {PsUserID: "e", Email: "e@x", Disposition: roster.Excluded}})
		w.expect(got, "published", "", events.Counts{Fetched: 5, Active: 1, Rejected: 3, Excluded: 1, Added: 1})
		w.lists("c c@x")
	})

	t.Run("a connection without Productiv", func(t *testing.T) {
		w := b.newWorld(t, "reads-only", func(w *world) { w.c.Productiv = nil })
		w.expect(w.publish(leave(people, "u0")), "unchanged", "no-productiv", removedToo(counts(6, 0, 0, 0), 1))
	})

	t.Run("a page token that repeats", func(t *testing.T) {
		w := b.newWorld(t, "tokens")
		w.publish(people)
		w.app.calls()
		w.app.pageSize = 0 // every page is empty and names the first again
		w.expect(w.publish(leave(people, "u0")), "failed", "page-token-loop", removedToo(counts(6, 0, 0, 0), 1))
		if sent := w.app.calls(); len(sent) != 0 {
			t.Errorf("%q", sent)
		}
	})

	t.Run("a vendor that fails ends the publication with its reason", func(t *testing.T) {
		w := b.newWorld(t, "vendor")
		w.app.before = func(string, []productiv.User) error {
			return fault.New(fault.Transient, "server-error", "Productiv failed (503)")
		}
		w.expect(w.publish(people), "failed", "server-error", counts(7, 7, 0, 0))
		w.app.before = nil
		w.expect(w.publish(people), "published", "", counts(7, 7, 0, 0))
	})
}

// Whatever Productiv's key is, a change of id or of address is no removal, and leaves one entry for each person.
func TestReconcile_rekeyAndChangedAddresses(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	tight := config.Guards{MaxRemovalPercent: 1, MaxRemovals: 0, MaxRemovalPercent24h: 1}
	for name, key := range models {
		token := strings.ReplaceAll(name, " ", "-")
		t.Run(name, func(t *testing.T) {
			w := b.newWorld(t, token, keys(key), guards(tight), batches(2))
			w.publish(crowd(5))
			rekeyed, moved := crowd(5), crowd(5)
			for i := range rekeyed {
				rekeyed[i].PsUserID = fmt.Sprint("v", i)
				moved[i].PsUserID, moved[i].Email = fmt.Sprint("v", i), fmt.Sprintf("moved%d@x", i)
			}
			if got := w.publish(rekeyed); got.Outcome != "published" {
				t.Errorf("ids changed: %+v", got)
			}
			w.lists(lines(rekeyed)...)
			if got := w.publish(moved); got.Outcome != "published" {
				t.Errorf("addresses changed: %+v", got)
			}
			w.lists(lines(moved)...)
			w.app.calls()
			if got := w.publish(moved); got.Outcome != "unchanged" {
				t.Errorf("%+v", got)
			}
			if len(w.state().Removals) != 0 {
				t.Errorf("counted as removals: %+v", w.state().Removals)
			}
		})
	}
}

func TestReconcile_swappedAddresses(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for name, key := range models {
		w := b.newWorld(t, "swap-"+strings.ReplaceAll(name, " ", "-"), keys(key))
		w.publish(crowd(2))
		swapped := []roster.Person{active("u0", "u1@x"), active("u1", "u0@x")}
		if got := w.publish(swapped); got.Outcome != "published" {
			t.Errorf("%s: %+v", name, got)
		}
		w.lists(lines(swapped)...)
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	b := newBroker(t)

	t.Run("who removes somebody is held, who only adds is not", func(t *testing.T) {
		w := b.newWorld(t, "paused")
		w.publish(crowd(3))
		w.pause(true)
		w.app.calls()
		w.expect(w.publish(crowd(4)), "published", "", counts(4, 1, 0, 0))
		w.expect(w.publish(leave(crowd(5), "u0")), "held", "paused", removedToo(counts(4, 0, 0, 0), 1))
		w.lists(lines(crowd(4))...)
		// A release does not answer for a pause.
		got := w.decide("sweep-3", 1, true)
		if got.Outcome != "held" || got.Reason != "paused" {
			t.Errorf("%+v", got)
		}
		w.pause(false)
		if got := w.decide("sweep-3", 2, true); got.Outcome != "published" {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(5)[1:])...)
	})

	t.Run("paused between two chunks", func(t *testing.T) {
		w := b.newWorld(t, "paused-midway", batches(1))
		w.publish(crowd(3))
		w.app.after = func(kind string) error {
			if kind == "remove" {
				w.pause(true)
			}
			return nil
		}
		if got := w.publish(leave(crowd(3), "u0", "u1")); got.Outcome != "failed" || !strings.HasPrefix(got.Reason, "paused") {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(3)[1:])...)
	})

	t.Run("unreadable counts as paused", func(t *testing.T) {
		w := b.newWorld(t, "unreadable")
		w.publish(crowd(2))
		kv, err := w.js.KeyValue(t.Context(), streams.State)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Put(t.Context(), "pause.unreadable", []byte("?")); err != nil {
			t.Fatal(err)
		}
		w.app.calls()
		if got := w.publish(leave(crowd(2), "u0")); got.Outcome != "held" || got.Reason != "paused" {
			t.Errorf("%+v", got)
		}
		if sent := w.app.calls(); len(sent) != 0 {
			t.Errorf("%q", sent)
		}
	})
}

func TestHold(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	limit := guards(config.Guards{MaxRemovalPercent: 100, MaxRemovals: 1, MaxRemovalPercent24h: 100})
	held := func(w *world, ids ...string) {
		w.t.Helper()
		w.publish(crowd(6))
		w.app.calls()
		if got := w.publish(leave(crowd(6), ids...)); got.Outcome != "held" || !strings.HasPrefix(got.Reason, "maxRemovals:") || got.Counts.Deleted != 0 {
			w.t.Fatalf("%+v", got)
		}
		if sent := w.app.calls(); len(sent) != 0 {
			w.t.Fatalf("%q", sent)
		}
	}

	t.Run("released", func(t *testing.T) {
		w := b.newWorld(t, "released", limit)
		held(w, "u0", "u1")
		w.expect(w.decide("sweep-2", 1, true), "published", "", removedToo(counts(4, 0, 0, 2), 2))
		w.lists(lines(crowd(6)[2:])...)
		if r := w.state().Record("sweep-2"); r.State != roster.StatePublished || r.By != "grace" {
			t.Errorf("%+v", r)
		}
		// The person accepted the list as it is: the guards over time start again.
		if n := len(w.state().Removals); n != 0 {
			t.Errorf("%d removals remembered", n)
		}
		if n := len(w.told()); n != 3 {
			t.Errorf("%d events, want one per request and one more for the decision", n)
		}
	})

	t.Run("released when fewer would go by now", func(t *testing.T) {
		w := b.newWorld(t, "fewer", limit)
		held(w, "u0", "u1", "u2")
		w.app.entries = slices.DeleteFunc(w.app.entries, func(u productiv.User) bool { return u.AppUserID == "u2" })
		w.decide("sweep-2", 1, true)
		if sent := w.app.calls(); !slices.Equal(sent, []string{"remove u0 u1"}) {
			t.Errorf("%q", sent)
		}
	})

	t.Run("released, but others would go", func(t *testing.T) {
		w := b.newWorld(t, "others", limit)
		w.app.seed("z z@x") // ours in the ledger of nobody yet
		w.publish(crowd(6))
		w.app.calls()
		// u3 is removed too, but not listed while the hold is made.
		w.app.entries = slices.DeleteFunc(w.app.entries, func(u productiv.User) bool { return u.AppUserID == "u3" })
		if got := w.publish(leave(crowd(6), "u0", "u1", "u3")); got.Outcome != "held" {
			t.Fatalf("%+v", got)
		}
		w.app.seed("u3 u3@x")
		got := w.decide("sweep-2", 1, true)
		if got.Outcome != "held" || !strings.HasPrefix(got.Reason, "others would go than were released") {
			t.Errorf("%+v", got)
		}
		if sent := w.app.calls(); len(sent) != 0 {
			t.Errorf("%q", sent)
		}
		// The second hold covers them, and the first decision is spent.
		if err := w.decided(w.lane(), "sweep-2", 1, true); err != nil {
			t.Fatal(err)
		}
		if sent := w.app.calls(); len(sent) != 0 {
			t.Errorf("an old decision was obeyed: %q", sent)
		}
		if got := w.decide("sweep-2", 2, true); got.Outcome != "published" {
			t.Errorf("%+v", got)
		}
		w.lists("z z@x", "u2 u2@x", "u4 u4@x", "u5 u5@x")
	})

	t.Run("declined", func(t *testing.T) {
		w := b.newWorld(t, "declined", limit)
		held(w, "u0", "u1")
		w.expect(w.decide("sweep-2", 1, false), "failed", "declined", removedToo(counts(4, 0, 0, 0), 2))
		w.lists(lines(crowd(6))...)
		if r := w.state().Record("sweep-2"); r.State != roster.StateDeclined || r.By != "grace" {
			t.Errorf("%+v", r)
		}
		// Declined is declined.
		if err := w.decided(w.lane(), "sweep-2", 1, true); err != nil {
			t.Fatal(err)
		}
		w.lists(lines(crowd(6))...)
		if n := len(w.told()); n != 3 {
			t.Errorf("%d events", n)
		}
	})

	t.Run("a newer sweep takes the hold's place", func(t *testing.T) {
		w := b.newWorld(t, "superseded", limit)
		held(w, "u0", "u1")
		w.publish(leave(crowd(6), "u0"))
		w.lists(lines(crowd(6)[1:])...)
		if r := w.state().Record("sweep-2"); r.State != roster.StateDeclined || !strings.HasPrefix(r.Reason, "superseded by sweep") {
			t.Errorf("%+v", r)
		}
		if err := w.decided(w.lane(), "sweep-2", 1, true); err != nil {
			t.Fatal(err)
		}
		w.lists(lines(crowd(6)[1:])...)
	})

	t.Run("a failed sweep does not", func(t *testing.T) {
		w := b.newWorld(t, "stands", limit)
		held(w, "u0", "u1")
		w.publish(nil, func(m *roster.Manifest) { m.Failure, m.Detail = "loop", "loop" })
		if got := w.decide("sweep-2", 1, true); got.Outcome != "published" || got.Counts.Deleted != 2 {
			t.Errorf("%+v", got)
		}
	})

	t.Run("a decision about a sweep that nobody knows", func(t *testing.T) {
		w := b.newWorld(t, "nobodys", limit)
		if err := w.decided(w.lane(), "no-sweep", 1, true); fault.ReasonOf(err) != "rejected" || fault.ClassOf(err) != fault.Permanent {
			t.Error(err)
		}
	})

	t.Run("absent people are for a person to see now", func(t *testing.T) {
		w := b.newWorld(t, "half-missing", limit)
		w.publish(crowd(6))
		if got := w.publish(crowd(3)); got.Outcome != "held" || !strings.HasPrefix(got.Reason, "maxRemovals:") {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(6))...)
	})

	t.Run("percentages are of who is published, not of who was fetched", func(t *testing.T) {
		w := b.newWorld(t, "fetched", guards(config.Guards{MaxRemovalPercent: 20, MaxRemovals: 100, MaxRemovalPercent24h: 100}))
		long := crowd(20)
		for i := range 14 { // left long ago, and still on the plan's pages
			long[i].Disposition = roster.Removed
		}
		w.publish(long)
		if got := w.publish(leave(long, "u14", "u15", "u16")); got.Outcome != "held" || !strings.HasPrefix(got.Reason, "maxRemovalPercent: 3 of 6") {
			t.Errorf("%+v", got)
		}
	})

	t.Run("a drain in small steps meets the guard over time", func(t *testing.T) {
		w := b.newWorld(t, "drain", guards(config.Guards{MaxRemovalPercent: 10, MaxRemovals: 100, MaxRemovalPercent24h: 20}))
		w.publish(crowd(20))
		var gone []string
		outcomes := map[string]int{}
		for i := range 6 {
			gone = append(gone, fmt.Sprint("u", i))
			w.now = w.now.Add(time.Hour)
			outcomes[w.publish(leave(crowd(20), gone...)).Outcome]++
		}
		if outcomes["published"] != 4 || outcomes["held"] != 2 {
			t.Errorf("%v: 20 %% of 20 people may go in a day", outcomes)
		}
		w.now = w.now.Add(25 * time.Hour)
		if got := w.publish(leave(crowd(20), gone...)); got.Outcome != "published" {
			t.Errorf("a day later: %+v", got)
		}
	})
}

// Every request that a sweep answers gets one event, however often the manifest is delivered.
func TestAnswer_oneEventForEachRequest(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme")
	first := w.ask("r1")
	w.ask("r2")
	m := w.sweep(crowd(2), func(m *roster.Manifest) { m.After = first - 1 })
	w.ask("later")
	for range 3 {
		w.finish(m)
	}
	var who []string
	for _, e := range w.told() {
		who = append(who, e.RequestID)
	}
	if !slices.Equal(who, []string{"r1", "r2", "request-1"}) {
		t.Errorf("%q", who)
	}
}

func TestKeep_freesThePagesOfOlderSweeps(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme")
	stored := func(sweep string) int {
		n, err := streams.Count(t.Context(), w.js, streams.Normalized, events.Subject(streams.UsersNormalizedSubject, "acme", sweep, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	w.publish(crowd(4))
	w.publish(crowd(4), func(m *roster.Manifest) { m.Failure, m.Detail = "loop", "loop" })
	if stored("sweep-1") == 0 {
		t.Error("a failed sweep took the pages of the last sound one")
	}
	w.publish(crowd(4))
	if stored("sweep-1") != 0 || stored("sweep-2") != 0 || stored("sweep-3") == 0 {
		t.Errorf("%d, %d, %d pages stored", stored("sweep-1"), stored("sweep-2"), stored("sweep-3"))
	}
}

func TestLaneHold(t *testing.T) {
	t.Parallel()
	var h laneHold
	if err := h.check(); fault.ReasonOf(err) != "lane-lost" {
		t.Errorf("never confirmed: %v", err)
	}
	w := newBroker(t).newWorld(t, "acme")
	turn := w.turn()
	if err := h.renew(t.Context(), turn.delivery); err != nil || h.check() != nil {
		t.Errorf("%v, %v", err, h.check())
	}
	h.renewed.Store(new(time.Now().Add(-grip - time.Second)))
	if err := h.check(); fault.ReasonOf(err) != "lane-lost" {
		t.Errorf("too long ago: %v", err)
	}
}

func TestDeliver_leavesTheStateToWhoHasTheLane(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", batches(1))
	other := w.lane()
	w.app.after = func(string) error { // somebody else goes on with this publication meanwhile
		w.app.after = nil
		var p roster.Publication
		revision, err := other.deps.State.Get(t.Context(), roster.PublicationKey("acme"), &p)
		if err == nil {
			_, err = other.deps.State.Put(t.Context(), roster.PublicationKey("acme"), p, revision)
		}
		return err
	}
	m := w.sweep(crowd(3))
	err := w.deliver(t.Context(), w.lane(), m)
	if fault.ReasonOf(err) != "lane-lost" || fault.ClassOf(err) != fault.Transient {
		t.Fatal(err)
	}
	if sent := w.app.calls(); len(sent) != 1 || len(w.told()) != 0 {
		t.Errorf("%q and %d events by who lost the lane", sent, len(w.told()))
	}
	w.expect(w.finish(m), "published", "", counts(3, 3, 0, 0))
	w.lists(lines(crowd(3))...)
}
