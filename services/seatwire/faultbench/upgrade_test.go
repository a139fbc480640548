package faultbench

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/streams"
)

// previousVersion names the commit that deployments are upgraded from. A release moves it.
const previousVersion = "../../../deploy/ci/previous-version"

// leavingPerStep is how many people are asked back before each replacement of a replica.
const leavingPerStep = 12

// TestUpgrade_oldAndNewSideBySide replaces every replica of every service with this tree's programs, one at a time, as a
// deployment does, and then all of them with the previous version's again: an upgrade and a rollback. Work comes before
// each replacement and is in hand during it; a connection's work changes between versions again and again.
func TestUpgrade_oldAndNewSideBySide(t *testing.T) {
	if *chaos == 0 {
		t.Skip("builds another version of the programs: part of make chaos")
	}
	t.Parallel()
	old := previous(t)
	rng := draw(t, 300)
	b := Start(t, Options{
		People: 400, Connections: []string{"acme", "globex"}, Replicas: 2, BatchSize: 20, Latency: 5 * time.Millisecond, Programs: old,
		Deprovision: layoffRules(5, patient),
	})
	l := newLayoffs(b, rng, "acme")
	l.began = time.Now()
	b.wantDone(b.Sync("acme"))
	step := 0
	for _, to := range []string{programs, old} {
		for replica := range 2 {
			for _, service := range b.options.Services {
				l.load(step)
				b.replace(service, replica, to)
				step++
			}
		}
	}
	l.Await(layoffLimit, "every request is settled", l.over)
	for _, connection := range b.options.Connections {
		b.wantDone(b.Sync(connection))
	}
	b.Judge()
	l.judge()
	b.wantMixed(old)
	t.Logf("%d replacements; %d people asked back, %d sync requests", step, len(l.wanted), len(b.requests))
}

// load lets people of acme be asked back and others of globex leave by themselves, and asks for syncs of both; it waits
// for nothing.
func (l *layoffs) load(step int) {
	l.t.Helper()
	for i, p := range l.hire(leavingPerStep) {
		source := layoffSources[i%len(layoffSources)]
		l.ask(leaver{source, fmt.Sprintf("%d-%d", step, i), p})
	}
	l.Change(l.rng, "globex", 5)
	l.Request("acme", "hr")
	l.Request("globex", "hr")
}

// replace ends a replica and starts the program from another directory in its place. It returns when that is ready.
func (b *Bench) replace(service string, replica int, from string) {
	b.t.Helper()
	p := b.replicas[service][replica]
	if code := p.terminate(drainLimit); code != 0 {
		b.t.Errorf("%s: SIGTERM with work in hand exits %d", service, code)
	}
	p.from = from
	p.start(b.t)
	b.Await(startLimit, service+" is ready", func() bool { return !p.readyAt().IsZero() })
}

// wantMixed checks that the two versions' programs are not the same, and that the processes of both did work. Go records
// no commit in what is built in a workspace, so the programs cannot say which version they are.
func (b *Bench) wantMixed(old string) {
	b.t.Helper()
	for _, service := range b.options.Services {
		if b.sum(filepath.Join(old, service)) == b.sum(filepath.Join(programs, service)) {
			b.t.Errorf("both versions of %s are the same program: nothing was shown", service)
		}
		calls := map[int]int{}
		for start := 1; start <= 3; start++ {
			calls[start] = b.count(time.Time{}, func(a act) bool { return a.by.service == service && a.by.start == start })
			if service != streams.Normalizer && calls[start] == 0 { // whose work is no call
				b.t.Errorf("%s: the processes that were started as number %d did nothing", service, start)
			}
		}
		b.t.Logf("%s: %d calls by the old version, %d by the new one, %d by the old one again", service, calls[1], calls[2], calls[3])
	}
}

func (b *Bench) sum(file string) [sha256.Size]byte {
	b.t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	return sha256.Sum256(body)
}

// previous builds the programs of the previous version, and returns their directory. A tree without that history cannot
// show an upgrade.
func previous(t *testing.T) string {
	t.Helper()
	ref, err := os.ReadFile(previousVersion)
	if err != nil {
		t.Fatal(err)
	}
	revision := ""
	root, err := git(".", "rev-parse", "--show-toplevel")
	if err == nil {
		revision, err = git(root, "rev-parse", "--verify", "--quiet", strings.TrimSpace(string(ref))+"^{commit}")
	}
	if err != nil {
		t.Skipf("no upgrade is shown: this tree has no history that holds %s", strings.TrimSpace(string(ref)))
	}
	tree := filepath.Join(t.TempDir(), "previous")
	// A clone and not a worktree, which would be noted in the repository.
	if _, err := git(root, "clone", "--quiet", "--shared", "--no-checkout", root, tree); err != nil {
		t.Fatal(err)
	}
	if _, err := git(tree, "checkout", "--quiet", "--detach", revision); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := build(dir, tree); err != nil {
		t.Fatal(err)
	}
	return dir
}

func git(dir string, args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
	return strings.TrimSpace(string(out)), err
}
