package deprovisioner

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/streams"
)

// A replica lives for a lease after its last beat, and one that was never heard for a lease after our own start.
func TestBeatsLeaseRunsOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBeats(nil, "me")
		beat := &nats.Msg{Subject: events.Subject(streams.BeatSubject, "other")}
		alive := func(replica string, after time.Duration, want bool) {
			t.Helper()
			<-time.After(after)
			if b.alive(replica) != want {
				t.Errorf("%s, %s later: alive is %v", replica, after, !want)
			}
		}
		alive("stranger", leaseTime-1, true)
		alive("stranger", 1, false)
		b.hear(beat)
		alive("other", leaseTime-1, true)
		b.hear(beat) // the next beat, at the last moment
		alive("other", leaseTime-1, true)
		alive("other", 1, false)
		<-time.After(11 * leaseTime)
		b.hear(&nats.Msg{Subject: events.Subject(streams.BeatSubject, "third")})
		if len(b.heard) != 1 {
			t.Errorf("%d replicas remembered, of which one beats", len(b.heard))
		}
	})
}

// A process that was frozen between the save and the send finds itself late, and sends nothing.
func TestApplyOrderIsLateAfterTheSendWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := vendor{now: time.Now, paused: func(context.Context) (bool, error) { return false, nil }} // no plan: a call would panic
		ctx := withSavedAt(t.Context(), time.Now())
		<-time.After(sendWindow + 1)
		in := v.applyOrder(ctx, callApply{}).(sent)
		if !in.unsent || in.trouble.reason != "late" {
			t.Errorf("%+v", in)
		}
	})
}

// A day of Processing costs a read-back every verifyEvery, more of them only in the first minutes, and ends as unverified.
func TestADayOfProcessingEndsUnverified(t *testing.T) {
	t.Parallel()
	r := rulesFor(config.DefaultConnection("acme"), config.Default().Retry)
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	b := newBook(r)
	request := deprovision.Request{Connection: "acme", Key: "k", State: deprovision.Verifying, BatchID: "b", Person: "u1", AcceptedAt: now}
	batch := deprovision.Batch{Connection: "acme", ID: "b", State: deprovision.BatchSending, SubmittedAt: now,
		Rows: []deprovision.Row{{PsUserID: "u1", Email: "a@x", Requests: []string{"k"}}}}
	e := b.load(contents{requests: []deprovision.Request{request}, batches: []deprovision.Batch{batch}}, now)
	reads, on := 0, true
	for range 100_000 {
		if len(b.open) == 0 {
			break
		}
		if e.call == nil {
			now = e.wake
			e = b.step(now)
			continue
		}
		read, ok := e.call.(callRead)
		if !ok {
			t.Fatalf("%T: a file that may be in work is not sent again", e.call)
		}
		reads++
		e = b.step(now, readBack{batchID: read.batch.ID, readAt: now, users: map[string]pluralsight.User{"u1": {PsUserID: "u1", OnAccount: &on}}})
		if reads == 1 { // Processing is no lost answer: patience does not end it
			b.batches["b"].Answer = &deprovision.Answer{At: now, HTTP: 200, Status: string(pluralsight.Processing)}
		}
	}
	took := now.Sub(batch.SubmittedAt)
	most := int(r.VerifyWithin/r.VerifyEvery) + 20
	if len(b.open) != 0 || took != r.VerifyWithin || reads > most {
		t.Errorf("open %d after %s and %d read-backs; want none after %s and at most %d", len(b.open), took, reads, r.VerifyWithin, most)
	}
}

// slowPlan answers the armed call when it is told to.
type slowPlan struct {
	Pluralsight
	done chan struct{}
}

func (p slowPlan) Lookup(ctx context.Context, _ []string) ([]pluralsight.User, error) {
	select {
	case <-p.done:
		return nil, errors.New("later")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A stop waits for the answer to the call that is out, and no longer than drainTimeout.
func TestDrainWaitsForTheCallAndNotForEver(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"answered": true, "not answered": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := slowPlan{done: make(chan struct{})}
				tenure := newTenure(&lane{metrics: newMetrics(nil), vendor: vendor{plan: p, now: time.Now}}, 1)
				tenure.store = forgetful{}
				tenure.book.calling = true
				ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
				defer stop()
				go func() { tenure.results <- tenure.vendor.do(ctx, callRead{}) }()
				if answers {
					time.AfterFunc(drainTimeout/2, func() { close(p.done) })
				}
				began := time.Now()
				if err := tenure.drain(t.Context(), context.Canceled); err != nil {
					t.Fatal(err)
				}
				want := drainTimeout
				if answers {
					want /= 2
				}
				if took := time.Since(began); took != want || tenure.book.calling == answers {
					t.Errorf("waited %s, want %s; a call is out: %v", took, want, tenure.book.calling)
				}
			})
		})
	}
}

// forgetful takes everything.
type forgetful struct{}

func (forgetful) commit(context.Context, []save) (map[string]uint64, error) { return nil, nil }
func (forgetful) last(context.Context, string, any, place) (uint64, error)  { return 0, nil }
