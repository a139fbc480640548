package publisher

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/roster"
)

func indexOf(entries ...entry) *index {
	ix := newIndex(len(entries), 1)
	for _, e := range entries {
		ix.rows = append(ix.rows, rowOf(e.entry()))
	}
	ix.seal()
	return ix
}

func person(id, email string) entry {
	return entry{PsUserID: id, Email: email, Disposition: roster.Active}
}

func TestIndex_mergesRepeatsAndFindsConflicts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		entries  []entry
		people   int
		conflict bool
	}{
		"nobody":               {nil, 0, false},
		"two people":           {[]entry{person("a", "a@x"), person("b", "b@x")}, 2, false},
		"an identical repeat":  {[]entry{person("a", "a@x"), person("b", "b@x"), person("a", "a@x")}, 2, false},
		"another address":      {[]entry{person("a", "a@x"), person("a", "b@x")}, 1, true},
		"another disposition":  {[]entry{person("a", "a@x"), {PsUserID: "a", Email: "a@x", Disposition: roster.Removed}}, 1, true},
		"another licence":      {[]entry{person("a", "a@x"), {PsUserID: "a", Email: "a@x", Disposition: roster.Active, License: "l"}}, 1, true},
		"another username":     {[]entry{person("a", "a@x"), {PsUserID: "a", Email: "a@x", Disposition: roster.Active, Username: "u"}}, 1, true},
		"third of three":       {[]entry{person("a", "a@x"), person("a", "a@x"), person("a", "c@x")}, 1, true},
		"the same address":     {[]entry{person("a", "a@x"), person("b", "a@x")}, 2, false},
		"ids differ by case":   {[]entry{person("a", "a@x"), person("A", "b@x")}, 2, false},
		"members do not merge": {[]entry{{PsUserID: "a", Email: "e", Username: "ul"}, {PsUserID: "a", Email: "e", Username: "u", License: "l"}}, 1, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ix := indexOf(tt.entries...)
			if len(ix.rows) != tt.people || ix.conflict != tt.conflict {
				t.Errorf("%d people, conflict %v", len(ix.rows), ix.conflict)
			}
			for _, e := range tt.entries {
				if ix.find(keyOf(e.PsUserID)) == nil {
					t.Errorf("%s is not found", e.PsUserID)
				}
			}
			if ix.find(keyOf("stranger")) != nil {
				t.Error("a stranger is found")
			}
		})
	}
}

// An unknown disposition, from a version to come, must not publish or delete anybody.
func TestRowOf_unknownDispositionIsNoEvidence(t *testing.T) {
	t.Parallel()
	for _, disposition := range []string{"", "none", "suspended"} {
		if r := rowOf(entry{PsUserID: "a", Email: "a@x", Disposition: disposition}.entry()); r.disp != roster.IsRejected {
			t.Errorf("%q is %d", disposition, r.disp)
		}
	}
}

func TestPart_coversEveryKeyOnce(t *testing.T) {
	t.Parallel()
	for _, parts := range []int{1, 2, 3, 7, 64} {
		sizes := make([]int, parts)
		for i := range 64 * 200 {
			k := keyOf(fmt.Sprint(i)).Part(parts)
			if k < 0 || k >= parts {
				t.Fatalf("part %d of %d", k, parts)
			}
			sizes[k]++
		}
		for k, n := range sizes {
			if want := 64 * 200 / parts; n < want/2 || n > want*2 {
				t.Errorf("part %d of %d holds %d people, about %d expected", k, parts, n, want)
			}
		}
	}
	if roster.PartOf(0, 5) != 0 || roster.PartOf(1<<32-1, 5) != 4 {
		t.Error("the ends are outside")
	}
}

func TestShared_byBruteForce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var people []addressed
		who := map[uint64]map[string]struct{}{}
		for range rapid.IntRange(0, 30).Draw(t, "people") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "id")
			email := rapid.Uint64Range(1, 4).Draw(t, "email")
			people = append(people, addressed{email: email, id: keyOf(id)})
			if who[email] == nil {
				who[email] = map[string]struct{}{}
			}
			who[email][id] = struct{}{}
		}
		found := shared(people)
		for email, ids := range who {
			if want := len(ids); want > 1 && found[email] != want || want <= 1 && found[email] != 0 {
				t.Fatalf("address %d: %d, want %d", email, found[email], want)
			}
		}
		if len(found) > len(who) {
			t.Fatal("an address of nobody is shared")
		}
	})
}
