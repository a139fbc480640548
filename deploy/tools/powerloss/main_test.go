package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// mounted is a disk, and how its power fails.
func mounted(t *testing.T) (dir string, fail func(seed int) string) {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil || os.Getuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	} else {
		_ = f.Close()
	}
	dir = t.TempDir()
	in, commands := io.Pipe()
	out, answers := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(dir, t.TempDir(), in, answers) }()
	said := bufio.NewScanner(out)
	if !said.Scan() || said.Text() != "mounted" {
		t.Fatalf("it said %q: %v", said.Text(), <-done)
	}
	t.Cleanup(func() {
		_ = commands.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dir, func(seed int) string {
		_, _ = fmt.Fprintln(commands, seed)
		said.Scan()
		return said.Text()
	}
}

// all is a seed that loses everything, some one that leaves a beginning.
const all, some = 1, 2

// probe is a file on such a disk.
type probe struct {
	t    *testing.T
	name string
}

func newProbe(t *testing.T) (p probe, fail func(seed int) string) {
	t.Helper()
	dir, fail := mounted(t)
	return probe{t, filepath.Join(dir, "file")}, fail
}

func (p probe) open(flags int) *os.File {
	p.t.Helper()
	f, err := os.OpenFile(p.name, flags|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = f.Close() })
	return f
}

// synced is one that holds "one two ", and will.
func (p probe) synced() *os.File {
	p.t.Helper()
	f := p.open(0)
	p.must(f.WriteString("one two "))
	p.must(nil, f.Sync())
	return f
}

func (p probe) must(_ any, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p probe) want(content string) {
	p.t.Helper()
	if got, err := os.ReadFile(p.name); err != nil || string(got) != content {
		p.t.Fatalf("%q (%v), want %q", got, err, content)
	}
}

func TestPowerFails_losesWhatIsNotSynced(t *testing.T) {
	p, fail := newProbe(t)
	f := p.synced()
	p.must(f.WriteString("three "))
	p.must(f.WriteAt([]byte("ONE"), 0))
	p.want("ONE two three ")
	if said := fail(all); said != "lost 9 bytes of 1 files" {
		t.Error(said)
	}
	p.want("one two ")

	p.must(p.open(os.O_SYNC).WriteString("ONE"))
	fail(all)
	p.want("ONE two ")
}

func TestPowerFails_bringsBackWhatWasCut(t *testing.T) {
	p, fail := newProbe(t)
	p.must(nil, p.synced().Truncate(3))
	p.must(nil, os.Rename(p.name, p.name+"2"))
	p.must(nil, os.Rename(p.name+"2", p.name))
	fail(all)
	p.want("one two ")

	p.must(nil, os.WriteFile(p.name, []byte("other"), 0o600))
	p.want("other")
	fail(all)
	p.want("one two ")
}

func TestPowerFails_leavesABeginning(t *testing.T) {
	p, fail := newProbe(t)
	f := p.synced()
	for range 100 {
		p.must(f.WriteString("x"))
	}
	fail(some)
	if got, _ := os.ReadFile(p.name); len(got) <= 8 || len(got) >= 108 {
		t.Errorf("%q: all or nothing is left", got)
	}
}

func TestPowerFails_keepsNames(t *testing.T) {
	p, fail := newProbe(t)
	f := p.synced()
	p.must(nil, os.Remove(p.name))
	p.must(f.WriteString("to nobody"))
	p.must(p.open(0).WriteString("new"))
	fail(all)
	p.want("")
}
