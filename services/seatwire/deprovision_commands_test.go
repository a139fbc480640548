package seatwire

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
)

func TestDeprovisionCommands_usageExitsWith2(t *testing.T) {
	t.Parallel()
	w := newExits(t, 10, nil)
	file := filepath.Join(t.TempDir(), "leavers.csv")
	if err := os.WriteFile(file, []byte("email\na@acme.example.com\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"deprovision", "deprovision nonsense", "deprovision submit", "deprovision submit acme",
		"deprovision submit acme --email a@b.example --reason left", "deprovision submit acme --email a@b.example --source hr",
		"deprovision submit acme --email a@b.example --source HR --reason left", "deprovision submit acme --source hr --reason left",
		"deprovision submit ACME --email a@b.example --source hr --reason left",
		"deprovision submit acme --email a@b.example --source hr --reason left --csv " + file,
		"deprovision submit acme other --email a@b.example --source hr --reason left",
		"deprovision list extra", "deprovision show", "deprovision show a b", "deprovision approve a", "deprovision decline --by grace",
		"deprovision approve --by grace a b", "explain", "explain acme", "explain a@b.example c@d.example",
	} {
		if code, out, errs := w.quiet(strings.Fields(line)...); code != 2 || out != "" || strings.Count(strings.TrimSpace(errs), "\n") != 0 {
			t.Errorf("seatwire %s: exit %d, want 2 and one line: %s%s", line, code, out, errs)
		}
	}
}

// members checks that each element of a JSON array has exactly these members, further ones that are allowed aside.
func (w *exits) members(out string, want []string, allowed ...string) []map[string]any {
	w.t.Helper()
	var rows []map[string]any
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		w.t.Fatalf("%v in %s", err, out)
	}
	for _, r := range rows {
		got := slices.DeleteFunc(sortedKeys(r), func(name string) bool { return slices.Contains(allowed, name) })
		if slices.Sort(want); !slices.Equal(got, want) {
			w.t.Errorf("members %v, want %v", got, want)
		}
	}
	return rows
}

// The life of a few requests, as an operator drives and sees it.
func TestDeprovisionCommands_fromSubmitToExplain(t *testing.T) {
	t.Parallel()
	w := newExits(t, 60, settings{"apply": "review", "batchMaxUsers": "4", "batchMaxAge": "1h"}).begin()
	w.wantOutcome(w.sync(), "published", "")
	people := w.staff(4)
	file := filepath.Join(t.TempDir(), "leavers.csv")
	text := fmt.Sprintf("Name,E-mail,EMAIL\nx,y,%s\n\"a, b\",,%s\n", people[2].Email, people[3].Email)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	_, out, _ := w.run("deprovision", "list", "-o", "json")
	if strings.TrimSpace(out) != "[]" {
		t.Errorf("no requests, and list printed %s", out)
	}
	code, out, _ := w.run("deprovision", "submit", "acme", "--email", people[0].Email, "--email", people[1].Email, "--source", "hr", "--reason", "left", "-o", "json")
	if rows := w.members(out, []string{"connection", "requestSource", "requestId", "email"}); code != 0 || len(rows) != 2 || rows[0]["requestId"] == rows[1]["requestId"] {
		t.Errorf("submit: exit %d, %d rows", code, len(rows))
	}
	if code, _, _ := w.run("deprovision", "submit", "--source", "hr", "-reason", "left", "acme", "--csv", file); code != 0 {
		t.Errorf("submit of a file: exit %d", code)
	}
	for _, args := range [][]string{{"nosuch", "--email", "a@b.example"}, {"acme", "--csv", file + ".missing"}, {"acme", "--csv", w.configFile}} {
		if code, _, errs := w.run(append(append([]string{"deprovision", "submit"}, args...), "--source", "hr", "--reason", "left")...); code != 1 || errs == "" {
			t.Errorf("submit %v: exit %d, want 1", args, code)
		}
	}

	batch := w.batchesIn("held", 1)[0]
	_, out, _ = w.run("deprovision", "list", "--batches", "-o", "json")
	if rows := w.members(out, []string{"connection", "batchId", "state", "rows", "sha256", "at"}, "reason"); rows[0]["rows"] != 4.0 {
		t.Errorf("batch %v", rows[0])
	}
	_, out, _ = w.run("deprovision", "list", "-o", "json")
	for _, r := range w.members(out, []string{"connection", "source", "requestSource", "requestId", "email", "state", "batchId", "at"}, "outcome", "reason") {
		if r["state"] != "held" || r["batchId"] != batch.BatchID || r["source"] != "hr" {
			t.Errorf("request %v", r)
		}
	}
	w.checkShow(batch, 4)
	if code, _, _ := w.run("deprovision", "show", "nosuchbatch"); code != 1 {
		t.Errorf("show of an unknown batch: exit %d", code)
	}
	code, out, _ = w.run("deprovision", "approve", batch.BatchID, "--by", "grace", "-o", "json")
	var decision map[string]any
	if w.decode([]byte(out), &decision); code != 0 || decision["batchId"] != batch.BatchID {
		t.Errorf("approve: exit %d: %v", code, decision)
	}
	w.outcomes(4)
	// The next sync takes them off the other vendor's list; this is what it was all for.
	w.wantOutcome(w.sync(), "published", "")
	w.wantSame()
	w.checkExplain(people[0].Email)
	if code, out, _ := w.run("explain", "nobody@acme.example.com", "-o", "json"); code != 0 || strings.TrimSpace(out) != "[]" {
		t.Errorf("explain of nobody: exit %d: %s", code, out)
	}
	for _, args := range [][]string{{"deprovision", "list"}, {"deprovision", "list", "--batches"}, {"deprovision", "show", batch.BatchID}, {"explain", people[0].Email}} {
		if code, out, _ := w.run(args...); code != 0 || strings.Count(out, "\n") < 2 {
			t.Errorf("%v for people: exit %d", args, code)
		}
	}
}

func (w *exits) checkShow(batch batchRow, rows int) {
	w.t.Helper()
	code, out, _ := w.run("deprovision", "show", batch.BatchID, "-o", "json")
	shown := w.members("["+out+"]", []string{"connection", "batchId", "state", "sha256", "rows"}, "reason")[0]
	inner, err := json.Marshal(shown["rows"])
	if err != nil || code != 0 || shown["sha256"] != batch.SHA256 || shown["state"] != "held" {
		w.t.Errorf("show: exit %d: %v", code, shown)
	}
	list := w.members(string(inner), []string{"id", "email", "firstName", "lastName", "requests"}, "outcome")
	if len(list) != rows {
		w.t.Errorf("%d rows, want %d", len(list), rows)
	}
	for _, r := range list {
		if n := len(r["requests"].([]any)); n != 1 {
			w.t.Errorf("%d requests in a row", n)
		}
	}
}

// checkExplain wants the whole line, from the event to both vendors, in order.
func (w *exits) checkExplain(email string) {
	w.t.Helper()
	code, out, _ := w.run("explain", strings.ToUpper(email), "-o", "json")
	w.members(out, []string{"at", "connection", "kind", "summary", "reference"})
	var lines []deprovision.Line
	w.decode([]byte(out), &lines)
	if code != 0 || !slices.IsSortedFunc(lines, func(a, b deprovision.Line) int { return a.At.Compare(b.At) }) {
		w.t.Errorf("explain: exit %d, or out of order", code)
	}
	at := time.Time{}
	for _, step := range []struct{ kind, summary string }{
		{"publication", "listed"}, {"event", "requested by hr: left"}, {"request", "accepted"}, {"batch", "sealed"}, {"batch", "dry-run"}, {"batch", "held"},
		{"batch", "approved by grace"}, {"request", "submitted"}, {"batch", "answered"}, {"request", "settled removed"}, {"sweep", "removed"}, {"publication", "deleted"},
	} {
		i := slices.IndexFunc(lines, func(l deprovision.Line) bool {
			return l.Kind == step.kind && strings.Contains(l.Summary, step.summary) && !l.At.Before(at)
		})
		if i < 0 {
			w.t.Errorf("explain tells of no %s %q after %s", step.kind, step.summary, at)
			continue
		}
		at = lines[i].At
	}
}
