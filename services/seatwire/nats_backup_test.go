package seatwire

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/embedded"
	"github.com/seatwire/seatwire/pkg/streams"
	"github.com/seatwire/seatwire/services/seatwire/backup"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// A backup is taken while everything runs and nothing is paused: a batch is approved and cannot leave because Pluralsight
// is down, another one waits for a person, a publication is held, a request is deferred. Then the world goes on, all is
// lost, and the backup is restored. Nothing is taken from anybody until a person says so, and then each is settled once.
func TestRestore_actsOnNothingUntilResume(t *testing.T) {
	t.Parallel()
	w := newExits(t, 100, settings{"apply": "review", "batchMaxUsers": "2", "batchMaxAge": "1h", "verifyWithin": "10m"}).begin()
	w.wantOutcome(w.sync(), "published", "")
	people := w.staff(40)
	ask := func(id string, p pluralsightsim.Person) { w.ask(request{source: "hr", id: id, email: p.Email}) }
	ask("approved-1", people[0])
	ask("approved-2", people[1])
	approved := w.batchesIn("held", 1)[0]
	if down, err := w.pluralsight.Inject(pluralsightsim.Fault{ // nobody can be looked at, so nothing can be sent
		Match: pluralsightsim.Match{Filtered: new(true)}, Action: pluralsightsim.Answer, Status: 503,
	}); err != nil || len(down) != 1 {
		t.Fatal(err)
	}
	if code, _, _ := w.run("deprovision", "approve", approved.BatchID, "--by", "grace"); code != 0 {
		t.Fatal("not approved")
	}
	w.batchesIn("approved", 1)
	ask("open", people[2])
	w.awaitState("hr", "open", "accepted")
	for _, p := range people[20:35] {
		if err := w.pluralsight.RemovePerson(testPlan, p.PsUserID); err != nil {
			t.Fatal(err)
		}
	}
	held := w.sync()
	w.wantOutcome(held, "held", "")

	dir := filepath.Join(t.TempDir(), "backup")
	if code, out, _ := w.run("nats", "backup", dir, "-o", "json"); code != 0 || !bytes.Contains([]byte(out), []byte(streams.Ledger)) {
		t.Fatal("no backup")
	}

	listed := len(w.listed())
	// After the backup: what was approved is carried out, somebody new asks, the hold is released.
	w.pluralsight.ClearFaults()
	ask("late", people[3]) // seals a batch with the open one
	w.wantOutcomes(w.outcomes(2), map[string]string{"hr approved-1": "removed", "hr approved-2": "removed"})
	if code, _, _ := w.run("publications", "release", "acme", held.SweepID, "--by", "grace"); code != 0 {
		t.Error("not released")
	}
	w.eventually("the released publication is carried out", func() bool { return len(w.listed()) == listed-15 })
	w.session.close()
	w.stop()

	w.wipe()
	w.restore(dir)
	files, deletes := len(w.files(false)), w.deletes()
	restored := w.again().begin()
	restored.checkQuiet(files, deletes)

	// A publisher repeats what it asked for since the backup, as the runbook tells it to; what is known is absorbed.
	restored.ask(request{source: "hr", id: "late", email: people[3].Email}, request{source: "hr", id: "open", email: people[2].Email})
	restored.batchesIn("held", 1)
	restored.checkQuiet(files, deletes)
	if code, _, _ := restored.run("resume", "acme"); code != 0 {
		t.Fatal("not resumed")
	}
	settled := restored.outcomes(2)
	restored.wantOutcomes(settled, map[string]string{"hr approved-1": "already-removed", "hr approved-2": "already-removed"})
	waiting := restored.batchesIn("held", 1)[0]
	if code, _, _ := restored.run("deprovision", "approve", waiting.BatchID, "--by", "grace"); code != 0 {
		t.Fatal("not approved")
	}
	settled = restored.outcomes(4)
	restored.wantOutcomes(settled, map[string]string{"hr open": "removed", "hr late": "removed"})
	restored.wantOutcome(restored.sync(), "published", "")
	restored.wantSame()
	for id, times := range restored.applied() {
		if times != 1 {
			t.Errorf("%s was deprovisioned %d times", id, times)
		}
	}
	if n := len(restored.applied()); n != 4 {
		t.Errorf("%d people were deprovisioned, want 4", n)
	}
	restored.checkLooks()
}

// deletes are the calls that removed somebody at Productiv.
func (w *world) deletes() (n int) {
	for _, r := range w.productiv.Requests() {
		if r.Endpoint == productivsim.EndpointUsers && r.Method == "DELETE" {
			n++
		}
	}
	return n
}

// checkQuiet has the services do all that they do by themselves, and fails when a vendor lost anybody by it: an approved
// batch is looked at, and a sync runs through.
func (w *exits) checkQuiet(files, deletes int) {
	w.t.Helper()
	var rows []statusRow
	w.list(&rows, "status")
	if len(rows) != 1 || !rows[0].Paused {
		w.t.Fatalf("not paused: %+v", rows)
	}
	w.eventually("everything was delivered", func() bool {
		w.list(&rows, "status")
		for _, waiting := range rows[0].Lag {
			if waiting > 0 {
				return false
			}
		}
		return true
	})
	w.sync()
	w.batchesIn("approved", 1)
	if n := len(w.files(false)) - files; n != 0 {
		w.t.Errorf("%d files were sent in earnest before resume", n)
	}
	if n := w.deletes() - deletes; n != 0 {
		w.t.Errorf("%d times Productiv was told to delete before resume", n)
	}
}

func (w *world) brokerConfig() *config.Config {
	w.t.Helper()
	cfg, err := config.Load(w.configFile)
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// wipe is the loss of all that NATS had.
func (w *world) wipe() {
	w.t.Helper()
	if err := os.RemoveAll(w.brokerConfig().NATS.StoreDir); err != nil {
		w.t.Fatal(err)
	}
}

// restore runs an empty server, and nothing else, for as long as the restore takes.
func (w *world) restore(dir string) {
	w.t.Helper()
	n := w.brokerConfig().NATS
	server, err := embedded.Start(embedded.Config{StoreDir: n.StoreDir, Listen: n.Listen}, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	defer server.Shutdown()
	if code, _, errs := w.run("nats", "restore", dir); code != 0 {
		w.t.Fatal(errs)
	}
	if code, _, errs := w.run("nats", "restore", dir); code != 1 || !bytes.Contains([]byte(errs), []byte("never overwrites")) {
		w.t.Errorf("a second restore: exit %d: %s", code, errs)
	}
}

// again is the same world with nothing heard yet.
func (w *exits) again() *exits {
	return &exits{world: w.world, began: w.began, count: map[string]int{}, heard: make(chan struct{}, 1)}
}

// The manifest names no person: it may be looked at where the files may not.
func TestBackup_manifestHasNobodysAddress(t *testing.T) {
	t.Parallel()
	w := newExits(t, 20, nil).begin()
	w.ask(request{source: "hr", id: "1", email: "ada@acme.example.com"})
	w.outcomes(1)
	dir := filepath.Join(t.TempDir(), "backup")
	if code, _, _ := w.run("nats", "backup", dir); code != 0 {
		t.Fatal("no backup")
	}
	m, err := backup.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(m)
	if err != nil || bytes.Contains(text, []byte("@")) {
		t.Errorf("an address is in the manifest: %v", err)
	}
	if code, _, _ := w.run("nats", "backup", dir); code != 1 {
		t.Errorf("a backup over a backup: exit %d", code)
	}
}
