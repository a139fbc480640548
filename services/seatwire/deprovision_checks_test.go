package seatwire

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

func (w *exits) onAccount(id string) bool {
	w.t.Helper()
	p, err := w.pluralsight.Person(testPlan, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return p.IsOnAccount == pluralsightsim.Yes
}

// files are what /deprovision was sent, dry runs or those in earnest.
func (w *exits) files(dryRun bool) (found []pluralsightsim.Request) {
	for _, r := range w.pluralsight.Requests() {
		if r.Deprovision != nil && r.Deprovision.DryRun == dryRun {
			found = append(found, r)
		}
	}
	return found
}

// applied are the psUserIds that files took off the account, each as often as it was.
func (w *exits) applied() map[string]int {
	taken := map[string]int{}
	for _, f := range w.files(false) {
		for _, id := range f.Deprovision.Applied {
			taken[id]++
		}
	}
	return taken
}

// checkLooks fails when somebody was in two files in earnest without being read back in between, or when a file in
// earnest was not dry-run before, byte for byte and under the same flags.
func (w *exits) checkLooks() {
	w.t.Helper()
	unlooked, accepted := map[string]bool{}, map[string]bool{}
	for _, r := range w.pluralsight.Requests() {
		if r.GraphQL != nil {
			for _, address := range r.GraphQL.Emails {
				delete(unlooked, strings.ToLower(address))
			}
		}
		d := r.Deprovision
		if d == nil {
			continue
		}
		bytes := fmt.Sprint(r.BodySHA256, d.ExitOnError, d.RetainPrivileges)
		if d.DryRun {
			accepted[bytes] = accepted[bytes] || r.Status == 200
			continue
		}
		if !accepted[bytes] {
			w.t.Errorf("request %d applied what no dry run had accepted", r.Seq)
		}
		for _, row := range d.Rows {
			if address := strings.ToLower(row.Email); unlooked[address] {
				w.t.Errorf("request %d: somebody was sent twice without a look in between", r.Seq)
			} else {
				unlooked[address] = true
			}
		}
	}
}

// checkTruth fails unless those told to be removed are exactly those whom files took off the account, each once.
func (w *exits) checkTruth(settled map[string]events.DeprovisionSettled) {
	w.t.Helper()
	told := map[string]bool{}
	for _, s := range settled {
		if s.Outcome == "removed" {
			told[s.PsUserID] = true
		}
	}
	taken := w.applied()
	for id, times := range taken {
		if times != 1 || !told[id] {
			w.t.Errorf("%s was taken %d times, told: %v", id, times, told[id])
		}
	}
	if len(told) != len(taken) {
		w.t.Errorf("%d people are told to be removed, %d were", len(told), len(taken))
	}
}

// wantOutcomes compares "outcome reason" by "publisher id".
func (w *exits) wantOutcomes(settled map[string]events.DeprovisionSettled, want map[string]string) {
	w.t.Helper()
	for key, wanted := range want {
		if got := strings.TrimSpace(settled[key].Outcome + " " + settled[key].Reason); got != wanted {
			w.t.Errorf("%s: %q, want %q", key, got, wanted)
		}
	}
}

// list runs a command that prints a JSON document into rows.
func (w *exits) list(rows any, args ...string) {
	w.t.Helper()
	code, out, _ := w.quiet(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), rows); err != nil || code != 0 {
		w.t.Fatalf("seatwire %s: exit %d: %v", strings.Join(args, " "), code, err)
	}
}

// quiet is run for commands that are run again and again.
func (w *exits) quiet(args ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	var out, errs strings.Builder
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	code = Main(ctx, append(args, "-config", w.configFile), Env{Getenv: func(string) string { return "" }, Stdout: &out, Stderr: &errs})
	return code, out.String(), errs.String()
}

// batchesIn waits until n batches are in a state, as an operator would see it, and returns them.
func (w *exits) batchesIn(state string, n int) (found []batchRow) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d batches %s", n, state), func() bool {
		var rows []batchRow
		w.list(&rows, "deprovision", "list", "--batches")
		found = slices.DeleteFunc(rows, func(r batchRow) bool { return r.State != state })
		return len(found) >= n
	})
	if len(found) > n {
		w.t.Fatalf("%d batches are %s, want %d", len(found), state, n)
	}
	return found
}
