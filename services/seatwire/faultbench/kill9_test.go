package faultbench

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// arenas are benches side by side: a kill costs an ack wait, in which a machine has nothing to do.
func arenas() int { return often(2) + 1 }

// TestKill9_exactlyTheListAndOneOutcome kills each service with -9 at random moments of syncs and layoffs, and starts it
// again.
//
// A round changes the plan, requests a sync, and picks victims. A victim dies when it has done a random number of acts
// of its own: calls for fetcher, publisher and deprovisioner, stored pages for the normalizer. Further requests come
// while everything is in pieces. In the long form 20,000 people are listed, 100 events a second ask for licences back,
// and beside the victims anybody may die at any time. At the end of a round every request has its answer and the list
// is right, and at the end of all everybody who left is settled.
func TestKill9_exactlyTheListAndOneOutcome(t *testing.T) {
	t.Parallel()
	people := 1000
	if *chaos > 0 {
		people = 20_000
	}
	var (
		mu   sync.Mutex
		done kills
	)
	t.Cleanup(func() { done.report(t) })
	for i := range arenas() {
		t.Run(fmt.Sprintf("arena %d", i), func(t *testing.T) {
			t.Parallel()
			rng := draw(t, uint64(i))
			c := &campaign{pages: people/50 + 1}
			c.world = startWorld(t, rng, Options{People: people, PageSize: 50, BatchSize: 100, Latency: 3 * time.Millisecond})
			c.wantDone(c.Sync("globex"))
			stop := c.load(i)
			for round := 0; round == 0 || !over() && !t.Failed(); round++ {
				c.round()
			}
			stop()
			c.judge()
			t.Logf("%d kills; %d sync requests, %d leavers' requests", len(c.done), len(c.requests), len(c.wanted))
			mu.Lock()
			defer mu.Unlock()
			done = append(done, c.done...)
		})
	}
}

// campaign is a run of rounds.
type campaign struct {
	*world
	// pages is how many of them a sweep has.
	pages int
	done  kills
	// hits are who was struck in any way, and when: a service, or the broker, which has no name here.
	hits []hit
	// next is when somebody dies whatever happens; never in the short form.
	next time.Time
}

type hit struct {
	service string
	at      time.Time
}

// load has people leave until it is stopped.
func (c *campaign) load(arena int) (stop func()) {
	if *chaos == 0 {
		c.leave(60)
		return func() {}
	}
	c.soon()
	return c.flood(*seed + uint64(arena))
}

// soon draws when the next one dies: one of the four every six seconds. More often and they do nothing but start.
func (c *campaign) soon() {
	c.next = time.Now().Add(time.Duration(1+c.rng.IntN(12_000)) * time.Millisecond)
}

// victim is a service that will be struck at its act number after.
type victim struct {
	service string
	after   int
	how     func(c *campaign, v victim, began time.Time)
}

// pick draws who is struck in a round and when. Three of four services a round: the fourth shows how the rest copes.
func (c *campaign) pick() []victim {
	// The calls of a publication: listings before and after, and chunks of what changed.
	acts := map[string]int{
		streams.Fetcher: c.pages, streams.Normalizer: c.pages, streams.Publisher: 12, streams.Deprovisioner: 10,
	}
	var victims []victim
	for _, i := range c.rng.Perm(len(services))[:3] {
		victims = append(victims, victim{services[i], c.rng.IntN(acts[services[i]]), c.how()})
	}
	return victims
}

// how draws what strikes: half of it kills. The short form only kills: the others have shows of their own.
func (c *campaign) how() func(*campaign, victim, time.Time) {
	if *chaos == 0 {
		return (*campaign).kill
	}
	switch c.rng.IntN(12) {
	case 0, 1:
		return (*campaign).freeze
	case 2, 3:
		return (*campaign).orphan
	case 4:
		return (*campaign).roll
	default:
		return (*campaign).kill
	}
}

// round is one sync with its strikes, from the change of the plan to the right list.
func (c *campaign) round() {
	c.t.Helper()
	c.Change(c.rng, "acme", c.options.People/50)
	began := time.Now()
	asked := []request{c.Request("acme", "hr")}
	before := len(c.done)
	for victims := c.pick(); len(victims) > 0; {
		next := c.due(began, asked, victims)
		if next < 0 {
			c.killAnybody()
			continue
		}
		victims[next].how(c, victims[next], began)
		victims = append(victims[:next], victims[next+1:]...)
		if c.rng.IntN(2) == 0 {
			asked = append(asked, c.Request("acme", "directory"))
		}
	}
	for _, r := range asked {
		c.wantDone(c.undisturbed(r))
	}
	c.wantSame("acme")
	for i := range c.done[before:] {
		c.recovered(&c.done[before+i])
	}
}

// undisturbed is a request's answer, or that of another one when chance has killed the publisher so often in a row that
// it suspects its own work: then it says so, and whoever asked asks again.
func (c *campaign) undisturbed(r request) events.RosterPublished {
	c.t.Helper()
	o := c.Outcome(r).RosterPublished
	for strings.HasPrefix(o.Reason, "crash-suspect") && c.killed(streams.Publisher) >= c.options.MaxDeliveries {
		o = c.Sync("acme")
	}
	return o
}

// killed is how often a service was.
func (c *campaign) killed(service string) (n int) {
	for _, k := range c.done {
		if k.service == service {
			n++
		}
	}
	return n
}

// due waits until some victim has reached its act, and returns which; the first one when the sync is over before, and
// none when it is time for somebody to die anyway.
func (c *campaign) due(began time.Time, asked []request, victims []victim) (next int) {
	c.t.Helper()
	c.Await(syncLimit, "a victim reaches its act, or the sync ends", func() bool {
		for i, v := range victims {
			if c.count(began, of(v.service)) > v.after {
				next = i
				return true
			}
		}
		if !c.next.IsZero() && time.Now().After(c.next) {
			next = -1
			return true
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

// kill kills a victim and starts it again at once.
func (c *campaign) kill(v victim, began time.Time) {
	c.t.Helper()
	acts := c.count(began, of(v.service))
	c.Kill9(v.service, 0)
	_ = c.nc.Flush() // pages that the victim stored are noted before the time is taken
	c.note(v.service)
	c.done = append(c.done, kill{service: v.service, after: acts, at: time.Now()})
	c.Restart(v.service, 0)
}

// killAnybody kills whoever chance says, at work or not: nobody knows what work was left, so it is back when ready.
func (c *campaign) killAnybody() {
	c.t.Helper()
	service := services[c.rng.IntN(len(services))]
	c.Kill9(service, 0)
	c.note(service)
	c.done = append(c.done, kill{service: service, at: time.Now(), idle: true})
	c.Restart(service, 0)
	c.soon()
}

// note remembers a strike that has just happened.
func (c *campaign) note(service string) { c.hits = append(c.hits, hit{service, time.Now()}) }

// freeze stops a victim until somebody else could have its messages, and lets it go on in the belief that it has them.
func (c *campaign) freeze(v victim, _ time.Time) {
	c.t.Helper()
	c.Stop(v.service, 0)
	c.note(v.service)
	since := time.Now()
	c.Await(syncLimit, "the ack wait of a frozen process is over", func() bool { return time.Since(since) > streams.AckWait+time.Second })
	c.Cont(v.service, 0)
	found.fault(rowFreeze, 1)
}

// orphan is kill -9 of the broker at the victim's act.
func (c *campaign) orphan(victim, time.Time) {
	c.t.Helper()
	c.KillNATS()
	c.note("")
	c.RestartNATS()
	found.fault(rowBrokerKill, 1)
}

// roll restarts the victim as a deployment does.
func (c *campaign) roll(v victim, _ time.Time) {
	c.t.Helper()
	p := c.replicas[v.service][0]
	c.note(v.service)
	if code := p.terminate(drainLimit); code != 0 {
		c.t.Errorf("%s: SIGTERM with work in hand exits %d", v.service, code)
	}
	p.start(c.t)
	found.fault(rowRoll, 1)
}

// recovered finds out how long the way back was. Somebody who had nothing left to do is back when ready, and so is who
// was struck once more, or the broker, before anything could be seen of it.
func (c *campaign) recovered(k *kill) {
	c.t.Helper()
	c.AwaitReady()
	k.idle = k.idle || slices.ContainsFunc(c.hits, func(s hit) bool {
		return (s.service == k.service || s.service == "") && s.at.After(k.at) && s.at.Sub(k.at) < takeOver
	})
	p := c.replicas[k.service][0]
	next, worked := c.first(k.at, of(k.service))
	if worked && !k.idle {
		if k.took = next.at.Sub(k.at); k.took > takeOver {
			k.log = p.between(k.at, next.at)
		}
		return
	}
	k.idle = true
	k.took = max(0, p.readyAfter(k.at).Sub(k.at))
}
