package seatwire

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/config"
)

// deadLetters lists them as an operator would, until there are n.
func (w *world) deadLetters(n int) (rows []deadLetterRow) {
	w.t.Helper()
	w.eventually(fmt.Sprint(n, " dead letters"), func() bool { rows = w.letterRows(); return len(rows) == n })
	return rows
}

func (w *world) letterRows() (rows []deadLetterRow) {
	w.t.Helper()
	_, out, _ := w.run("deadletters", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func (w *world) publish(subject, id string, header nats.Header, body string) {
	w.t.Helper()
	cfg, err := config.Load(w.configFile)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := open(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.close()
	if _, err := s.publisher.PublishMsg(context.Background(), subject, id, header, []byte(body)); err != nil {
		w.t.Fatal(err)
	}
}

func TestDeadLetters_listShowReplayDiscard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 50)
	w.up()
	w.publish("seatwire.v1.sync.requested.acme", "1", nil, "this is no event")
	w.publish("seatwire.v1.sync.requested.elsewhere", "2", nil, "{}")
	w.publish("seatwire.v1.deprovision.requested.acme.hr", "3", nats.Header{"ce-id": {"x"}}, "{}")
	rows := w.deadLetters(3)
	var subjects []string
	for _, r := range rows {
		subjects = append(subjects, r.Service+" "+r.Connection+" "+r.Reason)
	}
	slices.Sort(subjects)
	want := []string{"deprovisioner acme undecodable", "fetcher acme undecodable", "fetcher elsewhere rejected"}
	if !slices.Equal(subjects, want) {
		t.Errorf("dead letters %v, want %v", subjects, want)
	}
	for _, args := range [][]string{{"show"}, {"replay"}, {"replay", "--all", "--sequence", "1"}, {"discard"}} {
		if code, _, _ := w.run(append([]string{"deadletters"}, args...)...); code != 2 {
			t.Errorf("deadletters %v: exit %d, want 2", args, code)
		}
	}
	if code, _, _ := w.run("deadletters", "show", "--sequence", "999"); code != 1 {
		t.Error("an unknown dead letter was shown")
	}
	first := string('0' + byte(rows[0].Sequence))
	if code, out, _ := w.run("deadletters", "show", "--sequence", first); code != 0 || !strings.Contains(out, rows[0].Reason) {
		t.Errorf("show: exit %d", code)
	}
	// A replay passes every check again: the same three come back under new sequences, three times and not more.
	for range maxReplays {
		w.run("deadletters", "replay", "--all")
		w.deadLetters(3)
	}
	if code, _, _ := w.run("deadletters", "replay", "--all"); code != 1 {
		t.Errorf("a fourth replay: exit %d", code)
	}
	if code, _, _ := w.run("deadletters", "discard", "--all"); code != 0 {
		t.Error("discard failed")
	}
	w.deadLetters(0)
}
