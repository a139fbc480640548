package publisher

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/roster"
)

// inParts makes the publisher work a small roster through in n parts: it divides by what the manifest says was read.
func inParts(n int) func(*roster.Manifest) {
	return func(m *roster.Manifest) {
		if n > 1 {
			m.Nodes = n * partPeople
		}
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", mode(modeAppend), batches(4))
	w.expect(w.publish(crowd(6)), "published", "", counts(6, 6, 0, 0))
	w.expect(w.publish(crowd(6)), "unchanged", "", counts(6, 0, 0, 0))
	w.app.calls()
	w.expect(w.publish(leave(crowd(7), "u0")), "published", "", removedToo(counts(6, 1, 5, 1), 1))
	w.lists(lines(crowd(7)[1:])...)
	if sent := w.app.calls(); !slices.Equal(sent, []string{"add u1 u2 u3 u4", "add u5 u6", "remove u0"}) {
		t.Errorf("%q: everybody is sent when anything changed", sent)
	}
	if reads := w.app.reads; reads > 5 { // pages to see whether an addition adds
		t.Errorf("%d pages of Productiv's list read, which append does not need", reads)
	}
	// The same people go on leaving: only they are told.
	w.expect(w.publish(leave(crowd(7), "u0", "u1")), "published", "", removedToo(counts(5, 0, 5, 1), 2))
}

// A person under another id keeps the address: the old entry is not deleted unseen, for it might be the new one.
func TestAppend_doesNotDeleteWhoStays(t *testing.T) {
	t.Parallel()
	w := newBroker(t).newWorld(t, "acme", mode(modeAppend), keys(byEmail))
	w.publish(crowd(3))
	w.publish([]roster.Person{active("v0", "u0@x"), gone("u0", "u0@x"), active("u1", "u1@x"), active("u2", "u2@x")})
	w.lists("v0 u0@x", "u1 u1@x", "u2 u2@x")
}

// A roster that is worked through in parts ends just as one that is held whole.
func TestAppend_inPartsIsTheSame(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	type end struct {
		Told   []events.RosterPublished
		List   []string
		Owners []roster.Owner
	}
	story := func(parts int) (e end) {
		w := b.newWorld(t, fmt.Sprint("parts-", parts), mode(modeAppend), batches(3))
		people := crowd(25)
		people[3].Email, people[4].Email = "twin@x", "twin@x"
		people = append(people, people[7]) // an identical repeat
		again := leave(people[:24], "u1", "u9", "u17")
		again[12].License = "Enterprise"
		for _, p := range [][]roster.Person{people, people, again, again, append(slices.Clone(again), active("late", "late@x"))} {
			if m := w.sweep(p, inParts(parts)); len(w.told()) == 0 {
				// That it really is worked through in parts.
				turn := w.turn()
				whole, err := turn.census(t.Context(), m)
				if err != nil || whole.parts != parts {
					t.Fatalf("%d parts, %v", whole.parts, err)
				}
				w.finish(m)
			} else {
				w.finish(m)
			}
		}
		e.Told, e.List = w.told(), w.app.list()
		turn := w.turn()
		turn.Publication = *w.state()
		for o, err := range turn.owners(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			e.Owners = append(e.Owners, o)
		}
		return e
	}
	want := story(1)
	if len(want.List) == 0 || len(want.Owners) == 0 {
		t.Fatalf("%+v", want)
	}
	sorted := cmpopts.SortSlices(func(a, b roster.Owner) bool { return a.AppUserID < b.AppUserID })
	for _, parts := range []int{2, 3, 5} {
		if diff := cmp.Diff(want, story(parts), sorted); diff != "" {
			t.Errorf("%d parts (-one +several):\n%s", parts, diff)
		}
	}
}
