package faultbench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

const (
	// leaving is how many people are in flight in an arena.
	leaving = 300
	// layoffArenas are benches side by side: see arenas.
	layoffArenas = 4
	// shortStrikes is how often an arena is struck at least.
	shortStrikes = 2
	// effectDelay is how long after the answer Pluralsight does what it was told. It is below layoffTimeout, after which
	// somebody who is still there may be sent again.
	effectDelay = 200 * time.Millisecond
	// layoffTimeout is what a call may take, and how long doubt about a lost answer lasts.
	layoffTimeout = 2 * time.Second
	// layoffLimit is for everybody in flight to be settled once nobody is killed any more.
	layoffLimit = 5 * time.Minute
)

// layoffSources ask for licences back.
var layoffSources = []string{"hr", "directory", "tickets"}

// TestKill9_nobodyRemovedTwiceNobodyForgotten kills deprovisioners with -9 at random moments, while people leave whose
// removal takes a while, and some of whose answers are lost.
//
// A moment is the n-th sign of work: a call on the wire, or a message on its way to the broker (a document of the
// ledger, a word to the world) whose sender does not know yet whether it is stored. Mostly the holder of the lane dies,
// now and then the other replica. At the end of a round everybody is gone and every request has its one answer.
func TestKill9_nobodyRemovedTwiceNobodyForgotten(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(*chaos)
	var (
		mu   sync.Mutex
		done kills
	)
	t.Cleanup(func() {
		if done.report(t); len(done) == 0 {
			t.Error("nobody was killed, so nothing was shown")
		}
	})
	for i := range layoffArenas {
		t.Run(fmt.Sprintf("arena %d", i), func(t *testing.T) {
			t.Parallel()
			l := startLayoffs(t, draw(t, uint64(200+i)))
			for round := 0; round == 0 || time.Now().Before(until) && !t.Failed(); round++ {
				l.round(round, until)
			}
			l.judge()
			mu.Lock()
			defer mu.Unlock()
			done = append(done, l.done...)
		})
	}
}

// layoffs are a bench on which people leave. Attack and judges share a file, past 400 lines, because each judge is about
// what this attack does and no other show uses one.
type layoffs struct {
	*Bench
	rng *rand.Rand
	// wanted has whom each request is about, by source and id.
	wanted map[string]string
	// began and due are the round's: since when there are answers to come, and how many.
	began time.Time
	due   int
	// answers are all settled events in the stream before next, by source and id of the request.
	answers map[string][]events.DeprovisionSettled
	next    uint64
	done    kills
}

func startLayoffs(t *testing.T, rng *rand.Rand) *layoffs {
	t.Helper()
	b := Start(t, Options{
		People: 200, PageSize: 1000, Services: []string{streams.Deprovisioner}, Replicas: 2, Latency: 5 * time.Millisecond,
		CallTimeout: layoffTimeout, Attempts: 10,
		Deprovision: "apply: auto, batchMaxUsers: 15, batchMaxAge: 200ms, maxUsersPerBatchAuto: 1000, maxUsers24hAuto: 1000000, " +
			"verifyEvery: 100ms, verifyWithin: 20m",
	})
	err := b.pluralsight.Configure("acme", func(s *pluralsightsim.Switches) {
		s.Deprovision.EffectDelay = pluralsightsim.Duration(effectDelay)
	})
	if err != nil {
		t.Fatal(err)
	}
	lost := func(when pluralsightsim.When, probability float64) pluralsightsim.Fault {
		match := pluralsightsim.Match{Operation: "deprovision", DryRun: new(false), Probability: probability}
		return pluralsightsim.Fault{Match: match, When: when, Action: pluralsightsim.Reset}
	}
	// Those that were not carried out have to be sent again, and cannot be told from those that were.
	if _, err := b.pluralsight.Inject(lost(pluralsightsim.Before, 0.1), lost(pluralsightsim.After, 0.2)); err != nil {
		t.Fatal(err)
	}
	return newLayoffs(b, rng)
}

func newLayoffs(b *Bench, rng *rand.Rand) *layoffs {
	return &layoffs{Bench: b, rng: rng, wanted: map[string]string{}, answers: map[string][]events.DeprovisionSettled{}}
}

// leaver is one request to take a licence back.
type leaver struct {
	source, id string
	person     pluralsightsim.Person
}

// hire puts people on the account who have been there for long.
func (l *layoffs) hire(n int) (hired []pluralsightsim.Person) {
	l.t.Helper()
	for i := range n {
		p := pluralsightsim.Person{
			Email: l.newAddress(l.rng, "acme"), FirstName: "Lea", LastName: "Ver", ProductIDs: []string{"1"},
			StartedOn: time.Now().Add(-1000 * time.Hour),
		}
		if i%2 == 0 { // the others' rows carry their psUserId
			p.CurrentSsoIdentifier = fmt.Sprintf("sso-%016x", l.rng.Uint64())
		}
		p, err := l.pluralsight.AddPerson("acme", p)
		if err != nil {
			l.t.Fatal(err)
		}
		hired = append(hired, p)
	}
	return hired
}

// round lets people leave, in the order of chance: each tenth is asked for by two systems, each tenth event comes twice.
// There are kills until all are settled, in the short form a few.
func (l *layoffs) round(round int, until time.Time) {
	l.t.Helper()
	var all []leaver
	for i, p := range l.hire(leaving) {
		source := layoffSources[i%len(layoffSources)]
		all = append(all, leaver{source, fmt.Sprintf("%d-%d", round, i), p})
		switch i % 10 {
		case 0:
			all = append(all, leaver{layoffSources[(i+1)%len(layoffSources)], fmt.Sprintf("%d-%d-too", round, i), p})
		case 5:
			all = append(all, all[len(all)-1])
		}
	}
	l.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	l.began, l.due = time.Now(), leaving+leaving/10
	next := l.aim() // before anything is asked, since the intake is as mortal as the rest
	for _, r := range all {
		l.ask(r)
	}
	for struck := 1; l.strike(next) && (struck < shortStrikes || time.Now().Before(until)); struck++ {
		next = l.aim()
	}
	l.Await(layoffLimit, "every request is settled", l.over)
}

// ask publishes a request, without a message id, which nobody is asked for.
func (l *layoffs) ask(r leaver) {
	l.t.Helper()
	data, _ := json.Marshal(events.DeprovisionRequested{Email: r.person.Email, Reason: "left the company"}) // strings always encode
	m := structured(events.Event{
		ID: r.id, Source: "/" + r.source, Type: events.DeprovisionRequestedType, Time: l.began.UTC().Truncate(time.Second), Data: data,
	})
	l.wanted[r.source+" "+r.id] = r.person.PsUserID
	l.put(subject(events.DeprovisionRequestedSubject, "acme", r.source), m)
}

// aim is a kill that waits for its moment.
type aim struct {
	// after is how many signs of work come before.
	after int32
	// bystander spares the holder of the lane and kills the other replica.
	bystander bool
	// armed is taken by whoever kills, or gives the kill up.
	armed  atomic.Bool
	victim atomic.Pointer[owner]
}

// moment is a kind of act at which a kill may strike, at one of the first within of them.
type moment struct {
	fits   func(act) bool
	within int32
}

// moments are the kinds. A round has some 4000 messages, most of them early, 200 calls and 25 files in earnest. These
// are the dangerous ones, so every second kill is about them: what was spent is stored together with the word that the
// bytes are leaving, and the next call is the bytes.
func moments() []moment {
	leaves := sends(streams.LedgerSpentSubject)
	var leaving atomic.Bool
	inEarnest := func(a act) bool {
		if leaves(a) {
			leaving.Store(true)
		}
		return a.by.service == streams.Deprovisioner && leaving.Swap(false)
	}
	return []moment{{message, 1200}, {of(streams.Deprovisioner), 50}, {leaves, 15}, {inEarnest, 15}}
}

// message reports whether an act is a deprovisioner's message. Beats are no work.
func message(a act) bool { return told(a) || sends(streams.LedgerSubject)(a) }

// told reports whether an act is a word to the world.
func told(a act) bool {
	return sends(events.DeprovisionProgressedSubject)(a) || sends(events.DeprovisionSettledSubject)(a)
}

// aim draws a moment and has a replica killed at it, by whoever sees it, so that no time passes in between. Who called
// last is who holds the lane.
func (l *layoffs) aim() *aim {
	m := moments()[l.rng.IntN(4)]
	drawn := &aim{after: 1 + l.rng.Int32N(m.within), bystander: l.rng.IntN(6) == 0}
	drawn.armed.Store(true)
	var signs, holder atomic.Int32
	last, _ := l.last(func(a act) bool { return a.by.service == streams.Deprovisioner })
	holder.Store(int32(last.by.replica))
	l.onCall(func(a act) {
		if a.by.service == streams.Deprovisioner {
			holder.Store(int32(a.by.replica))
		}
		if !m.fits(a) || signs.Add(1) < drawn.after || !drawn.armed.CompareAndSwap(true, false) {
			return
		}
		victim := int(holder.Load())
		if drawn.bystander {
			victim = 1 - victim
		}
		l.replicas[streams.Deprovisioner][victim].shoot()
		drawn.victim.Store(&owner{service: streams.Deprovisioner, replica: victim})
	})
	return drawn
}

// last returns the last act that fits.
func (v *vendors) last(fits func(act) bool) (found act, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := len(v.acts) - 1; i >= 0; i-- {
		if fits(v.acts[i]) {
			return v.acts[i], true
		}
	}
	return act{}, false
}

// strike waits for the kill, starts the victim again and waits until the work goes on. It reports false when everybody
// was settled before.
func (l *layoffs) strike(a *aim) bool {
	l.t.Helper()
	l.Await(layoffLimit, "the moment of a kill, or the end of the round", func() bool {
		return a.victim.Load() != nil || l.over() && a.armed.CompareAndSwap(true, false)
	})
	victim := a.victim.Load()
	if victim == nil {
		return false
	}
	l.Kill9(streams.Deprovisioner, victim.replica) // waits for the end
	_ = l.nc.Flush()                               // what it sent before is noted
	k := kill{service: streams.Deprovisioner, after: int(a.after), at: time.Now(), idle: a.bystander}
	dead := l.owner(victim.replica)
	l.Restart(streams.Deprovisioner, victim.replica)
	l.recover(&k, dead)
	l.done = append(l.done, k)
	return true
}

func (l *layoffs) owner(replica int) owner {
	p := l.replicas[streams.Deprovisioner][replica]
	p.mu.Lock()
	defer p.mu.Unlock()
	return owner{streams.Deprovisioner, replica, p.starts}
}

// recover finds out how long the way back was: to a call of another process, or a word to the world. Who had nothing
// to do is back when ready, and so is who left nothing to do.
func (l *layoffs) recover(k *kill, dead owner) {
	l.t.Helper()
	goesOn := func(a act) bool { return told(a) || a.by.service == streams.Deprovisioner && a.by != dead }
	l.Await(syncLimit, "the work goes on", func() bool {
		next, ok := l.first(k.at, goesOn)
		if !k.idle && ok {
			k.took = next.at.Sub(k.at)
			return true
		}
		ready := l.replicas[dead.service][dead.replica].readyAt()
		if !ready.IsZero() && (k.idle || l.over()) {
			k.took, k.idle = ready.Sub(k.at), true
			return true
		}
		return false
	})
}

// over reports whether every request of the round has an answer that is stored. What was overheard tells cheaply whether
// it is worth while to look: it may be too many, since not all of it was stored, but not too few.
func (l *layoffs) over() bool {
	if l.count(l.began, sends(events.DeprovisionSettledSubject)) < l.due {
		return false
	}
	l.read()
	return len(l.answers) >= len(l.wanted)
}

// read takes what is new in the stream itself: what is not stored does not count.
func (l *layoffs) read() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for msg, err := range streams.Read(ctx, l.js, streams.Outcomes, subject(events.DeprovisionSettledSubject, "acme", "*"), l.next) {
		if err != nil {
			l.t.Logf("read the outcomes: %v", err) // who waits looks again, and the judge misses what is not there
			return
		}
		var s events.DeprovisionSettled
		if e, err := events.Read(msg.Header, msg.Data); err == nil {
			_ = json.Unmarshal(e.Data, &s) // what is not readable answers nobody, and the judge says so
		}
		key := events.Tokens(events.DeprovisionSettledSubject, msg.Subject)[1] + " " + s.RequestID
		l.answers[key] = append(l.answers[key], s)
		l.next = msg.Sequence + 1
	}
}

// judge checks what must hold of the evidence.
func (l *layoffs) judge() {
	l.t.Helper()
	l.AwaitReady()
	l.wantOneSettled()
	l.wantRemovedOnce()
	files, again := l.wantLooks()
	l.wantRowsOnce()
	for _, letter := range l.deadLetters() {
		l.t.Errorf("a dead letter where none is due: %s", letter.Subject)
	}
	l.wantNoLeak()
	lost := 0
	for _, f := range l.pluralsight.Faults() {
		lost += f.Fired
	}
	l.t.Logf("%d kills; %d requests; %d files in earnest, %d answers lost, %d rows sent again",
		len(l.done), len(l.wanted), files, lost, again)
}

// wantOneSettled checks that each request has one answer, which is true, and nobody else any. Nobody else takes these
// people's licences, so they are removed, or were so already when the second of two systems asked.
func (l *layoffs) wantOneSettled() {
	l.t.Helper()
	l.read()
	all := l.answers
	removed := map[string]bool{}
	for key, id := range l.wanted {
		for _, s := range all[key] {
			removed[id] = removed[id] || s.Outcome == deprovision.OutcomeRemoved
		}
		if n := len(all[key]); n != 1 {
			l.t.Errorf("request %s is settled %d times", key, n)
			continue
		}
		s := all[key][0]
		if s.Outcome != deprovision.OutcomeRemoved && s.Outcome != deprovision.OutcomeAlreadyRemoved || s.PsUserID != id {
			l.t.Errorf("request %s is settled as %s %s about %s, who should be %s", key, s.Outcome, s.Reason, s.PsUserID, id)
		}
		if e := s.Evidence; e.IsOnAccount == nil || *e.IsOnAccount || e.RemovedOn == nil || e.ReadAt == nil || e.ReadAt.Before(*e.RemovedOn) {
			l.t.Errorf("request %s is settled as %s without proof", key, s.Outcome)
		}
		if p, err := l.pluralsight.Person("acme", id); err != nil || p.IsOnAccount != pluralsightsim.No {
			l.t.Errorf("request %s is settled as %s, and the person is on the account: %v", key, s.Outcome, err)
		}
	}
	for key := range all {
		if l.wanted[key] == "" {
			l.t.Errorf("an answer for %q, which nobody asked for", key)
		}
	}
	for key, id := range l.wanted {
		if !removed[id] {
			l.t.Errorf("%s is gone, and neither %s nor another request was told that we did it", id, key)
		}
	}
}

// wantRemovedOnce checks the plan's own history: a file took each of these people once, and nobody else.
func (l *layoffs) wantRemovedOnce() {
	l.t.Helper()
	times := map[string]int{}
	for _, c := range l.pluralsight.History() {
		if c.Kind == "removed" && c.Plan == "acme" { // on other plans people leave by themselves
			times[c.PsUserID]++
		}
	}
	asked := map[string]bool{}
	for _, id := range l.wanted {
		if asked[id] = true; times[id] != 1 {
			l.t.Errorf("%s was removed %d times", id, times[id])
		}
	}
	for id := range times {
		if !asked[id] {
			l.t.Errorf("%s was removed, and nobody asked for it", id)
		}
	}
}

// wantLooks checks that nobody was sent twice without an answered look at that person in between, and nothing in
// earnest that no dry run had accepted. It returns how many files there were, and how many of their rows were repeated.
func (l *layoffs) wantLooks() (files, again int) {
	l.t.Helper()
	const unlooked, looked = 1, 2
	people, accepted := map[string]int{}, map[string]bool{}
	for _, r := range l.pluralsight.Requests() {
		if r.GraphQL != nil && r.Status == 200 && r.GraphQL.Errors == 0 {
			for _, address := range r.GraphQL.Emails {
				if address = strings.ToLower(address); people[address] == unlooked {
					people[address] = looked
				}
			}
		}
		d := r.Deprovision
		if d == nil {
			continue
		}
		bytes := fmt.Sprint(r.BodySHA256, d.ExitOnError, d.RetainPrivileges)
		if d.DryRun {
			accepted[bytes] = accepted[bytes] || r.Status == 200
			continue
		}
		if files++; !accepted[bytes] {
			l.t.Errorf("request %d applied what no dry run had accepted", r.Seq)
		}
		for _, row := range d.Rows {
			address := strings.ToLower(row.Email)
			switch people[address] {
			case unlooked:
				l.t.Errorf("request %d: somebody was sent again without a look in between", r.Seq)
			case looked:
				again++
			}
			people[address] = unlooked
		}
	}
	return files, again
}

// wantRowsOnce checks that no file in earnest names anybody twice.
func (l *layoffs) wantRowsOnce() {
	l.t.Helper()
	for _, r := range l.pluralsight.Requests() {
		if r.Deprovision == nil || r.Deprovision.DryRun {
			continue
		}
		seen := map[string]bool{}
		for _, row := range r.Deprovision.Rows {
			address := strings.ToLower(row.Email)
			if seen[address] || seen[row.ID] {
				l.t.Errorf("request %d names somebody twice", r.Seq)
			}
			seen[address], seen[row.ID] = true, true
		}
	}
}
