package faultbench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/failpoint"
	"github.com/seatwire/seatwire/pkg/streams"
)

// replayStrikes are the points of a replay of six dead letters.
var replayStrikes = []strike{
	{failpoint.R1, "seatwire", 3}, {failpoint.R2, "seatwire", 3}, {failpoint.R3, "seatwire", 3}, {failpoint.R4, "seatwire", 3},
}

// TestKillPoints_replay has good events die of a planted panic, and the command that replays their dead letters die at
// each of its points: run again, it finishes, and everybody is settled once.
func TestKillPoints_replay(t *testing.T) {
	t.Parallel()
	l := startLayoffs(t, draw(t, 350), 1, 100, 2)
	for round := range passes(5) {
		for i, s := range replayStrikes {
			l.replayThrough(fmt.Sprintf("%d-%d", round, i), s)
		}
	}
	l.judge()
}

// replayThrough makes six dead letters and replays them, with a death in between.
func (l *layoffs) replayThrough(name string, s strike) {
	l.t.Helper()
	const letters = 6
	p := l.replicas[streams.Deprovisioner][0]
	struck := p.strikes(l.t, failpoint.D1)
	p.arm(l.t, failpoint.D1, failpoint.Order{Action: failpoint.Panic, At: 1, Always: true})
	l.began = time.Now()
	for i, person := range l.hire(letters) {
		l.ask(leaver{"hr", fmt.Sprintf("r-%s-%d", name, i), person})
	}
	l.Await(startLimit, "every event is a dead letter", func() bool { return len(l.deadLetters()) == letters })
	if err := failpoint.Disarm(p.orders, failpoint.D1); err != nil {
		l.t.Fatal(err)
	}
	found.fault(rowPanic, p.strikes(l.t, failpoint.D1)-struck)
	for _, letter := range l.deadLetters() {
		found.tests(lettersWhole, 1)
		if reason := letter.Header.Get("Seatwire-Dead-Reason"); reason != "panic" {
			found.violation(l.t, lettersWhole, "an event that panics is set aside as %s", reason)
		}
	}

	orders := l.t.TempDir()
	if err := failpoint.Arm(orders, s.point, failpoint.Order{Action: failpoint.Kill, At: s.at}); err != nil {
		l.t.Fatal(err)
	}
	if _, code := l.operator(orders, "deadletters", "replay", "--all"); code != -1 {
		l.t.Fatalf("the replay ended with %d, and not at %s", code, s.point)
	}
	found.struck(s.point, 0)
	// The dead one may seem to be at work for a while.
	l.Await(syncLimit, "a replay after "+string(s.point)+" is done", func() bool {
		_, code := l.operator(orders, "deadletters", "replay", "--all")
		return code == 0
	})
	l.Await(layoffLimit, "every request is settled", l.over)
	found.tests(newDecision, letters)
	if n := len(l.deadLetters()); n != 0 {
		found.violation(l.t, newDecision, "after %s %d dead letters are left", s.point, n)
	}
}

// operator runs a command of the command line; the code of one that was killed is -1.
func (b *Bench) operator(orders string, args ...string) (out string, code int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), syncLimit)
	defer cancel()
	var text bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(programs, "seatwire"), append(args, "-config", b.configure(owner{"seatwire", 0, 0}))...)
	cmd.Env = append(os.Environ(), failpoint.Env+"="+orders)
	cmd.Stdout, cmd.Stderr = &text, &text
	_ = cmd.Run() // the code says it
	return text.String(), cmd.ProcessState.ExitCode()
}
