package publisher

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
)

// scene is a roster, Productiv's list and the ledger, small enough to collide often.
type scene struct {
	entries []entry
	listed  []productiv.User
	owners  map[string]int // id to misses
}

// models are the three ways in which Productiv may tell its entries apart; none is documented.
var models = map[string]func(productiv.User) string{"by id": byID, "by address": byEmail, "by pair": byPair}

func drawScene(t *rapid.T, key func(productiv.User) string) scene {
	s := scene{owners: map[string]int{}}
	emails := rapid.Permutation([]string{"e1@x", "e2@x", "e3@x", "e4@x", "e5@x", "e6@x"}).Draw(t, "addresses")
	for i := range rapid.IntRange(0, 5).Draw(t, "people") {
		s.entries = append(s.entries, entry{
			PsUserID: fmt.Sprint("u", i), Email: emails[i],
			Disposition: rapid.SampledFrom([]string{roster.Active, roster.Active, roster.Active, roster.Removed, roster.Excluded}).Draw(t, "disposition"),
			License:     rapid.SampledFrom([]string{"", "l"}).Draw(t, "licence"),
		})
	}
	ids := []string{"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"}
	for range rapid.IntRange(0, 8).Draw(t, "listed") {
		u := productiv.User{
			AppUserID: rapid.SampledFrom(ids).Draw(t, "id"),
			Email:     rapid.SampledFrom([]string{"e1@x", "e2@x", "e3@x", "e4@x", "E4@x", "e5@x", "e7@x", "e8@x"}).Draw(t, "address"),
		}
		if !slices.ContainsFunc(s.listed, func(v productiv.User) bool { return key(u) == key(v) }) {
			s.listed = append(s.listed, u)
		}
	}
	for _, id := range ids {
		if rapid.Bool().Draw(t, "ours") {
			s.owners[id] = rapid.IntRange(0, 2).Draw(t, "misses")
		}
	}
	return s
}

func (s scene) people() *people {
	p := &people{parts: 1, shared: map[uint64]int{}, whole: indexOf(s.entries...)}
	p.count(p.whole, new([16]byte))
	return p
}

func (s scene) owned() (o owned) {
	for id, misses := range s.owners {
		o = append(o, owner{id: keyOf(id), misses: uint8(misses)})
	}
	slices.SortFunc(o, func(a, b owner) int { return bytes.Compare(a.id[:], b.id[:]) })
	return o
}

// compare holds the list against the roster.
func (s scene) compare(p *people) *comparison {
	c := newComparison(p, s.owned())
	for _, u := range s.listed {
		c.see(u)
	}
	return c
}

// apply carries out what a comparison asks for, as an app with this key would: additions, then removals.
func (s *scene) apply(p *people, c *comparison, key func(productiv.User) string) {
	for _, e := range s.entries {
		if r := p.whole.find(keyOf(e.PsUserID)); due(p, r, false) {
			u := productiv.User{AppUserID: e.PsUserID, Email: e.Email, Username: e.Username, License: e.License}
			s.listed = slices.DeleteFunc(s.listed, func(v productiv.User) bool { return key(u) == key(v) })
			s.listed = append(s.listed, u)
			s.owners[e.PsUserID] = 0
		}
	}
	for _, d := range append(slices.Clone(c.leavers), c.superfluous()...) {
		u := productiv.User{AppUserID: d.id, Email: d.email}
		s.listed = slices.DeleteFunc(s.listed, func(v productiv.User) bool { return key(u) == key(v) })
	}
}

func (s scene) lists(e entry) bool {
	return slices.ContainsFunc(s.listed, func(u productiv.User) bool {
		return u.AppUserID == e.PsUserID && strings.EqualFold(u.Email, e.Email) && u.License == e.License
	})
}

// Whatever Productiv's key is, carrying out the difference twice (the second time clears up what the first made
// visible) brings the list to the roster, and takes nobody else's entries away.
func TestComparison_appliedTwiceIsTheRoster(t *testing.T) {
	t.Parallel()
	for name, key := range models {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				s := drawScene(t, key)
				before := slices.Clone(s.listed)
				for range 2 {
					p := s.people()
					c := s.compare(p)
					checkRemovals(t, s, c)
					s.apply(p, c, key)
				}
				p := s.people()
				c := s.compare(p)
				if adds, changes := c.missing(); adds+changes+len(c.leavers)+len(c.superfluous()) != 0 {
					t.Fatalf("still %d to add, %d to change, %v to delete, %v superfluous\nlist %v", adds, changes, c.leavers, c.superfluous(), s.listed)
				}
				checkList(t, s, before, key)
			})
		})
	}
}

// checkRemovals: only who is ours, and nobody whose entry is the right one of an active person.
func checkRemovals(t *rapid.T, s scene, c *comparison) {
	right := map[pair]bool{}
	for _, e := range s.entries {
		if e.Disposition == roster.Active {
			right[pair{e.PsUserID, e.Email}] = true
		}
	}
	for _, d := range append(slices.Clone(c.leavers), c.superfluous()...) {
		_, ours := s.owners[d.id]
		_, active := activeID(s, d.id)
		if !ours && !active {
			t.Fatalf("%v is not ours to delete", d)
		}
		if right[d] {
			t.Fatalf("%v is an active person's own entry", d)
		}
	}
	for _, d := range c.leavers {
		if _, active := activeID(s, d.id); active {
			t.Fatalf("%v leaves although active", d)
		}
		if s.owners[d.id] < absentTwice && !removedID(s, d.id) {
			t.Fatalf("%v leaves without evidence", d)
		}
	}
}

func activeID(s scene, id string) (entry, bool) {
	for _, e := range s.entries {
		if e.PsUserID == id && e.Disposition == roster.Active {
			return e, true
		}
	}
	return entry{}, false
}

func removedID(s scene, id string) bool {
	return slices.ContainsFunc(s.entries, func(e entry) bool {
		return e.PsUserID == id && (e.Disposition == roster.Removed || e.Disposition == roster.Excluded)
	})
}

// checkList: everybody active is listed as they should be, and strangers are where they were.
func checkList(t *rapid.T, s scene, before []productiv.User, key func(productiv.User) string) {
	taken := map[string]bool{}
	for _, e := range s.entries {
		if e.Disposition != roster.Active {
			continue
		}
		if !s.lists(e) {
			t.Fatalf("%+v is not listed: %v", e, s.listed)
		}
		taken[key(productiv.User{AppUserID: e.PsUserID, Email: e.Email})] = true
	}
	for _, u := range before {
		_, ours := s.owners[u.AppUserID]
		if ours || taken[key(u)] {
			continue
		}
		if _, isActive := activeID(s, u.AppUserID); !isActive && !slices.Contains(s.listed, u) {
			t.Fatalf("stranger %v is gone: %v", u, s.listed)
		}
	}
}

// Somebody who goes on under another id is one person, not a removal and an addition.
func TestComparison_rekeyIsNoRemoval(t *testing.T) {
	t.Parallel()
	s := scene{owners: map[string]int{}}
	for i := range 50 {
		s.entries = append(s.entries, person(fmt.Sprint("new-", i), fmt.Sprintf("p%d@x", i)))
		s.entries = append(s.entries, entry{PsUserID: fmt.Sprint("old-", i), Email: fmt.Sprintf("p%d@x", i), Disposition: roster.Removed})
		s.listed = append(s.listed, productiv.User{AppUserID: fmt.Sprint("old-", i), Email: fmt.Sprintf("P%d@x", i)})
		s.owners[fmt.Sprint("old-", i)] = 0
	}
	c := s.compare(s.people())
	if adds, _ := c.missing(); adds != 50 || len(c.leavers) != 0 || len(c.gone) != 0 || len(c.superfluous()) != 0 {
		t.Errorf("%d to add, %d leave, %d of them people", adds, len(c.leavers), len(c.gone))
	}
}

func TestComparison_countsPeopleNotEntries(t *testing.T) {
	t.Parallel()
	s := scene{
		entries: []entry{{PsUserID: "a", Disposition: roster.Removed}, {PsUserID: "b", Disposition: roster.Removed}},
		listed:  []productiv.User{{AppUserID: "a", Email: "p@x"}, {AppUserID: "b", Email: "P@x"}},
		owners:  map[string]int{"a": 0, "b": 0},
	}
	if c := s.compare(s.people()); len(c.leavers) != 2 || len(c.gone) != 1 {
		t.Errorf("%d entries, %d people", len(c.leavers), len(c.gone))
	}
}

func TestComparison_kinds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		entry  entry
		listed productiv.User
		misses int // -1: not ours
		want   string
	}{
		"as it should be":             {person("a", "a@x"), productiv.User{AppUserID: "a", Email: "a@x"}, 0, "exact"},
		"the address in capitals":     {person("a", "a@x"), productiv.User{AppUserID: "a", Email: "A@X"}, 0, "exact"},
		"not ours and as it should":   {person("a", "a@x"), productiv.User{AppUserID: "a", Email: "a@x"}, -1, "exact"},
		"another licence":             {person("a", "a@x"), productiv.User{AppUserID: "a", Email: "a@x", License: "l"}, 0, "change"},
		"another address":             {person("a", "a@x"), productiv.User{AppUserID: "a", Email: "b@x"}, 0, "change"},
		"a stranger":                  {person("a", "a@x"), productiv.User{AppUserID: "z", Email: "z@x"}, -1, "add foreign"},
		"a stranger with the address": {person("a", "a@x"), productiv.User{AppUserID: "z", Email: "a@x"}, -1, "add foreign"},
		"another id of ours":          {person("a", "a@x"), productiv.User{AppUserID: "z", Email: "a@x"}, 0, "add"},
		"absent for the first time":   {person("a", "a@x"), productiv.User{AppUserID: "z", Email: "z@x"}, 1, "add absent"},
		"absent for the second time":  {person("a", "a@x"), productiv.User{AppUserID: "z", Email: "z@x"}, 2, "add leaver"},
		"removed":                     {entry{PsUserID: "a", Email: "a@x", Disposition: roster.Removed}, productiv.User{AppUserID: "a", Email: "old@x"}, 0, "leaver"},
		"excluded":                    {entry{PsUserID: "a", Email: "a@x", Disposition: roster.Excluded}, productiv.User{AppUserID: "a", Email: "a@x"}, 0, "leaver"},
		"rejected":                    {entry{PsUserID: "a", Disposition: roster.Rejected}, productiv.User{AppUserID: "a", Email: "a@x"}, 0, ""},
		"removed, and not ours":       {entry{PsUserID: "a", Email: "a@x", Disposition: roster.Removed}, productiv.User{AppUserID: "a", Email: "a@x"}, -1, "foreign"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scene{entries: []entry{tt.entry}, listed: []productiv.User{tt.listed}, owners: map[string]int{}}
			if tt.misses >= 0 {
				s.owners[tt.listed.AppUserID] = tt.misses
			}
			p := s.people()
			c := s.compare(p)
			adds, changes := c.missing()
			var got []string
			for _, is := range []struct {
				so   bool
				name string
			}{
				{p.whole.rows[0].exact, "exact"}, {adds > 0, "add"}, {changes > 0, "change"}, {c.foreign > 0, "foreign"},
				{c.absent > 0, "absent"}, {len(c.leavers) > 0, "leaver"}, {len(c.superfluous()) > 0, "superfluous"},
			} {
				if is.so {
					got = append(got, is.name)
				}
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestMissed(t *testing.T) {
	t.Parallel()
	p := scene{entries: []entry{
		person("active", "a@x"), {PsUserID: "removed", Disposition: roster.Removed}, {PsUserID: "excluded", Disposition: roster.Excluded},
		person("twin1", "t@x"), person("twin2", "t@x"), {PsUserID: "rejected", Disposition: roster.Rejected},
	}}.people()
	p.shared[roster.AddressHash(("t@x"))] = 2
	for id, want := range map[string][3]int{
		"active": {0, 0, 0}, "removed": {0, 0, 0}, "excluded": {0, 0, 0},
		"nowhere": {1, 2, 2},
	} {
		for before, misses := range want {
			if got := missed(p.whole.find(keyOf(id)), before); got != misses {
				t.Errorf("%s after %d: %d, want %d", id, before, got, misses)
			}
		}
	}
}

// The contract deletes after two sweeps who is no longer in users at all. Who is rejected is in users.
func TestMissed_rejectedPeopleAreNotAbsent(t *testing.T) {
	t.Parallel()
	p := scene{entries: []entry{{PsUserID: "rejected", Disposition: roster.Rejected}, person("twin1", "t@x"), person("twin2", "t@x")}}.people()
	p.shared[roster.AddressHash(("t@x"))] = 2
	for _, id := range []string{"rejected", "twin1"} {
		if got := missed(p.whole.find(keyOf(id)), 1); got >= absentTwice {
			t.Errorf("%s leaves", id)
		}
	}
}

func TestComparison_vanished(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		still []string
		want  bool
	}{
		"all are gone": {nil, true}, "one is left": {[]string{"a"}, false}, "all are left": {[]string{"a", "b"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scene{entries: []entry{person("a", "a@x"), person("b", "b@x"), person("c", "c@x")}, owners: map[string]int{}}
			s.listed = []productiv.User{{AppUserID: "a", Email: "a@x"}, {AppUserID: "b", Email: "b@x"}}
			p := s.people()
			s.compare(p)
			rememberBefore(p)
			s.listed = []productiv.User{{AppUserID: "c", Email: "c@x"}}
			for _, id := range tt.still {
				s.listed = append(s.listed, productiv.User{AppUserID: id, Email: id + "@x"})
			}
			if got := s.compare(p).vanished(); got != tt.want {
				t.Errorf("vanished: %v", got)
			}
		})
	}
}
