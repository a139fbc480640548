package faultbench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

const (
	// leaving is how many people are in flight in an arena.
	leaving = 300
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
	var (
		mu   sync.Mutex
		done kills
	)
	t.Cleanup(func() {
		if done.report(t); len(done) == 0 {
			t.Error("nobody was killed, so nothing was shown")
		}
	})
	for i := range 2 * often(2) { // benches side by side: see arenas
		t.Run(fmt.Sprintf("arena %d", i), func(t *testing.T) {
			t.Parallel()
			l := startLayoffs(t, draw(t, uint64(200+i)), 2, 15, 5)
			l.loseAnswers()
			for round := 0; round == 0 || !over() && !t.Failed(); round++ {
				l.round(round)
			}
			l.judge()
			mu.Lock()
			defer mu.Unlock()
			done = append(done, l.done...)
		})
	}
}

// layoffs are a bench on which people leave.
type layoffs struct {
	*Bench
	rng *rand.Rand
	// connection is whose people leave.
	connection string
	// wanted has whom each request is about, by source and id.
	wanted map[string]string
	// spared has the reason why somebody who is asked for must stay, by psUserId.
	spared map[string]string
	// denied says that Pluralsight refused files that it had carried out: then whoever looks next finds people gone, and
	// nobody can tell by whom.
	denied bool
	// began is the round's: since when there are answers to come.
	began time.Time
	// answers are all settled events in the stream before next, by source and id of the request.
	answers map[string][]events.DeprovisionSettled
	next    uint64
	done    kills
	// looked is when the stream was read last.
	looked time.Time
}

// patient is a time for a proof that never runs out in a show.
const patient = 20 * time.Minute

// layoffRules are the connection's, with files of batch people at most.
func layoffRules(batch int, verifyWithin time.Duration) string {
	return fmt.Sprintf("apply: auto, batchMaxUsers: %d, batchMaxAge: 200ms, maxUsersPerBatchAuto: 1000, maxUsers24hAuto: 1000000, "+
		"verifyEvery: 100ms, verifyWithin: %s, protect: ['vip-*@*']", batch, verifyWithin)
}

// startLayoffs starts a bench of its own for deprovisioners, who try a message so many times.
func startLayoffs(t *testing.T, rng *rand.Rand, replicas, batch, deliveries int) *layoffs {
	t.Helper()
	b := Start(t, Options{
		People: 200, PageSize: 1000, Services: []string{streams.Deprovisioner}, Replicas: replicas, Latency: 5 * time.Millisecond,
		CallTimeout: layoffTimeout, Attempts: 10, MaxDeliveries: deliveries, Deprovision: layoffRules(batch, patient),
	})
	return newLayoffs(b, rng, "acme")
}

func newLayoffs(b *Bench, rng *rand.Rand, connection string) *layoffs {
	return &layoffs{
		Bench: b, rng: rng, connection: connection, wanted: map[string]string{}, spared: map[string]string{},
		answers: map[string][]events.DeprovisionSettled{},
	}
}

// loseAnswers lets Pluralsight act late, and cuts some of its answers.
func (l *layoffs) loseAnswers() {
	l.t.Helper()
	err := l.pluralsight.Configure(l.connection, func(s *pluralsightsim.Switches) {
		s.Deprovision.EffectDelay = pluralsightsim.Duration(effectDelay)
	})
	if err != nil {
		l.t.Fatal(err)
	}
	lost := func(when pluralsightsim.When, probability float64) pluralsightsim.Fault {
		match := pluralsightsim.Match{Operation: "deprovision", DryRun: new(false), Probability: probability}
		return pluralsightsim.Fault{Match: match, When: when, Action: pluralsightsim.Reset}
	}
	// Those that were not carried out have to be sent again, and cannot be told from those that were.
	if _, err := l.pluralsight.Inject(lost(pluralsightsim.Before, 0.1), lost(pluralsightsim.After, 0.2)); err != nil {
		l.t.Fatal(err)
	}
}

// leaver is one request to take a licence back.
type leaver struct {
	source, id string
	person     pluralsightsim.Person
}

// hire puts people on the account who have been there for long. The first is protected and the second an admin.
func (l *layoffs) hire(n int) (hired []pluralsightsim.Person) {
	l.t.Helper()
	for i := range n {
		p := newcomer(l.newAddress(l.rng, l.connection), l.rng.Uint64())
		reason := map[int]string{0: deprovision.ReasonProtected, 1: deprovision.ReasonAdmin}[i]
		if p.Admin = i == 1; i == 0 {
			p.Email = "vip-" + p.Email
		}
		p, err := l.pluralsight.AddPerson(l.connection, p)
		if err != nil {
			l.t.Fatal(err)
		}
		if reason != "" {
			l.spared[p.PsUserID] = reason
		}
		hired = append(hired, p)
	}
	return hired
}

// newcomer has a licence for long. The rows of every second one carry the psUserId, those of the others an SSO identifier.
func newcomer(address string, chance uint64) pluralsightsim.Person {
	p := pluralsightsim.Person{
		Email: address, FirstName: "Lea", LastName: "Ver", ProductIDs: []string{"1"}, StartedOn: time.Now().Add(-1000 * time.Hour),
	}
	if chance%2 == 0 {
		p.CurrentSsoIdentifier = fmt.Sprintf("sso-%016x", chance)
	}
	return p
}

// round lets people leave, in the order of chance: each tenth is asked for by two systems, each tenth event comes twice.
// There are kills until all are settled, in the short form a few.
func (l *layoffs) round(round int) {
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
	l.began = time.Now()
	next := l.aim() // before anything is asked, since the intake is as mortal as the rest
	for _, r := range all {
		l.ask(r)
	}
	for struck := 1; l.strike(next) && (struck < shortStrikes || !over()); struck++ {
		next = l.aim()
	}
	l.Await(layoffLimit, "every request is settled", l.over)
}

// ask publishes a request, without a message id, which nobody is asked for.
func (l *layoffs) ask(r leaver) {
	l.t.Helper()
	l.want(r)
	m := r.message(l.connection, l.began)
	l.put(m.Subject, m)
}

// want notes that a request has an answer to come.
func (l *layoffs) want(r leaver) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wanted[r.source+" "+r.id] = r.person.PsUserID
}

func (r leaver) message(connection string, at time.Time) *nats.Msg {
	data, _ := json.Marshal(events.DeprovisionRequested{Email: r.person.Email, Reason: "left the company"}) // strings always encode
	m := structured(events.Event{
		ID: r.id, Source: "/" + r.source, Type: events.DeprovisionRequestedType, Time: at.UTC().Truncate(time.Second), Data: data,
	})
	m.Subject = subject(events.DeprovisionRequestedSubject, connection, r.source)
	return m
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

// over reports whether every request has an answer that is stored. It asks the broker now and then.
func (l *layoffs) over() bool {
	if time.Since(l.looked) > 100*time.Millisecond {
		l.read()
		l.looked = time.Now()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answers) >= len(l.wanted)
}

// read takes what is new in the stream itself: what is not stored does not count.
func (l *layoffs) read() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for msg, err := range streams.Read(ctx, l.js, streams.Outcomes, subject(events.DeprovisionSettledSubject, l.connection, "*"), l.next) {
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
