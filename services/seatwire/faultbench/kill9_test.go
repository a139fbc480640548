package faultbench

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/streams"
)

// arenas are benches side by side: a kill costs an ack wait, in which a machine has nothing to do.
const arenas = 3

// TestKill9_exactlyTheListAndOneOutcome kills each service with -9 at random moments of syncs, and starts it again.
//
// A round changes the plan, requests a sync, and picks victims. A victim dies when it has done a random number of acts
// of its own: calls for fetcher and publisher, stored pages for the normalizer. Further requests come while everything
// is in pieces. At the end of a round every request has its answer and the list is right.
func TestKill9_exactlyTheListAndOneOutcome(t *testing.T) {
	t.Parallel()
	people := 2000
	if *chaos > 0 {
		people = 20_000
	}
	until := time.Now().Add(*chaos)
	var (
		mu   sync.Mutex
		done kills
	)
	t.Cleanup(func() { done.report(t) })
	for i := range arenas {
		t.Run(fmt.Sprintf("arena %d", i), func(t *testing.T) {
			t.Parallel()
			rng := draw(t, uint64(i))
			b := Start(t, Options{People: people, PageSize: 50, BatchSize: 100, Latency: 3 * time.Millisecond})
			c := &campaign{Bench: b, rng: rng, pages: people/50 + 1}
			for round := 0; round == 0 || time.Now().Before(until) && !t.Failed(); round++ {
				c.round()
			}
			b.AwaitReady()
			b.Judge()
			t.Logf("%d kills, %d freezes, %d kills of the broker; %d requests", len(c.done), c.frozen, c.orphaned, len(b.requests))
			mu.Lock()
			defer mu.Unlock()
			done = append(done, c.done...)
		})
	}
}

// campaign is a run of rounds.
type campaign struct {
	*Bench
	rng *rand.Rand
	// pages is how many of them a sweep has.
	pages            int
	done             kills
	frozen, orphaned int
}

// victim is a service that will be struck at its act number after.
type victim struct {
	service string
	after   int
	how     fault
}

// fault is what strikes a victim. The short form only kills: the others have shows of their own.
type fault int

const (
	killed fault = iota
	// frozen is SIGSTOP for longer than the ack wait.
	frozen
	// orphaned is kill -9 of the broker at the victim's act.
	orphaned
)

// pick draws who dies in a round and when. Three of four services a round: the fourth shows how the rest copes.
func (c *campaign) pick() []victim {
	// The calls of a publication: listings before and after, and chunks of what changed.
	acts := map[string]int{
		streams.Fetcher: c.pages, streams.Normalizer: c.pages, streams.Publisher: 12, streams.Deprovisioner: 1,
	}
	var victims []victim
	for _, i := range c.rng.Perm(len(services))[:3] {
		victims = append(victims, victim{services[i], c.rng.IntN(acts[services[i]]), c.how()})
	}
	return victims
}

// how draws a fault: three of four are kills.
func (c *campaign) how() fault {
	if *chaos == 0 {
		return killed
	}
	return []fault{killed, killed, killed, killed, killed, killed, frozen, orphaned}[c.rng.IntN(8)]
}

// round is one sync with its kills, from the change of the plan to the right list.
func (c *campaign) round() {
	c.t.Helper()
	c.Change(c.rng, "acme", c.options.People/20)
	began := time.Now()
	asked := []request{c.Request("acme", "hr")}
	var struck kills
	for victims := c.pick(); len(victims) > 0; {
		next := c.due(began, asked, victims)
		switch v := victims[next]; v.how {
		case killed:
			struck = append(struck, c.strike(v, began))
		case frozen:
			c.freeze(v)
		case orphaned:
			c.KillNATS()
			c.RestartNATS()
			c.orphaned++
		}
		victims = append(victims[:next], victims[next+1:]...)
		if c.rng.IntN(2) == 0 {
			asked = append(asked, c.Request("acme", "directory"))
		}
	}
	for _, r := range asked {
		c.wantDone(c.Outcome(r).RosterPublished)
	}
	c.wantSame("acme")
	for i := range struck {
		c.recovered(&struck[i])
	}
	c.done = append(c.done, struck...)
}

// due waits until some victim has reached its act, and returns which; the first one when the sync is over before.
func (c *campaign) due(began time.Time, asked []request, victims []victim) (next int) {
	c.t.Helper()
	c.Await(syncLimit, "a victim reaches its act, or the sync ends", func() bool {
		for i, v := range victims {
			if c.count(began, of(v.service)) > v.after {
				next = i
				return true
			}
		}
		for _, r := range asked {
			if len(c.outcomes.of(r.id)) == 0 {
				return false
			}
		}
		return true
	})
	return next
}

// strike kills a victim and starts it again at once.
func (c *campaign) strike(v victim, began time.Time) kill {
	c.t.Helper()
	acts := c.count(began, of(v.service))
	c.Kill9(v.service, 0)
	_ = c.nc.Flush() // pages that the victim stored are noted before the time is taken
	k := kill{service: v.service, after: acts, at: time.Now()}
	c.Restart(v.service, 0)
	return k
}

// freeze stops a victim until somebody else could have its messages, and lets it go on in the belief that it has them.
func (c *campaign) freeze(v victim) {
	c.t.Helper()
	c.Stop(v.service, 0)
	since := time.Now()
	c.Await(syncLimit, "the ack wait of a frozen process is over", func() bool { return time.Since(since) > streams.AckWait+time.Second })
	c.Cont(v.service, 0)
	c.frozen++
}

// recovered finds out how long the way back was. Somebody who had nothing left to do is back when ready.
func (c *campaign) recovered(k *kill) {
	c.t.Helper()
	c.AwaitReady()
	next, worked := c.first(k.at, of(k.service))
	if ready := c.replicas[k.service][0].readyAt(); !worked {
		k.took, k.idle = ready.Sub(k.at), true
		return
	}
	k.took = next.at.Sub(k.at)
}
