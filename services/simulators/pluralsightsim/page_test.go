package pluralsightsim_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

func TestPaging(t *testing.T) {
	t.Parallel()
	for _, cursors := range []string{"keyset", "offset"} {
		b := setup(t, people(5)...)
		b.configure(func(s *sim.Switches) { s.Paging.Cursors = cursors })
		b.want(b.sweep(2, 9), []string{"aa", "ab", "ac", "ad", "ae"})
		b.want(len(b.sim.Requests()), 3)
		b.want(b.sweep(5, 9), []string{"aa", "ab", "ac", "ad", "ae"})
		p := b.page(map[string]any{"first": 0})
		b.want([]any{p.TotalCount, len(p.Nodes), *p.PageInfo.HasNextPage}, []any{5, 0, true})
	}
}

func TestPageCap(t *testing.T) {
	t.Parallel()
	b := setup(t, people(5)...)
	query := "{ users(first: 4) { nodes { psUserId } } }"
	b.configure(func(s *sim.Switches) { s.Paging.Cap = 2 })
	b.want(len(b.sweep(4, 9)), 5)
	if a := b.raw(query, nil); strings.Count(a.body, "id-") != 2 || !strings.Contains(a.body, `"warnings":["Page size reduced to 2, the maximum"]`) {
		t.Errorf("with warning: %s", a.body)
	}
	b.configure(func(s *sim.Switches) { s.Paging.CapWarning = false })
	if a := b.raw(query, nil); strings.Count(a.body, "id-") != 2 || strings.Contains(a.body, "warnings") {
		t.Errorf("without warning: %s", a.body)
	}
	b.configure(func(s *sim.Switches) { s.Paging.Cap = 0; s.Paging.DefaultFirst = 3 })
	b.want(len(b.page(map[string]any{"first": 4}).Nodes), 4)
	b.want(len(b.page(nil).Nodes), 3)
}

func TestCursors(t *testing.T) {
	t.Parallel()
	b := setup(t, people(4)...)
	b.configure(func(s *sim.Switches) { s.Paging.CursorTTL = sim.Duration(time.Minute) })
	next := map[string]any{"first": 2, "after": *b.page(map[string]any{"first": 2}).PageInfo.EndCursor}
	b.want(b.page(next).ids(), []string{"ac", "ad"})
	for after, message := range map[string]string{"None": "Invalid cursor", next["after"].(string): "Cursor has expired"} {
		b.sim.Advance(2 * time.Minute)
		b.configure(func(s *sim.Switches) { s.Paging.BadCursor = "error" })
		e := b.query(usersQuery, map[string]any{"after": after, "first": 2})
		if len(e.Errors) != 1 || e.Errors[0].Message != message || string(e.Data["users"]) != "null" {
			t.Errorf("cursor %q: %+v", after, e)
		}
		b.configure(func(s *sim.Switches) { s.Paging.BadCursor = "restart" })
		b.want(b.page(map[string]any{"after": after, "first": 2}).ids(), []string{"aa", "ab"})
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	all := people(4)
	all[1].Email = "AA@acme.example.com" // the same as the first but for letters' case
	all[2].AdditionalEmails = []string{"old@acme.example.com"}
	all[3].NeverLicensed = true
	b := setup(t, all...)
	find := func(emails ...string) []string {
		p := b.page(map[string]any{"first": 10, "filter": map[string]any{"emails": append([]string{}, emails...)}})
		b.want(p.TotalCount, len(p.Nodes))
		return p.ids()
	}
	b.want(find("aa@acme.example.com", "nobody@x", "AA@ACME.EXAMPLE.COM"), []string{"aa", "ab"})
	b.want(find("old@acme.example.com"), []string(nil))
	b.want(find("ad@acme.example.com"), []string(nil))
	b.want(find(), []string(nil))
	b.configure(func(s *sim.Switches) { s.Users.EmailFilter = "exact"; s.Users.FilterAdditional = true })
	b.want(find("aa@acme.example.com"), []string{"aa"})
	b.want(find("old@acme.example.com"), []string{"ac"})
}

func TestAdminsMayHaveNoLicence(t *testing.T) {
	t.Parallel()
	all := people(3)
	all[1].Admin, all[1].NeverLicensed = true, true
	b := setup(t, all...)
	b.want(b.sweep(10, 1), []string{"aa", "ac"})
	b.want(b.raw("{ planAdmins { totalCount nodes { psUserId } } }", nil).body,
		`{"data":{"planAdmins":{"totalCount":1,"nodes":[{"psUserId":"id-ab"}]}}}`)
	b.want(b.page(nil).TotalCount, 2)
}

func TestRemovedPeople(t *testing.T) {
	t.Parallel()
	b := setup(t, people(3)...)
	if err := b.sim.RemovePerson("acme", "id-ab"); err != nil {
		t.Fatal(err)
	}
	p := b.page(nil)
	b.want([]any{*p.Nodes[1].IsOnAccount, *p.Nodes[1].RemovedOn, string(p.Nodes[1].ProductIDs)}, []any{false, "2026-11-23T12:00:00.000Z", "[]"})
	b.configure(func(s *sim.Switches) { s.Users.Removed = "dropped" })
	b.want([]any{b.sweep(1, 9), b.page(nil).TotalCount}, []any{[]string{"aa", "ac"}, 2})

	b.sim.Advance(time.Hour)
	if err := b.sim.Readd("acme", "id-ab"); err != nil {
		t.Fatal(err)
	}
	p = b.page(nil)
	b.want([]any{*p.Nodes[1].PsUserID, *p.Nodes[1].StartedOn, p.Nodes[1].RemovedOn}, []any{"id-ab", "2026-11-23T13:00:00.000Z", nil})
	if err := b.sim.ErasePerson("acme", "id-ab"); err != nil {
		t.Fatal(err)
	}
	b.want(b.sweep(1, 9), []string{"aa", "ac"})
}

func TestWrongTotals(t *testing.T) {
	t.Parallel()
	b := setup(t, people(3)...)
	b.configure(func(s *sim.Switches) { s.Paging.TotalOffset = -1 })
	b.want(b.page(map[string]any{"first": 2}).TotalCount, 2)
	b.configure(func(s *sim.Switches) { s.Paging.TotalOffsetOn = "last" })
	first := b.page(map[string]any{"first": 2})
	last := b.page(map[string]any{"first": 2, "after": *first.PageInfo.EndCursor})
	b.want([]int{first.TotalCount, last.TotalCount}, []int{3, 2})
}

// onPage is a fault on page n of a sweep.
func onPage(n int, a sim.Action, when sim.When) sim.Fault {
	return sim.Fault{Match: sim.Match{Operation: "users", Page: n}, Action: a, When: when}
}

func TestSpoiltPages(t *testing.T) {
	t.Parallel()
	for action, want := range map[sim.Action]string{
		sim.RepeatCursor:    "aa ab ac ad ac ad ac ad ac ad",
		sim.LoopToStart:     "aa ab ac ad aa ab ac ad ae",
		sim.NullEndCursor:   "aa ab ac ad",
		sim.NoHasNextPage:   "aa ab ac ad",
		sim.EmptyPage:       "aa ab ae",
		sim.LastEmpty:       "aa ab",
		sim.ShortPage:       "aa ab ac",
		sim.DuplicateNode:   "aa ab ac ac ad ae",
		sim.ConflictingNode: "aa ab ac ac ad ae",
		sim.NullNode:        "aa ab null ad ae",
		sim.NullID:          "aa ab no id ad ae",
		sim.NullNodes:       "aa ab ae",
	} {
		t.Run(string(action), func(t *testing.T) {
			t.Parallel()
			b := setup(t, people(5)...)
			b.inject(onPage(2, action, ""))
			b.want(strings.Join(b.sweep(2, 5), " "), want)
		})
	}
}

func TestSpoiltPageInDetail(t *testing.T) {
	t.Parallel()
	b := setup(t, people(5)...)
	b.inject(sim.Fault{Match: sim.Match{Operation: "users", Times: 1}, Action: sim.ConflictingNode},
		sim.Fault{Match: sim.Match{Operation: "users", Nth: 2}, Action: sim.NullEndCursor},
		sim.Fault{Match: sim.Match{Operation: "users", Nth: 3}, Action: sim.NoHasNextPage},
		sim.Fault{Match: sim.Match{Operation: "users", Nth: 4}, Action: sim.NullConnection},
		sim.Fault{Match: sim.Match{Operation: "users", Nth: 5}, Action: sim.WrongTotal, Count: -2},
		sim.Fault{Match: sim.Match{Operation: "users", Nth: 6}, Action: sim.ExpiredCursor})
	p := b.page(map[string]any{"first": 1})
	if *p.Nodes[0].PsUserID != *p.Nodes[1].PsUserID || *p.Nodes[0].Email == *p.Nodes[1].Email {
		t.Error("the two nodes do not contradict each other")
	}
	p = b.page(map[string]any{"first": 1})
	b.want([]any{p.PageInfo.EndCursor, *p.PageInfo.HasNextPage}, []any{nil, true})
	b.want(b.page(map[string]any{"first": 1}).PageInfo.HasNextPage, nil)
	b.want(string(b.query(usersQuery, nil).Data["users"]), "null")
	b.want(b.page(nil).TotalCount, 3)
	b.want(b.query(usersQuery, map[string]any{"after": "x"}).Errors[0].Message, "Cursor has expired")
}

func TestPeopleComeAndGoBetweenPages(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		cursors string
		action  sim.Action
		want    string
	}{
		{"keyset", sim.InsertFirst, "aa ab ac ad"},
		{"keyset", sim.InsertLast, "aa ab ac ad new"},
		{"keyset", sim.EraseFirst, "aa ab ac ad"},
		{"keyset", sim.MoveToEnd, "aa ab ac ad aa"},
		{"keyset", sim.MoveToFront, "aa ab ac"},
		{"offset", sim.InsertFirst, "aa ab ab ac ad"},
		{"offset", sim.EraseFirst, "aa ab ad"},
	} {
		t.Run(tc.cursors+" "+string(tc.action), func(t *testing.T) {
			t.Parallel()
			b := setup(t, people(4)...)
			b.configure(func(s *sim.Switches) { s.Paging.Cursors = tc.cursors })
			b.inject(onPage(1, tc.action, sim.After))
			ids := b.sweep(2, 9)
			for i, id := range ids {
				if len(id) > 2 {
					ids[i] = "new"
				}
			}
			b.want(strings.Join(ids, " "), tc.want)
			b.want(b.sim.History()[0].Cause, "fault f1")
		})
	}
}

func TestGeneratedPeople(t *testing.T) {
	t.Parallel()
	plan := sim.Plan{Name: "acme", Key: key}.Generate(2_000, 42)
	a := start(t, sim.Options{Plans: []sim.Plan{plan}})
	b := start(t, sim.Options{Plans: []sim.Plan{plan}})
	ids := a.sweep(1000, 5)
	b.want(b.sweep(300, 9), ids)
	slices.Sort(ids)
	b.want(len(slices.Compact(ids)), 2_000)

	all, err := a.sim.People("acme", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []sim.Person{all[0], all[15], all[1999]} {
		found, err := a.sim.Person("acme", p.PsUserID)
		if err != nil {
			t.Fatal(err)
		}
		a.want(found, p)
		same, err := a.sim.Find("acme", strings.ToUpper(p.Email))
		if err != nil {
			t.Fatal(err)
		}
		a.want(same, []sim.Person{p})
	}
	// A generated person who changes is found under the new data, and not under the old.
	if err := a.sim.EditPerson("acme", all[7].PsUserID, func(p *sim.Person) { p.Email = "new@acme.example.com" }); err != nil {
		t.Fatal(err)
	}
	for email, want := range map[string]int{"new@acme.example.com": 1, all[7].Email: 0} {
		found, err := a.sim.Find("acme", email)
		if err != nil {
			t.Fatal(err)
		}
		a.want(len(found), want)
	}
	licences := map[string]int{}
	active := 0
	for _, p := range all {
		for _, id := range p.ProductIDs {
			licences[id]++
		}
		if p.IsOnAccount == sim.Yes {
			active++
		}
	}
	c := a.counts()
	a.want([]any{c.People, c.Active, c.Removed, c.Licences, c.Admins}, []any{2_000, active, 2_000 - active, licences, 3})
}
