package productivsim_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

func TestLedgerSaysWhoAskedWhat(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	sent := body([]productivsim.User{user("ada"), user("bob")})
	r := c.request(http.MethodPost, usersA, tokenA, sent)
	r.Header.Set("User-Agent", "publisher/1")
	r.Header.Set("X-Owner", "replica-2")
	c.wantStatus(c.do(r), 200)
	c.get("")
	c.call(http.MethodGet, "/nowhere", "", "")

	got := c.sim.Requests()
	if len(got) != 3 {
		t.Fatalf("%d requests", len(got))
	}
	sum := sha256.Sum256([]byte(sent))
	q := got[0]
	if q.Seq != 1 || q.App != "app-a" || q.Method != "POST" || q.Path != usersA || q.UserAgent != "publisher/1" ||
		q.Owner != "replica-2" || q.BodySHA256 != hex.EncodeToString(sum[:]) || q.BodyBytes != len(sent) || q.Users != 2 ||
		fmt.Sprint(q.AppUserIDs, q.Emails) != "[ada bob] [ada@example.com bob@example.com]" || !q.Applied || q.Added != 2 ||
		q.Status != 200 || q.End.Before(q.Start) {
		t.Errorf("first request is %+v", q)
	}
	if got[1].Returned != 2 || got[2].Endpoint != productivsim.EndpointOther || got[2].Status != 404 {
		t.Errorf("others are %+v", got[1:])
	}
	n := c.sim.Counts()
	if n.Posts != 1 || n.Gets != 1 || n.Others != 1 || n.Statuses[200] != 2 || n.Statuses[404] != 1 || n.LargestCall != 2 {
		t.Errorf("counts are %+v", n)
	}
	if n := c.sim.AppCounts("app-b"); n.Posts+n.Gets+n.Added != 0 {
		t.Errorf("the other app counts %+v", n)
	}
}

func TestCallsAboveTheLimitAreCounted(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	c.post(people(1000)...)
	if n := c.sim.Counts(); n.OverLimit != 0 || n.LargestCall != 1000 {
		t.Errorf("counts are %+v", n)
	}
	c.post(people(1001)...)
	if n := c.sim.Counts(); n.OverLimit != 1 || n.LargestCall != 1001 {
		t.Errorf("counts are %+v", n)
	}
}

func TestHistoryIsTheWholeTruth(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	if err := c.sim.Seed("app-a", []productivsim.User{user("ada"), user("bob")}); err != nil {
		t.Fatal(err)
	}
	ada := user("ada")
	ada.Email = "lovelace@example.com"
	c.post(ada, user("bob"))
	c.remove(user("bob"))
	if err := c.sim.Seed("app-a", []productivsim.User{user("cy")}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range c.sim.History() {
		got = append(got, fmt.Sprintf("%d %s %d %v>%v", h.Seq, h.Kind, h.Request, email(h.Before), email(h.After)))
	}
	want := "[1 added 0 ->ada@example.com 2 added 0 ->bob@example.com 3 changed 1 ada@example.com>lovelace@example.com " +
		"4 deleted 2 bob@example.com>- 5 added 0 ->cy@example.com 6 deleted 0 lovelace@example.com>-]"
	if fmt.Sprint(got) != want {
		t.Errorf("history is\n%v, want\n%v", got, want)
	}
	if n := c.sim.Counts(); n.Added != 0 || n.Deleted != 1 || n.Changed != 1 || n.Lost != 0 {
		t.Errorf("counts are %+v", n)
	}
}

func email(u *productivsim.User) string {
	if u == nil {
		return "-"
	}
	return u.Email
}

func TestOverlapsAreSeenAndSequencesAreNot(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	for i := range 50 {
		c.post(people(i + 1)...)
		c.remove(people(i + 1)...)
	}
	if n := c.sim.Counts().OverlappingWrites; n != 0 || len(c.sim.Overlaps()) != 0 {
		t.Fatalf("calls one after another overlap: %d, %+v", n, c.sim.Overlaps())
	}
	c.inject(fault{Kind: "delay", Delay: productivsim.Duration(50 * time.Millisecond)})
	var first sync.WaitGroup
	first.Go(func() { c.post(user("slow")) })
	await(t, c.sim, func(s *productivsim.Sim) bool { return len(s.Requests()) == 101 })
	c.get("")
	c.call(http.MethodPost, "/services/push/v1/customer/apps/app-b/users", tokenB, body(people(1)))
	if len(c.sim.Overlaps()) != 0 {
		t.Error("a read, or a write to another app, overlaps")
	}
	c.remove(user("slow"))
	first.Wait()
	got := c.sim.Overlaps()
	if len(got) != 1 || got[0].App != "app-a" || got[0].First.Seq != 101 || got[0].Second.Method != "DELETE" {
		t.Errorf("overlaps are %+v", got)
	}
	if n := c.sim.AppCounts("app-a").OverlappingWrites; n != 1 {
		t.Errorf("%d overlapping writes", n)
	}
}

func TestWritesToNoAppDoNotOverlap(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	const nowhere = "/services/push/v1/customer/apps/nowhere/users"
	c.inject(fault{Kind: "delay", Delay: productivsim.Duration(50 * time.Millisecond)})
	var first sync.WaitGroup
	first.Go(func() { c.call(http.MethodPost, nowhere, tokenA, body(people(1))) })
	await(t, c.sim, func(s *productivsim.Sim) bool { return len(s.Requests()) == 1 })
	c.wantStatus(c.call(http.MethodPost, nowhere, tokenA, body(people(1))), 404)
	first.Wait()
	if got := c.sim.Overlaps(); len(got) != 0 {
		t.Errorf("overlaps are %+v", got)
	}
	if n := c.sim.Counts(); n.OverlappingWrites != 0 || n.Posts != 2 {
		t.Errorf("counts are %+v", n)
	}
}

func TestCountsOnlyKeepsCountsOnly(t *testing.T) {
	t.Parallel()
	o := options()
	o.CountsOnly = true
	c := start(t, o)
	c.post(people(10)...)
	c.remove(people(1)...)
	if len(c.sim.Requests()) != 0 || len(c.sim.History()) != 0 {
		t.Error("single records are kept")
	}
	if n := c.sim.Counts(); n.Added != 10 || n.Deleted != 1 || n.Users != 9 || n.Posts != 1 || n.LargestCall != 10 {
		t.Errorf("counts are %+v", n)
	}
}

// A plain map is the model: whatever is sent, the list, the pages and the counters agree with it.
func TestListAgreesWithAModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		chance := rand.New(rand.NewPCG(seed, 0))
		c := with(t, func(s *switches) { s.PageSize = 1 + chance.IntN(7) })
		model := map[string]productivsim.User{}
		for range 25 {
			users := make([]productivsim.User, 1+chance.IntN(6))
			for i := range users {
				users[i] = user(fmt.Sprint("u", chance.IntN(15)))
				users[i].License = fmt.Sprint(chance.IntN(2))
			}
			post := chance.IntN(2) == 0
			if post {
				c.wantStatus(c.post(users...), 200)
			} else {
				c.wantStatus(c.remove(users...), 200)
			}
			for _, u := range users {
				delete(model, u.AppUserID)
				if post {
					model[u.AppUserID] = u
				}
			}
			wantModel(t, c, model)
		}
		n := c.sim.Counts()
		if n.Added-n.Deleted != len(model) || n.Users != len(model) || n.Lost != 0 {
			t.Errorf("seed %d: counts are %+v with %d people", seed, n, len(model))
		}
	}
}

func wantModel(t *testing.T, c *client, model map[string]productivsim.User) {
	t.Helper()
	seen := 0
	for token := ""; ; {
		_, p := c.get(token)
		for _, u := range p.ProvisionedUsers {
			if model[u.AppUserID] != u {
				t.Fatalf("%+v is on the list, the model has %+v", u, model[u.AppUserID])
			}
			seen++
		}
		if p.NextPageToken == nil {
			break
		}
		token = *p.NextPageToken
	}
	if seen != len(model) {
		t.Fatalf("%d people in the pages, %d in the model", seen, len(model))
	}
}

// Run with -race: everything at once, and the books still balance.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := start(t, options())
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 10 {
				u := user(fmt.Sprintf("w%d-%d", worker, i))
				c.post(u)
				c.get("")
				c.remove(u)
			}
		})
	}
	all.Go(func() {
		for range 50 {
			sw := c.sim.Switches()
			sw.Key = map[productivsim.Key]productivsim.Key{"id": "email", "email": "pair", "pair": "id"}[sw.Key]
			if err := c.sim.SetSwitches(sw); err != nil {
				t.Error(err)
			}
			c.sim.Overlaps()
			c.sim.Users("app-a")
		}
	})
	all.Wait()
	n := c.sim.Counts()
	if n.Added != 40 || n.Deleted != 40 || n.Users != 0 || n.Statuses[200] != 120 || len(c.sim.History()) != 80 {
		t.Errorf("counts are %+v", n)
	}
}
