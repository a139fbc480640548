package seatwire

import (
	"fmt"
	"os"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/seatwire/seatwire/pkg/roster"
)

// progress shows how far a sweep has come: a bar on a terminal, a line now and then elsewhere. It writes to standard
// error, so that standard output is the outcome alone.
type progress struct {
	c     *invocation
	name  string
	group *mpb.Progress
	bar   *mpb.Bar
	// tenth is the last tenth that a line was printed for.
	tenth int
}

func newProgress(c *invocation, name string) *progress {
	p := &progress{c: c, name: name, tenth: -1}
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
	if !s.Running || s.Checkpoint.Stage != roster.Users || s.Checkpoint.Total == 0 {
		return
	}
	if p.group != nil {
		p.draw(s)
		return
	}
	if tenth := 10 * s.Checkpoint.Nodes / s.Checkpoint.Total; tenth > p.tenth {
		p.tenth = tenth
		fmt.Fprintf(p.c.env.Stderr, "%s: %d of %d people read\n", p.name, s.Checkpoint.Nodes, s.Checkpoint.Total)
	}
}

func (p *progress) draw(s roster.Sweep) {
	if p.bar == nil {
		p.bar = p.group.AddBar(int64(s.Checkpoint.Total), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(p.name+" ")), mpb.AppendDecorators(decor.CountersNoUnit("%d of %d people")))
	}
	p.bar.SetCurrent(int64(s.Checkpoint.Nodes))
}

func (p *progress) done() {
	if p.bar != nil {
		p.bar.Abort(true)
	}
	if p.group != nil {
		p.group.Wait()
	}
}
