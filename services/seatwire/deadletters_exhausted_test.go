package seatwire

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// abandoned is a message for a stage that never gets to it.
type abandoned struct {
	stream, durable string
	msg             *nats.Msg
}

// abandon runs the broker without us, on durables that somebody limited to two deliveries, until it gave up on every
// message.
func (w *world) abandon(all ...abandoned) {
	w.t.Helper()
	cfg, err := config.Load(w.configFile)
	if err != nil {
		w.t.Fatal(err)
	}
	server, err := embedded.Start(embedded.Config{StoreDir: cfg.NATS.StoreDir, Listen: cfg.NATS.Listen, MaxStore: maxStore}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	defer server.Shutdown()
	nc, err := nats.Connect(server.ClientURL())
	if err != nil {
		w.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		w.t.Fatal(err)
	}
	topology := streams.For(cfg)
	for i := range topology.Consumers {
		topology.Consumers[i].Config.MaxDeliver = 2
	}
	if err := streams.Ensure(w.t.Context(), js, topology); err != nil {
		w.t.Fatal(err)
	}
	for _, a := range all {
		if _, err := js.PublishMsg(w.t.Context(), a.msg); err != nil {
			w.t.Fatalf("%s: %v", a.msg.Subject, err)
		}
	}
	for _, a := range all {
		exhaust(w.t, js, a.stream, a.durable)
	}
}

// exhaust takes what a durable has and gives it back until the broker gives up.
func exhaust(t *testing.T, js jetstream.JetStream, stream, durable string) {
	t.Helper()
	c, err := js.Consumer(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	natstest.Eventually(t, patience, durable+" gave up", func(ctx context.Context) bool {
		batch, err := c.FetchNoWait(100)
		if err != nil {
			return false
		}
		for m := range batch.Messages() {
			_ = m.Nak()
		}
		info, err := c.Info(ctx)
		return err == nil && info.NumPending == 0 && info.NumAckPending == 0 && info.NumRedelivered > 0
	})
}

func internal(subject string, body any) *nats.Msg {
	data, _ := json.Marshal(body)
	return &nats.Msg{Subject: subject, Data: data}
}

func syncRequest(id string) *nats.Msg {
	header, body := events.Event{ID: id, Source: "/test", Type: events.SyncRequestedType, Data: json.RawMessage(`{}`)}.Encode()
	return &nats.Msg{Subject: events.Subject(events.SyncRequestedSubject, testPlan), Header: header, Data: body}
}

// answers are the ids of sync requests with the outcomes that they were told.
func (w *world) answers(s *session) map[string][]string {
	w.t.Helper()
	told := map[string][]string{}
	for msg, err := range streams.Read(w.t.Context(), s.conn.JS(), streams.Outcomes, events.Subject(events.RosterPublishedSubject, "*"), 1) {
		if err != nil {
			w.t.Fatal(err)
		}
		var p events.RosterPublished
		e, err := events.Read(msg.Header, msg.Data)
		if err != nil || json.Unmarshal(e.Data, &p) != nil {
			w.t.Fatal(err)
		}
		told[p.RequestID] = append(told[p.RequestID], p.Outcome)
	}
	return told
}

// TestExhausted_atEveryStage: while everything of ours was down, the broker gave up on a message of each stage. Each is
// there as a dead letter when we are back, and a replay makes up for it.
func TestExhausted_atEveryStage(t *testing.T) {
	t.Parallel()
	w := newExits(t, 30, settings{"apply": "dry-run"})
	leaver := w.staff(1)[0]
	w.abandon(
		abandoned{streams.Sync, streams.FetcherIntake, syncRequest("at the intake")},
		abandoned{streams.Sweeps, streams.FetcherLane(testPlan), internal(events.Subject(streams.SweepAcceptedSubject, testPlan, "key"), roster.AcceptedSync{RequestID: "in the lane"})},
		abandoned{streams.Fetched, streams.NormalizerDurable, internal(events.Subject(streams.UsersFetchedSubject, testPlan, "old", "1-1"), roster.FetchedPage{})},
		abandoned{streams.Swept, streams.PublisherLane(testPlan), internal(events.Subject(streams.UsersSweptSubject, testPlan, "old"), roster.Manifest{Connection: testPlan, SweepID: "old", Failure: "loop"})},
		abandoned{streams.Deprovision, streams.DeprovisionerIntake, w.msg(request{source: "hr", id: "1", email: leaver.Email})},
	)
	w.begin()
	rows := w.deadLetters(5)
	var from []string
	for _, r := range rows {
		from = append(from, r.Service)
		if r.Reason != "exhausted" || r.Connection != testPlan || r.Attempts != 2 {
			t.Errorf("%+v", r)
		}
	}
	slices.Sort(from)
	if want := []string{"deprovisioner", "fetcher", "fetcher", "normalizer", "productiv-publisher"}; !slices.Equal(from, want) {
		t.Errorf("dead letters of %v", from)
	}
	if code, _, _ := w.run("deadletters", "replay", "--all"); code != 0 {
		t.Error("replay failed")
	}
	w.eventually("both requests are answered", func() bool {
		told := w.answers(w.session)
		return len(told["at the intake"]) == 1 && len(told["in the lane"]) == 1
	})
	w.wantOutcomes(w.outcomes(1), map[string]string{"hr 1": "dry-run"})
	w.deadLetters(0)
	w.wantSame()
	w.eventually("nothing is left of the old page", func() bool {
		n, err := streams.Count(t.Context(), w.session.conn.JS(), streams.Fetched, ">")
		return n == 0 && err == nil
	})
}

// TestReplay_afterTheWorldMovedOn: requests that were set aside come back when their people were hired again, became
// admins or were settled otherwise, and when they are too old. Nobody loses anything, each is told why, and a replay
// that a crash doubles is absorbed.
func TestReplay_afterTheWorldMovedOn(t *testing.T) {
	t.Parallel()
	w := newExits(t, 60, settings{"maxEventAge": "1h"})
	people := w.staff(4)
	rehired, promoted, aged, left := people[0], people[1], people[2], people[3]
	var all []abandoned
	for _, p := range people {
		r := request{source: "hr", id: p.PsUserID, email: p.Email}
		if p.PsUserID == aged.PsUserID {
			r.time = "2020-01-01T00:00:00Z"
		}
		all = append(all, abandoned{streams.Deprovision, streams.DeprovisionerIntake, w.msg(r)})
	}
	w.abandon(all...)
	w.begin()
	rows := w.deadLetters(len(people))
	for _, change := range []error{
		w.pluralsight.RemovePerson(testPlan, rehired.PsUserID), w.pluralsight.Readd(testPlan, rehired.PsUserID),
		w.pluralsight.EditPerson(testPlan, promoted.PsUserID, func(p *pluralsightsim.Person) { p.Admin = true }),
		w.pluralsight.RemovePerson(testPlan, left.PsUserID),
	} {
		if change != nil {
			t.Fatal(change)
		}
	}
	// A run that was killed between the replay and its mark: the first one is stored and still listed.
	stream, err := w.session.conn.JS().Stream(t.Context(), streams.DeadLetters)
	if err != nil {
		t.Fatal(err)
	}
	letter, err := stream.GetMsg(t.Context(), rows[0].Sequence)
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := w.session.replay(t.Context(), letter); !stored || err != nil {
		t.Fatal(stored, err)
	}
	w.outcomes(1)
	if code, done := w.counts("replay", "--all", "--rate", "50"); code != 0 || done.Replayed != len(people) {
		t.Errorf("exit %d, %+v", code, done)
	}
	w.wantOutcomes(w.outcomes(len(people)), map[string]string{
		"hr " + rehired.PsUserID: "rejected stale", "hr " + promoted.PsUserID: "rejected admin",
		"hr " + aged.PsUserID: "rejected stale", "hr " + left.PsUserID: "already-removed",
	})
	w.deadLetters(0)
	if n := len(w.files(false)); n != 0 {
		t.Errorf("%d files were sent", n)
	}
	w.wantLicensed(rehired, promoted, aged)
}

// A dead letter goes back where a stage reads, and nowhere else: its header could name any subject.
func TestReplay_refusesForeignSubjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.up()
	s := w.open()
	for _, subject := range []string{"$JS.API.STREAM.DELETE.SEATWIRE_LEDGER", "seatwire.v1.ledger.request.acme.1", "seatwire.v1.deadletter.fetcher.acme", ""} {
		w.publish("seatwire.v1.deadletter.fetcher.acme", "forged "+subject, nats.Header{"Seatwire-Dead-Subject": {subject}}, "")
		row := w.deadLetters(1)[0]
		letter, err := streams.At(s.conn.JS()).Newest(t.Context(), streams.DeadLetters, "seatwire.v1.deadletter.fetcher.acme")
		if err != nil {
			t.Fatal(err)
		}
		if stored, err := s.replay(t.Context(), letter); stored || err == nil || !strings.Contains(err.Error(), "discard it") {
			t.Errorf("%q: %v, %v", subject, stored, err)
		}
		if code, done := w.counts("discard", "--all"); code != 0 || done.Discarded != 1 {
			t.Errorf("%d not discarded: %+v", row.Sequence, done)
		}
	}
}

// Where a subject is a key, the original has to go before its replay is stored. A replica that lags does not have it,
// which would look as if it had been replayed before, so none is asked.
func TestReplay_asksTheLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.up()
	js := w.open().conn.JS()
	asked := make(chan *nats.Msg, 10)
	for _, one := range []string{"", ".>"} {
		if _, err := js.Conn().ChanSubscribe("$JS.API.DIRECT.GET."+streams.Swept+one, asked); err != nil {
			t.Fatal(err)
		}
	}
	subject := events.Subject(streams.UsersSweptSubject, "acme", "s")
	w.publish(subject, "1", nil, "this is no manifest")
	w.deadLetters(1)
	original, err := streams.At(js).Newest(t.Context(), streams.Swept, subject)
	if err != nil {
		t.Fatal(err)
	}
	if code, done := w.counts("replay", "--all"); code != 0 || done.Replayed != 1 {
		t.Errorf("exit %d, %+v", code, done)
	}
	replayed, err := streams.At(js).Newest(t.Context(), streams.Swept, subject)
	if err != nil || replayed.Sequence == original.Sequence {
		t.Errorf("the original is there still: %v", err)
	}
	if len(asked) > 0 {
		t.Errorf("%d requests to any replica", len(asked))
	}
}
