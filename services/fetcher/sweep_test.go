package fetcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/bus"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

// deliver hands a request to a process, which may crash under it.
func deliver(ctx context.Context, l *lane, d bus.Delivery) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return l.deliver(ctx, d, nil)
}

// manifests returns what was said about sweeps, oldest first.
func (g *ground) manifests() (all []roster.Manifest) {
	g.t.Helper()
	for msg, err := range streams.Read(g.t.Context(), g.conn.JS(), streams.Swept, streams.UsersSweptSubject+".>", 1) {
		var m roster.Manifest
		if err == nil {
			err = json.Unmarshal(msg.Data, &m)
		}
		if err != nil {
			g.t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

func (g *ground) only() roster.Manifest {
	g.t.Helper()
	all := g.manifests()
	if len(all) != 1 {
		g.t.Fatalf("%d manifests, want one", len(all))
	}
	return all[0]
}

// read returns what a manifest covers, page by page, after checking that it is what the manifest says.
func (g *ground) read(m roster.Manifest) []roster.FetchedPage {
	g.t.Helper()
	bodies := make([][]byte, m.Pages)
	filter := events.Subject(streams.UsersFetchedSubject, m.Connection, m.SweepID, "*")
	for msg, err := range streams.Read(g.t.Context(), g.conn.JS(), streams.Fetched, filter, 1) {
		if err != nil {
			g.t.Fatal(err)
		}
		number, generation, ok := roster.ParsePageToken(msg.Subject[strings.LastIndex(msg.Subject, ".")+1:])
		if !ok {
			g.t.Fatalf("%s is no page", msg.Subject)
		}
		if m.Generation(number) != generation {
			continue
		}
		if bodies[number-1] != nil {
			g.t.Fatalf("page %d is there twice", number)
		}
		bodies[number-1] = msg.Data
	}
	root, pages := "", make([]roster.FetchedPage, m.Pages)
	for i, body := range bodies {
		if err := json.Unmarshal(body, &pages[i]); err != nil {
			g.t.Fatalf("page %d: %v", i+1, err)
		}
		root = roster.Chain(root, roster.Hash(body))
	}
	if root != m.Root {
		g.t.Fatal("the pages are not those of the manifest")
	}
	return pages
}

// whole checks that a manifest covers everybody of v once, in order.
func (g *ground) whole(m roster.Manifest, v *vendor) {
	g.t.Helper()
	if !m.Sound() {
		g.t.Fatalf("%s: %s", m.Failure, m.Detail)
	}
	var got, want []string
	for _, p := range g.read(m) {
		for _, u := range p.Users {
			got = append(got, p.Kind+" "+u.PsUserID)
		}
	}
	for i := range v.admins {
		want = append(want, fmt.Sprintf("admins a%d", i))
	}
	for i := range v.users {
		want = append(want, fmt.Sprintf("users u%d", i))
	}
	if !slices.Equal(got, want) {
		g.t.Fatalf("%d people read, want %d", len(got), len(want))
	}
	if m.Nodes != v.users || m.Total != v.users || m.Licenses != 50 || m.Assigned != 40 {
		g.t.Errorf("nodes %d, total %d, licences %d, assigned %d", m.Nodes, m.Total, m.Licenses, m.Assigned)
	}
}

func (g *ground) state() (s roster.Sweep) {
	g.t.Helper()
	if _, err := g.store.Get(g.t.Context(), roster.SweepKey(acme), &s); err != nil {
		g.t.Fatal(err)
	}
	return s
}

func TestDeliver_readsAWholePlan(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]*vendor{
		"several pages":                {admins: 3, users: 10, pageSize: 4},
		"one page":                     {admins: 1, users: 4, pageSize: 4},
		"nobody":                       {pageSize: 4},
		"no admins":                    {users: 1, pageSize: 4},
		"vendor pages beyond our own":  {admins: 150, users: 250, pageSize: 1000},
		"more than a checkpoint holds": {users: 70, pageSize: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t)
			if err := deliver(t.Context(), g.process(v, nil), g.ask("r1")); err != nil {
				t.Fatal(err)
			}
			g.whole(g.only(), v)
			if s := g.state(); s.Running || s.Sound == nil || s.Last.SweepID != s.Sound.SweepID || s.Stalls != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A crash at any call is taken up by the next process, which reads on from the last checkpoint, and what the crashed
// one had stored beyond is not mixed in although everybody looks different by now.
func TestDeliver_goesOnAfterACrash(t *testing.T) {
	t.Parallel()
	const users = 80 // two checkpoints of 32, and more
	for _, crash := range []int{1, 2, 3, 4, 34, 36, 40, 68, 70, 81, 82} {
		t.Run(fmt.Sprintf("at call %d", crash), func(t *testing.T) {
			t.Parallel()
			g := newGround(t)
			d := g.ask("r1")
			// Crash twice at the same place: the second time nothing may have been recorded in between.
			for n := range 2 {
				ctx, stop := context.WithCancel(t.Context())
				dying := &vendor{admins: 1, users: users, pageSize: 1, mark: fmt.Sprint("crashed ", n)}
				dying.before = func(call int, _ string) error {
					if call < crash {
						return nil
					}
					stop()
					return context.Canceled // what a call says whose process is being stopped
				}
				if err := deliver(ctx, g.process(dying, nil), d); err == nil && dying.calls >= crash {
					t.Fatal("survived")
				}
				stop()
			}
			v := &vendor{admins: 1, users: users, pageSize: 1, mark: "alive"}
			if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
				t.Fatal(err)
			}
			g.whole(g.only(), v)
		})
	}
}

func TestDeliver_readsNothingTwiceBehindACheckpoint(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	d := g.ask("r1")
	dying := &vendor{users: 80, pageSize: 1}
	stop := failing{bus.NewPublisher(g.conn), func(subject string) bool {
		return strings.HasSuffix(subject, roster.PageToken(50, 1)) // crash while page 50 is stored
	}}
	dying.before = nil
	if err := deliver(t.Context(), g.process(dying, stop), d); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	if s := g.state(); !s.Running || s.Checkpoint.Pages < 32 || s.Checkpoint.Pages >= 50 {
		t.Fatalf("checkpoint at page %d", s.Checkpoint.Pages)
	}
	sweep, done := g.state().SweepID, g.state().Checkpoint.Pages
	v := &vendor{users: 80, pageSize: 1, mark: "alive"}
	if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
		t.Fatal(err)
	}
	m := g.only()
	g.whole(m, v)
	if m.SweepID != sweep || len(m.Spans) != 2 || m.Spans[0].Generation == m.Spans[1].Generation {
		t.Errorf("sweep %s goes on as %s in spans %+v", sweep, m.SweepID, m.Spans)
	}
	if v.calls != 80-done {
		t.Errorf("%d calls after a checkpoint at %d of 80", v.calls, done)
	}
}

// A crash between the last checkpoint and the manifest: everything is stored, and nothing has to be read again.
func TestDeliver_publishesTheManifestThatACrashKeptBack(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	d := g.ask("r1")
	v := &vendor{admins: 2, users: 5, pageSize: 2}
	stop := failing{bus.NewPublisher(g.conn), func(s string) bool { return strings.HasPrefix(s, streams.UsersSweptSubject) }}
	if err := deliver(t.Context(), g.process(v, stop), d); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	read := v.calls
	if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
		t.Fatal(err)
	}
	g.whole(g.only(), v)
	if v.calls != read {
		t.Errorf("%d calls more", v.calls-read)
	}
}

// The manifest is out and the state does not know it yet.
func TestDeliver_publishesOneManifestOverACrash(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	d := g.ask("r1")
	v := &vendor{users: 5, pageSize: 2}
	// Somebody else writes the state while the manifest is published: the save that closes the sweep is refused.
	thief := failing{bus.NewPublisher(g.conn), func(subject string) bool {
		if strings.HasPrefix(subject, streams.UsersSweptSubject) {
			g.touch()
		}
		return false
	}}
	if err := deliver(t.Context(), g.process(v, thief), d); fault.ReasonOf(err) != "lane-lost" {
		t.Fatal(err)
	}
	if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
		t.Fatal(err)
	}
	m := g.only()
	g.whole(m, v)
	if s := g.state(); s.Running || s.Sound == nil || s.Sound.Root != m.Root {
		t.Errorf("%+v", s)
	}
}

// touch writes the state as it is: whoever read it before has lost the lane.
func (g *ground) touch() {
	g.t.Helper()
	var s roster.Sweep
	revision, err := g.store.Get(g.t.Context(), roster.SweepKey(acme), &s)
	if err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.store.Put(g.t.Context(), roster.SweepKey(acme), s, revision); err != nil {
		g.t.Fatal(err)
	}
}

func TestDeliver_stopsWhenTheLaneIsLost(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	v := &vendor{users: 5, pageSize: 2}
	v.before = func(call int, _ string) error {
		if call == 2 {
			g.touch()
		}
		return nil
	}
	err := deliver(t.Context(), g.process(v, nil), g.ask("r1"))
	if fault.ReasonOf(err) != "lane-lost" || fault.ClassOf(err) != fault.Transient {
		t.Error(err)
	}
	if n := len(g.manifests()); n != 0 {
		t.Errorf("%d manifests by who lost the lane", n)
	}
}

func TestDeliver_startsAfreshWhenTheCursorIsRefusedAfterACrash(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	d := g.ask("r1")
	full := failing{bus.NewPublisher(g.conn), func(subject string) bool { return strings.HasSuffix(subject, roster.PageToken(40, 1)) }}
	if err := deliver(t.Context(), g.process(&vendor{users: 60, pageSize: 1}, full), d); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	before := g.state()
	v := &vendor{users: 60, pageSize: 1, mark: "alive"}
	v.before = func(call int, after string) error {
		if call == 1 {
			return fault.New(fault.Permanent, "cursor-refused", "expired")
		}
		return nil
	}
	if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
		t.Fatal(err)
	}
	m := g.only()
	g.whole(m, v)
	if m.SweepID == before.SweepID {
		t.Error("the same sweep, begun twice")
	}
}

func TestDeliver_refusedCursorWithoutACrashIsAFailure(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	v := &vendor{users: 6, pageSize: 2}
	v.before = func(call int, _ string) error {
		if call == 4 {
			return fault.New(fault.Permanent, "cursor-refused", "expired")
		}
		return nil
	}
	if err := deliver(t.Context(), g.process(v, nil), g.ask("r1")); err != nil {
		t.Fatal(err)
	}
	if m := g.only(); m.Failure != "cursor-refused" {
		t.Errorf("%+v", m)
	}
}

func TestDeliver_endsAnUnsoundReadingAsFailed(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	v := &vendor{users: 6, pageSize: 2}
	v.before = func(call int, _ string) error {
		if call == 4 {
			v.users = 7 // somebody joined: totalCount changes
		}
		return nil
	}
	if err := deliver(t.Context(), g.process(v, nil), g.ask("r1")); err != nil {
		t.Fatal(err)
	}
	m := g.only()
	if m.Failure != "counts-disagree" || m.Detail == "" || m.Pages != 0 || m.Root != "" || m.Nodes != 0 {
		t.Errorf("a failed manifest must not look like a roster: %+v", m)
	}
	s := g.state()
	if s.Running || s.Sound != nil || s.Last == nil {
		t.Errorf("%+v", s)
	}
	// The next request gets a sweep of its own.
	v.before = nil
	if err := deliver(t.Context(), g.process(v, nil), g.ask("r2")); err != nil {
		t.Fatal(err)
	}
	all := g.manifests()
	g.whole(all[len(all)-1], v)
	if len(all) != 2 || all[1].After != all[0].Through {
		t.Errorf("%+v", all)
	}
}

func TestDeliver_vendorFailureIsFinal(t *testing.T) {
	t.Parallel()
	for call := 1; call <= 3; call++ { // plan, admins, users
		g := newGround(t)
		v := &vendor{users: 6, pageSize: 2}
		v.before = func(n int, _ string) error {
			if n == call {
				return fault.New(fault.Transient, "server-error", "spent its attempts")
			}
			return nil
		}
		if err := deliver(t.Context(), g.process(v, nil), g.ask("r1")); err != nil {
			t.Fatal(err)
		}
		if m := g.only(); m.Failure != "server-error" {
			t.Errorf("at call %d: %+v", call, m)
		}
	}
}

// A plan that kills whoever reads it must not do so for ever.
func TestDeliver_suspectsASweepThatKeepsCrashing(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	d := g.ask("r1")
	v := &vendor{users: 6, pageSize: 2}
	v.before = func(int, string) error { panic("crash") }
	starts := 0
	for len(g.manifests()) == 0 {
		if starts++; starts > 10 {
			t.Fatal("still starting")
		}
		if err := deliver(t.Context(), g.process(v, nil), d); err == nil && len(g.manifests()) == 0 {
			t.Fatal("acknowledged without a word")
		}
	}
	if m := g.only(); m.Failure != "crash-suspect" || starts != 4 {
		t.Errorf("%s after %d starts", m.Failure, starts)
	}
	// The next request is not suspected for it.
	v.before = nil
	if err := deliver(t.Context(), g.process(v, nil), g.ask("r2")); err != nil {
		t.Fatal(err)
	}
	if all := g.manifests(); !all[len(all)-1].Sound() {
		t.Errorf("%+v", all)
	}
}

func TestDeliver_answersAllRequestsThatWaited(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	first, second, third := g.ask("r1"), g.ask("r2"), g.ask("r3")
	var late bus.Delivery
	v := &vendor{users: 6, pageSize: 2}
	v.before = func(call int, _ string) error {
		if call == 3 {
			late = g.ask("r4") // while the sweep runs: not answered by it
		}
		return nil
	}
	for _, d := range []bus.Delivery{first, second, third} {
		if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
			t.Fatal(err)
		}
	}
	m := g.only()
	if m.After >= first.Sequence || m.Through != third.Sequence {
		t.Errorf("answers (%d, %d], want %d to %d", m.After, m.Through, first.Sequence, third.Sequence)
	}
	v.before = nil
	for range 2 { // the second time is a redelivery whose ack was lost
		if err := deliver(t.Context(), g.process(v, nil), late); err != nil {
			t.Fatal(err)
		}
	}
	all := g.manifests()
	if len(all) != 2 || all[1].After != third.Sequence || all[1].Through != late.Sequence {
		t.Errorf("%+v", all)
	}
}

// State can fall behind acknowledgements on a single node that was killed: the sweep in hand then does not cover the
// request that is delivered, and after the ack nobody would ask for it again.
func TestDeliver_finishesAnOlderSweepAndStillAnswersTheRequest(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	first := g.ask("r1")
	v := &vendor{users: 6, pageSize: 2}
	stop := failing{bus.NewPublisher(g.conn), func(s string) bool { return strings.HasPrefix(s, streams.UsersSweptSubject) }}
	if err := deliver(t.Context(), g.process(v, stop), first); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	second := g.ask("r2")
	if err := deliver(t.Context(), g.process(v, nil), second); err != nil {
		t.Fatal(err)
	}
	all := g.manifests()
	if len(all) != 2 || all[0].Through != first.Sequence || all[1].Through != second.Sequence {
		t.Errorf("%+v", all)
	}
}

// On a cluster the newest message may not be readable everywhere yet; the delivered one was there.
func TestDeliver_coversTheRequestEvenIfItIsNotReadable(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	v := &vendor{users: 2, pageSize: 2}
	if err := deliver(t.Context(), g.process(v, nil), bus.Delivery{Sequence: 5}); err != nil {
		t.Fatal(err)
	}
	if m := g.only(); m.Through != 5 {
		t.Errorf("answers through %d, want 5", m.Through)
	}
	// The stream's last message is older than the one that is delivered.
	d := g.ask("r1")
	d.Sequence = 9
	if err := deliver(t.Context(), g.process(v, nil), d); err != nil {
		t.Fatal(err)
	}
	if all := g.manifests(); len(all) != 2 || all[1].After != 5 || all[1].Through != 9 {
		t.Errorf("%+v", all)
	}
}

func TestDeliver_waitsForASlot(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	l := g.process(&vendor{pageSize: 1}, nil)
	l.slots <- struct{}{}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	d := g.ask("r1")
	go func() { done <- l.deliver(ctx, d, nil) }()
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-l.slots
	if err := deliver(t.Context(), l, d); err != nil {
		t.Error(err)
	}
	if len(l.slots) != 0 {
		t.Error("the slot was not given back")
	}
}
