package publisher

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
)

// death ends a process at its n-th effect: a write to the state, a message, a call to Productiv. It may come before
// the effect or after it, when nobody was told of the success. A dead process has no more effects.
type death struct {
	at    int
	after bool
	stop  context.CancelFunc

	effects int
}

func (d *death) dead() bool { return d.effects >= d.at }

func (d *death) effect(do func() error) error {
	d.effects++
	switch {
	case d.effects < d.at:
		return do()
	case d.effects == d.at && d.after:
		_ = do()
	}
	d.stop()
	return context.Canceled
}

// take puts a process into death's hands.
func (d *death) take(l *lane) {
	l.deps.Publisher = dyingPublisher{l.deps.Publisher, d}
	l.app = dyingApp{l.app, d}
}

func (d *death) js(js jetstream.JetStream) jetstream.JetStream {
	if d == nil {
		return js
	}
	return dyingJS{js, d}
}

type dyingPublisher struct {
	Publisher
	d *death
}

func (p dyingPublisher) PublishMsg(ctx context.Context, subject, id string, header nats.Header, body []byte) (ack *jetstream.PubAck, err error) {
	err = p.d.effect(func() (err error) {
		ack, err = p.Publisher.PublishMsg(ctx, subject, id, header, body)
		return err
	})
	return ack, err
}

type dyingApp struct {
	App
	d *death
}

func (a dyingApp) Add(ctx context.Context, body []byte) error {
	return a.d.effect(func() error { return a.App.Add(ctx, body) })
}

func (a dyingApp) Remove(ctx context.Context, body []byte) (removed productiv.Removed, err error) {
	err = a.d.effect(func() (err error) {
		removed, err = a.App.Remove(ctx, body)
		return err
	})
	return removed, err
}

type dyingJS struct {
	jetstream.JetStream
	d *death
}

func (j dyingJS) KeyValue(ctx context.Context, bucket string) (jetstream.KeyValue, error) {
	kv, err := j.JetStream.KeyValue(ctx, bucket)
	return dyingKV{kv, j.d}, err
}

type dyingKV struct {
	jetstream.KeyValue
	d *death
}

func (k dyingKV) Update(ctx context.Context, key string, value []byte, last uint64) (revision uint64, err error) {
	err = k.d.effect(func() (err error) {
		revision, err = k.KeyValue.Update(ctx, key, value, last)
		return err
	})
	return revision, err
}

// crashStory is a publication with everything in it: additions and removals in several chunks, a change and a new id.
type crashStory struct {
	name   string
	change []func(*world)
	before []roster.Person
	people []roster.Person
	// turn decides whether the process dies after the odd effects or after the even ones.
	turn int
}

// ending is what must be the same however often a process died on the way.
type ending struct {
	Told      []events.RosterPublished
	List      []string
	State     string
	People    int
	Owned     []string
	Published string
	Removed   []int
	Records   int
}

// run publishes a story in a process that dies at its n-th effect, then in one that does not. It returns the end, and
// whether the first process died at all.
func (s crashStory) run(t *testing.T, b *broker, n int, after bool) (end ending, died bool) {
	t.Helper()
	w := b.newWorld(t, fmt.Sprintf("%s-%d-%v", s.name, n, after), s.change...)
	w.publish(s.before)
	m := w.sweep(s.people)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.dies = &death{at: n, after: after, stop: stop}
	if err := w.deliver(ctx, w.lane(), m); err == nil && w.dies.dead() {
		t.Fatalf("effect %d: acknowledged by a dead process", n)
	}
	died = w.dies.dead()
	w.dies = nil
	w.finish(m)

	p := w.state()
	end = ending{Told: w.told(), List: w.app.list(), State: p.Record(m.SweepID).State, People: p.Owned.People, Published: p.Published.Fingerprint, Records: len(p.History)}
	for _, r := range p.Removals {
		end.Removed = append(end.Removed, r.People)
	}
	turn := w.turn()
	turn.Publication = *p
	for o, err := range turn.owners(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		end.Owned = append(end.Owned, o.AppUserID)
	}
	return end, died
}

func crashStories() []crashStory {
	next := leave(crowd(9), "u0", "u1", "u2")
	next[3].License = "Enterprise"
	next[4].PsUserID = "v4" // u4 goes on under another id
	next = append(next, gone("u4", "u4@x"))
	return []crashStory{
		{"reconcile", []func(*world){batches(2)}, crowd(7), next, 0},
		{"by-address", []func(*world){batches(2), keys(byEmail)}, crowd(7), next, 1},
		{"again", []func(*world){batches(2)}, crowd(7), next, 1},
		{"append", []func(*world){mode(modeAppend), batches(2), keys(byEmail)}, crowd(7), next, 0},
		{"replace", []func(*world){mode(modeReplaceSingle), func(w *world) { w.app.replaces = true }}, crowd(7), next, 1},
	}
}

// crashEverywhere runs a story with a death at each effect, before it and after it by turns, and hands each end to see.
func crashEverywhere(t *testing.T, story crashStory, see func(what string, want, got ending)) {
	t.Helper()
	b := newBroker(t)
	want, _ := story.run(t, b, 1<<30, false)
	if want.State != roster.StatePublished || len(want.Told) != 2 {
		t.Fatalf("%+v", want)
	}
	for n := 1; ; n++ {
		after := n%2 == story.turn
		got, died := story.run(t, b, n, after)
		see(fmt.Sprintf("died at effect %d, after it: %v", n, after), want, got)
		if !died {
			if n < 8 {
				t.Errorf("only %d effects", n)
			}
			return
		}
	}
}

// A process may die at any of its effects: the next one brings the same list about, remembers the same, and every
// request gets exactly one answer.
func TestCrash_anywhereEndsTheSame(t *testing.T) {
	t.Parallel()
	sorted := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	reported := []cmp.Option{ // see the tests below
		cmpopts.IgnoreFields(ending{}, "Removed"), cmpopts.IgnoreFields(events.Counts{}, "Changed", "Deleted"),
	}
	for _, story := range crashStories() {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			crashEverywhere(t, story, func(what string, want, got ending) {
				if diff := cmp.Diff(want, got, append(reported, sorted)...); diff != "" {
					t.Errorf("%s (-undisturbed +crashed):\n%s", what, diff)
				}
			})
		})
	}
}

// The guards remember who went, once, whatever crashed.
func TestCrash_countsRemovalsOnce(t *testing.T) {
	t.Parallel()
	crashEverywhere(t, crashStories()[0], func(what string, want, got ending) {
		if diff := cmp.Diff(want.Removed, got.Removed); diff != "" {
			t.Errorf("%s (-undisturbed +crashed):\n%s", what, diff)
		}
	})
}

// What Productiv was told does not depend on how often a process had to begin.
func TestCrash_countsWhatProductivWasTold(t *testing.T) {
	t.Parallel()
	for _, story := range crashStories() {
		crashEverywhere(t, story, func(what string, want, got ending) {
			if diff := cmp.Diff(want.Told, got.Told); diff != "" {
				t.Errorf("%s: %s (-undisturbed +crashed):\n%s", story.name, what, diff)
			}
		})
	}
}
