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

func TestPowerFails(t *testing.T) {
	dir, fail := mounted(t)
	name := filepath.Join(dir, "file")
	open := func(flags int) *os.File {
		f, err := os.OpenFile(name, flags|os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(content string) {
		t.Helper()
		if got, err := os.ReadFile(name); err != nil || string(got) != content {
			t.Fatalf("%q (%v), want %q", got, err, content)
		}
	}
	f := open(0)
	must(f.WriteString("one two "))
	must(nil, f.Sync())
	must(f.WriteString("three "))
	must(f.WriteAt([]byte("ONE"), 0))
	want("ONE two three ")
	if said := fail(all); said != "lost 9 bytes of 1 files" {
		t.Error(said)
	}
	want("one two ")

	must(nil, f.Truncate(3))
	must(nil, os.Rename(name, name+"2"))
	must(nil, os.Rename(name+"2", name))
	fail(all)
	want("one two ")

	must(nil, os.WriteFile(name, []byte("other"), 0o600))
	want("other")
	fail(all)
	want("one two ")

	must(open(os.O_SYNC).WriteString("ONE"))
	fail(all)
	want("ONE two ")

	_, _ = f.Seek(8, io.SeekStart)
	for range 100 {
		must(f.WriteString("x"))
	}
	fail(some)
	if got, _ := os.ReadFile(name); len(got) <= 8 || len(got) >= 108 {
		t.Errorf("%q: all or nothing is left", got)
	}

	must(nil, os.Remove(name))
	must(f.WriteString("to nobody"))
	must(open(0).WriteString("new"))
	fail(all)
	want("")
}
