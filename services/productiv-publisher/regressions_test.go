package publisher

import (
	"context"
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
)

// Each test of this file shows a fault that the publisher once had.

// A client whose guard objects ends the attempt, not the publication: as a permanent error the manifest would become
// a dead letter, and nobody who asked would ever be answered.
func TestDeliver_comesBackWhenTheLaneWasNotConfirmed(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme")
	w.app.before = func(string, []productiv.User) error {
		// What productiv.Client makes of a refusal by laneHold.check.
		return fault.New(fault.Permanent, "lane-lost", "the request was not completed")
	}
	err := w.deliver(t.Context(), w.lane(), w.sweep(crowd(2)))
	if err == nil || fault.ClassOf(err) == fault.Permanent {
		t.Errorf("%v (%s): want to try again", err, fault.ClassOf(err))
	}
}

// A publication that kills its process at a call must not do so for ever.
func TestPublish_suspectsWhatKeepsCrashing(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme")
	w.app.before = func(string, []productiv.User) error { panic("crash") }
	m := w.sweep(crowd(2))
	for range 10 {
		if len(w.told()) > 0 {
			break
		}
		func() {
			defer func() { _ = recover() }()
			_ = w.deliver(t.Context(), w.lane(), m)
		}()
	}
	if told := w.told(); len(told) != 1 || !strings.HasPrefix(told[0].Reason, "crash-suspect") {
		t.Errorf("after 10 starts: %+v", told)
	}
}

// Whoever was deleted counts towards the guard over time, whatever became of the rest of the plan.
func TestRemovals_countWhenThePlanFailsMidway(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	removed := func(w *world) (people int) {
		for _, r := range w.state().Removals {
			people += r.People
		}
		return people
	}
	t.Run("the vendor fails", func(t *testing.T) {
		w := b.newWorld(t, "vendor", batches(1))
		w.publish(crowd(5))
		calls := 0
		w.app.before = func(kind string, _ []productiv.User) error {
			if kind == "remove" {
				if calls++; calls == 2 {
					return fault.New(fault.Transient, "server-error", "503")
				}
			}
			return nil
		}
		w.publish(leave(crowd(5), "u0", "u1"))
		if n := removed(w); n != 1 {
			t.Errorf("%d removals remembered, 1 made", n)
		}
	})
	t.Run("the plan is too old to go on with", func(t *testing.T) {
		w := b.newWorld(t, "stale", batches(1))
		w.publish(crowd(5))
		ctx, stop := context.WithCancel(t.Context())
		w.app.after = func(kind string) error {
			if kind == "remove" {
				stop()
			}
			return nil
		}
		m := w.sweep(leave(crowd(5), "u0", "u1"))
		if err := w.deliver(ctx, w.lane(), m); err == nil {
			t.Fatal("survived")
		}
		w.app.after = nil
		w.now = w.now.Add(stalePlan + time.Second)
		w.finish(m)
		if n := removed(w); n != 2 {
			t.Errorf("%d removals remembered, 2 made", n)
		}
	})
}

// The numbers of a sweep's plans go on after another sweep had its turn: else the chunks of the plan that was held
// are taken for those of the plan that is made at the release, and who is deleted was planned long ago.
func TestRelease_sendsTheFreshPlan(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", guards(config.Guards{MaxRemovalPercent: 100, MaxRemovals: 1, MaxRemovalPercent24h: 100}))
	w.publish(crowd(6))
	if got := w.publish(leave(crowd(6), "u0", "u1", "u2")); got.Outcome != "held" {
		t.Fatalf("%+v", got)
	}
	w.publish(nil, func(m *roster.Manifest) { m.Failure, m.Detail = "loop", "loop" })
	w.app.entries = slices.DeleteFunc(w.app.entries, func(u productiv.User) bool { return u.AppUserID == "u2" })
	w.app.calls()
	w.decide("sweep-2", 1, true)
	if sent := w.app.calls(); !slices.Equal(sent, []string{"remove u0 u1"}) {
		t.Errorf("%q: planned afresh, only u0 and u1 would go", sent)
	}
}

// Somebody whom Productiv refused was never listed, and is no witness of anything.
func TestTripwire_refusedPeopleAreNoWitnesses(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", batches(1))
	w.app.refuses = []string{"u0"}
	if got := w.publish(crowd(3)); got.Outcome != "published" {
		t.Errorf("%+v", got)
	}
	w.lists(lines(crowd(3)[1:])...)
}

// After a crash the plan goes on with one chunk: whether Productiv replaces has to be known before anybody is deleted.
func TestTripwire_looksAfterACrash(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", batches(10))
	w.app.replaces = true
	w.publish(crowd(6))
	w.app.calls()
	ctx, stop := context.WithCancel(t.Context())
	w.app.after = func(string) error { stop(); return nil }
	m := w.sweep(leave(crowd(7), "u0"))
	if err := w.deliver(ctx, w.lane(), m); err == nil {
		t.Fatal("survived")
	}
	w.app.after = nil
	w.finish(m)
	if sent := w.app.calls(); slices.ContainsFunc(sent, func(s string) bool { return strings.HasPrefix(s, "remove") }) {
		t.Errorf("%q: deleted before anybody looked", sent)
	}
}

// Whatever is in people's records, a request is answered: a chunk or a ledger part that the broker does not take must
// be made smaller, or end the publication as failed.
func TestPublish_answersWhateverTheSizes(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	answered := func(w *world, people []roster.Person) {
		w.t.Helper()
		w.app.pageSize = 10_000
		m := w.sweep(people)
		if err := w.deliver(w.t.Context(), w.lane(), m); err != nil && fault.ClassOf(err) == fault.Permanent {
			w.t.Errorf("%v: the manifest becomes a dead letter and the request is never answered", err)
		} else if err != nil {
			w.t.Fatal(err)
		}
	}
	t.Run("long usernames", func(t *testing.T) {
		people := crowd(1000)
		for i := range people {
			people[i].Username = strings.Repeat("x", 1200)
		}
		answered(b.newWorld(t, "usernames"), people)
	})
	t.Run("long addresses", func(t *testing.T) {
		people := crowd(5000)
		for i := range people {
			people[i].Email = strings.Repeat("x", 230) + people[i].Email
		}
		answered(b.newWorld(t, "addresses"), people)
	})
	t.Run("an adopted entry without an address", func(t *testing.T) {
		w := b.newWorld(t, "adopted", func(w *world) { w.c.Productiv.Adopt = true })
		w.app.seed("u1")
		answered(w, []roster.Person{active("u0", "u0@x"), gone("u1", "")})
	})
}

// In replace-single an empty roster that allowEmpty lets through cannot be sent as an addition of nobody.
func TestReplaceSingle_emptyRoster(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", mode(modeReplaceSingle), func(w *world) { w.app.replaces = true })
	w.publish(crowd(2))
	w.tick = lagLimit
	w.expect(w.publish(leave(crowd(2), "u0", "u1")), "published", "", removedToo(counts(0, 0, 0, 2), 2))
	w.lists()
}

// In replace-single the absent are erased by the call, so they count towards the guard over time.
func TestReplaceSingle_remembersTheAbsent(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", mode(modeReplaceSingle), func(w *world) { w.app.replaces = true })
	w.publish(crowd(4))
	next := append(crowd(3), active("new", "new@x"))
	w.publish(next)
	if r := w.state().Removals; len(r) != 1 || r[0].People != 1 {
		t.Errorf("u3 was erased, remembered are %+v", r)
	}
}

// While paused, second entries of people who stay can wait: nobody has to fail over them.
func TestPause_secondEntriesWait(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", keys(byPair))
	w.publish(crowd(3))
	w.pause(true)
	people := crowd(3)
	people[0].PsUserID = "v0"
	for i := range 2 {
		if got := w.publish(people); got.Outcome == events.OutcomeFailed {
			t.Errorf("sync %d while paused: %s", i+1, got.Reason)
		}
	}
}

// The calls spent on finding refused people are those of one publication.
func TestBisect_budgetIsForTheWholePublication(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", batches(90))
	w.app.pageSize = 1000
	for i := range 270 {
		w.app.refuses = append(w.app.refuses, fmt.Sprint("u", i))
	}
	w.publish(crowd(300))
	if calls := len(w.app.calls()); calls > 4+bisectBudget {
		t.Errorf("%d calls, 4 chunks and %d more were allowed", calls, bisectBudget)
	}
}

// Where an addition takes the list's place, a part of one would erase everybody else: nobody is looked for by halving.
func TestReplaceSingle_refusedPeopleLeaveTheListAsItIs(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	for name, spoil := range map[string]func(*app){
		"refused":   func(a *app) { a.refuses = []string{"u3"} },
		"too-large": func(a *app) { a.tooLarge = 4 },
	} {
		w := b.newWorld(t, name, mode(modeReplaceSingle), func(w *world) { w.app.replaces = true })
		w.publish(crowd(3))
		spoil(w.app)
		if got := w.publish(crowd(4)); got.Outcome != "failed" || !strings.HasPrefix(got.Reason, name) {
			t.Errorf("%+v", got)
		}
		w.lists(lines(crowd(3))...)
	}
}

// Where Productiv lists pairs, a person's old entry has to stay as long as its address is somebody's who is not listed
// yet. When the person leaves meanwhile, the old entry is still ours to delete.
func TestReconcile_oldEntryOfALeaverGoesInTheEnd(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", keys(byPair))
	w.app.refuses = []string{"u2"}
	w.publish([]roster.Person{active("u1", "p1@x"), active("u3", "p3@x")})
	w.publish([]roster.Person{active("u1", "q1@x"), active("u2", "p1@x"), active("u3", "p3@x")})
	w.publish([]roster.Person{gone("u1", "q1@x"), active("u2", "p1@x"), active("u3", "p3@x")})
	w.lists("u1 p1@x", "u3 p3@x")
	w.publish([]roster.Person{gone("u1", "q1@x"), active("u2", "p2@x"), active("u3", "p3@x")})
	w.lists("u3 p3@x")
}

// A publication that failed half-way has changed the list: when the plan is again as it was before, everybody is sent.
func TestAppend_sendsAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", mode(modeAppend), keys(byEmail))
	w.publish([]roster.Person{active("u0", "u0@x"), active("u1", "u1@x")})
	w.app.after = func(string) error { return fault.New(fault.Permanent, "forbidden", "403") }
	if got := w.publish([]roster.Person{active("u0", "u0@x"), active("v1", "u1@x"), gone("u1", "")}); got.Outcome != "failed" {
		t.Fatalf("%+v", got)
	}
	w.app.after = nil
	w.publish([]roster.Person{active("u0", "u0@x"), active("u1", "u1@x")})
	w.lists("u0 u0@x", "u1 u1@x")
}

// A deletion that Productiv carries out in part leaves an entry that is ours until it is gone.
func TestReconcile_deletesWhatWasLeft(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme")
	w.publish(crowd(4))
	w.app.keeps, w.tick = "u1", lagLimit
	if got := w.publish(leave(crowd(4), "u0", "u1")); got.Outcome != "failed" || !strings.HasPrefix(got.Reason, "mismatch") {
		t.Errorf("%+v", got)
	}
	w.app.keeps = ""
	w.publish(leave(crowd(4), "u0", "u1"))
	w.lists("u2 u2@x", "u3 u3@x")
}

// The same when the older entry stays because its owner is absent, and only the newer one's address is somebody's.
func TestReconcile_oldEntryOfAnAbsentPersonGoesInTheEnd(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", keys(byPair))
	w.publish([]roster.Person{active("u1", "p1@x"), active("u4", "q6@x"), active("u5", "p5@x")})
	w.app.entries = append(w.app.entries, productiv.User{AppUserID: "u4", Email: "p4@x"}) // one that a list did not show in time
	gone := []roster.Person{active("u1", "q6@x"), active("u5", "p5@x")}
	for range 3 {
		w.publish(gone)
	}
	w.lists("u1 q6@x", "u5 p5@x")
}
