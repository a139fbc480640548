package seatwire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/process"
	"github.com/seatwire/seatwire/pkg/state"
)

// letters makes n dead letters of the fetcher, undecodable and so ever again.
func (w *world) letters(n int) []deadLetterRow {
	w.t.Helper()
	for i := range n {
		w.publish("seatwire.v1.sync.requested.acme", fmt.Sprint("letter", i), nil, "this is no event")
	}
	return w.deadLetters(n)
}

func (w *world) open() *session {
	w.t.Helper()
	cfg, err := config.Load(w.configFile)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := open(context.Background(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.close)
	return s
}

// counts runs a replay or discard and returns what it printed.
func (w *world) counts(args ...string) (code int, done cleared) {
	w.t.Helper()
	code, out, _ := w.run(append([]string{"deadletters", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &done); err != nil {
		w.t.Fatalf("%v printed no counts: %v", args, err)
	}
	return code, done
}

func TestDeadLetters_filters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.up()
	w.publish("seatwire.v1.sync.requested.acme", "1", nil, "this is no event")
	w.publish("seatwire.v1.sync.requested.elsewhere", "2", nil, "{}")
	w.publish("seatwire.v1.deprovision.requested.acme.hr", "3", nil, "this is no event")
	w.deadLetters(3)
	for args, want := range map[string]int{
		"":                                     3,
		"--service fetcher":                    2,
		"--connection acme":                    2,
		"--reason rejected":                    1,
		"--service fetcher --reason exhausted": 0,
		"--service fetcher --connection acme":  1,
		"--older-than 1h":                      0,
		"--newer-than 1h":                      3,
		"--older-than 1ns --newer-than 1h":     3,
	} {
		_, out, _ := w.run(append([]string{"deadletters", "list", "-o", "json"}, strings.Fields(args)...)...)
		var rows []deadLetterRow
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != want {
			t.Errorf("list %s: %d rows, want %d, %v", args, len(rows), want, err)
		}
	}
	if code, done := w.counts("discard", "--all", "--service", "fetcher", "--reason", "rejected"); code != 0 || done != (cleared{Selected: 1, Discarded: 1}) {
		t.Errorf("exit %d, %+v", code, done)
	}
	rows := w.deadLetters(2)
	two := []string{"discard", "--sequence", fmt.Sprint(rows[0].Sequence), "--sequence", fmt.Sprint(rows[1].Sequence)}
	if code, _, _ := w.run(append([]string{"deadletters"}, append(two, "--sequence", "999")...)...); code != 1 {
		t.Error("an unknown one among them was passed over")
	}
	if code, done := w.counts(two...); code != 0 || done.Discarded != 2 {
		t.Errorf("exit %d, %+v", code, done)
	}
}

func TestDeadLetters_usage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	for _, args := range []string{"", "bury", "show", "show --sequence 1 --sequence 2", "replay", "replay --all --sequence 1", "replay --sequence 0", "replay --all --rate 0", "list --older-than soon"} {
		if code, _, _ := w.run(append([]string{"deadletters"}, strings.Fields(args)...)...); code != process.ExitUsage {
			t.Errorf("deadletters %s: exit %d", args, code)
		}
	}
}

// begun is a replay at one a second of what there is, once it is under way.
type begun struct {
	ended          chan int
	interrupt      func()
	stdout, stderr bytes.Buffer
}

func (w *world) begin() *begun {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &begun{ended: make(chan int, 1), interrupt: cancel}
	args := []string{"deadletters", "discard", "--all", "--rate", "1", "-o", "json", "-config", w.configFile}
	go func() {
		b.ended <- Main(ctx, args, Env{Getenv: func(string) string { return "" }, Stdout: &b.stdout, Stderr: &b.stderr})
	}()
	w.t.Cleanup(cancel)
	s := w.open()
	w.eventually("the run is under way", func() bool {
		var r runState
		_, err := s.state.Get(context.Background(), runKey, &r)
		return err == nil && r.Owner != ""
	})
	return b
}

// stopped checks that the run ended between two dead letters with the right counts.
func (b *begun) stopped(w *world, n int) {
	w.t.Helper()
	if code := <-b.ended; code != 1 || !strings.Contains(b.stderr.String(), "stopped; ") {
		w.t.Errorf("exit %d, %s", code, b.stderr.String())
	}
	var done cleared
	if err := json.Unmarshal(b.stdout.Bytes(), &done); err != nil || !done.Stopped || done.Discarded >= n {
		w.t.Fatalf("%v, %+v", err, done)
	}
	w.deadLetters(n - done.Discarded)
}

func TestDeadLetters_oneRunAtATimeAndStoppable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.up()
	const n = 60
	w.letters(n)
	if code, _, _ := w.run("deadletters", "stop"); code != 1 {
		t.Error("nothing was under way, and it was stopped")
	}
	first := w.begin()
	if code, _, said := w.run("deadletters", "replay", "--all"); code != 1 || !strings.Contains(said, "a discard is under way") {
		t.Errorf("a second run: exit %d, %s", code, said)
	}
	if code, _, _ := w.run("deadletters", "stop"); code != 0 {
		t.Error("not stopped")
	}
	first.stopped(w, n)

	left := len(w.letterRows())
	second := w.begin()
	second.interrupt() // Ctrl-C
	second.stopped(w, left)
	if code, done := w.counts("discard", "--all"); code != 0 || done.Stopped {
		t.Errorf("a run after them: exit %d, %+v", code, done)
	}
}

// A run that was killed does not block the next one for ever.
func TestDeadLetters_takesThePlaceOfAKilledRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.up()
	w.letters(2)
	s := w.open()
	if _, err := s.state.Put(context.Background(), runKey, runState{Owner: "killed", Verb: verbReplay, At: time.Now()}, 0); err != nil {
		t.Fatal(err)
	}
	if code, done := w.counts("discard", "--all"); code != 0 || done.Discarded != 2 {
		t.Errorf("exit %d, %+v", code, done)
	}
}

// TestRun_takenOver: a run that was frozen past its time, and replaced, notices and ends.
func TestRun_takenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.up()
	s := w.open()
	ours, err := s.beginRun(context.Background(), verbReplay, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Modify(context.Background(), s.state, runKey, func(r *runState) error { r.Owner = "somebody else"; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := ours.beat(context.Background()); err == nil {
		t.Error("it goes on")
	}
	ours.end(context.Background())
	var there runState
	if _, err := s.state.Get(context.Background(), runKey, &there); err != nil || there.Owner != "somebody else" {
		t.Errorf("%+v, %v", there, err)
	}
}
