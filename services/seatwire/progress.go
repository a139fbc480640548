package seatwire

import (
	"fmt"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/seatwire/seatwire/pkg/roster"
)

// progress shows how far something has come: a bar on a terminal, a line now and then elsewhere. It writes to standard
// error, so that standard output is the outcome alone.
type progress struct {
	c *invocation
	// name stands before the numbers, and what they count behind them.
	name, counts string
	group        *mpb.Progress
	bar          *mpb.Bar
	// tenth is the last tenth that a line was printed for.
	tenth int
}

func newProgress(c *invocation, name, counts string) *progress {
	p := &progress{c: c, name: name, counts: counts, tenth: -1}
	if file, ok := c.env.Stderr.(*os.File); ok && isTerminal(file) {
		p.group = mpb.New(mpb.WithOutput(file), mpb.WithWidth(48))
	}
	return p
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show takes the sweep as its checkpoint last said.
func (p *progress) show(s roster.Sweep) {
	if s.Running && s.Checkpoint.Stage == roster.Users && s.Checkpoint.Total > 0 {
		p.at(s.Checkpoint.Nodes, s.Checkpoint.Total)
	}
}

func (p *progress) at(n, of int) {
	if p.group != nil {
		p.draw(n, of)
		return
	}
	if tenth := 10 * n / of; tenth > p.tenth {
		p.tenth = tenth
		fmt.Fprintf(p.c.env.Stderr, "%s: %d of %d %s\n", p.name, n, of, p.counts)
	}
}

func (p *progress) draw(n, of int) {
	if p.bar == nil {
		p.bar = p.group.AddBar(int64(of), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(p.name+" ")), mpb.AppendDecorators(decor.CountersNoUnit("%d of %d "+p.counts)))
	}
	p.bar.SetCurrent(int64(n))
}

func (p *progress) done() {
	if p.bar != nil {
		p.bar.Abort(true)
	}
	if p.group != nil {
		p.group.Wait()
	}
}
