package seatwire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

func TestMain_usageAndConfigurationExitWith2(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	for _, args := range [][]string{
		{"nonsense"}, {"sync"}, {"sync", "acme", "extra"}, {"status", "extra"}, {"users"}, {"publications", "release", "acme"},
		{"status", "-o", "xml"}, {"status", "--unknown"}, {"pause"},
	} {
		if code, _, errs := w.run(args...); code != 2 || strings.Count(strings.TrimSpace(errs), "\n") != 0 {
			t.Errorf("seatwire %v: exit %d, want 2 and one line", args, code)
		}
	}
}

func TestMain_missingTokenIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10, replaceText("token: {value: "+testKey+"}", "token: {file: /nowhere/at/all}"))
	code, _, errs := w.run("check")
	if code != 2 || !strings.Contains(errs, "API token is missing") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestCommands_beforeAnythingRan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	if code, _, errs := w.run("status"); code != 1 || errs == "" {
		t.Errorf("status without a broker: exit %d", code)
	}
	if code, out, _ := w.run("check"); code != 0 || !strings.Contains(out, "embedded") {
		t.Errorf("check: exit %d", code)
	}
}

func TestCheck_saysWhichVendorRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 250)
	var rows []checkRow
	code, out, _ := w.run("check", "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || code != 0 || len(rows) != 3 {
		t.Fatalf("exit %d, %d rows: %v", code, len(rows), err)
	}
	if err := w.pluralsight.SetKey(testPlan, "another-key"); err != nil {
		t.Fatal(err)
	}
	code, out, _ = w.run("check")
	if code != 1 || !strings.Contains(out, "unauthorized") || strings.Contains(out, testKey) {
		t.Errorf("exit %d", code)
	}
	if counts := w.productiv.AppCounts(testApp); counts.Posts+counts.Deletes > 0 {
		t.Error("check wrote something")
	}
}

func TestUsers_showsTheRosterWithAdmins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 150)
	admin, err := w.pluralsight.AddPerson(testPlan, pluralsightsim.Person{
		Email: "Boss@Acme.example", FirstName: "The", LastName: "Boss", Admin: true, NeverLicensed: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.up()
	if code, _, errs := w.run("users", "acme"); code != 1 || !strings.Contains(errs, "never read") {
		t.Errorf("users before a sweep: exit %d", code)
	}
	w.wantOutcome(w.sync(), "published", "")
	var rows []userRow
	_, out, _ := w.run("users", "acme", "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatal(err)
	}
	states := map[string]int{}
	for _, r := range rows {
		states[r.State]++
	}
	if states["active"] != len(w.licensed()) || states["none"] < 1 || len(rows) < 151 {
		t.Errorf("%d rows, states %v, %d licensed", len(rows), states, len(w.licensed()))
	}
	_, out, _ = w.run("users", "acme", "--email", "BOSS@acme.EXAMPLE", "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	if r := rows[0]; r.PsUserID != admin.PsUserID || !r.Admin || r.State != "none" || r.Email != "boss@acme.example" {
		t.Errorf("admin row %+v", r)
	}
}

func TestStatus_showsEachConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 150)
	w.up()
	w.wantOutcome(w.sync(), "published", "")
	var rows []statusRow
	_, out, _ := w.run("status", "-o", "json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%d rows: %v", len(rows), err)
	}
	r := rows[0]
	if r.Connection != "acme" || r.LastSweep == nil || r.LastSweep.Users != 150 || r.LastPublication == nil ||
		r.LastPublication.State != "published" || r.Plan.Licenses == 0 || r.Paused || len(r.Holds) != 0 {
		t.Errorf("status %+v", r)
	}
}

func TestUp_refusesAStoreInUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	w.up()
	code, _, errs := w.run("up")
	if code != 1 || !strings.Contains(errs, "in use") {
		t.Errorf("a second server on one store: exit %d", code)
	}
}

func TestDemo_tellsItsStoryToTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 10)
	if code, out, _ := w.run("demo", "--people", "1500"); code != 0 || !strings.Contains(out, "The end") {
		t.Errorf("exit %d", code)
	}
}
