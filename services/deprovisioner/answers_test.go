package deprovisioner

import (
	"fmt"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
)

// answered is how many people each of the cases is about.
const answered = 4

func half(p *testPlan, c testCall) { p.remove(c.rows[:len(c.rows)/2]) }

// answers are what Pluralsight may answer to a file that was sent in earnest.
var answers = map[string]struct {
	within time.Duration
	react  func(p *testPlan, c testCall, nth int) (int, string, bool)
	want   map[string]int
	files  int
}{
	"processing, applied later": {patience, func(p *testPlan, c testCall, _ int) (int, string, bool) {
		time.AfterFunc(300*time.Millisecond, func() { p.remove(c.rows) })
		return 200, "Processing", false
	}, map[string]int{"removed": answered}, 1},
	"processing, applied in part": {2 * time.Second, func(p *testPlan, c testCall, _ int) (int, string, bool) {
		half(p, c)
		return 200, "Processing", false
	}, map[string]int{"removed": answered / 2, "unverified": answered / 2}, 1},
	"processing, never": {time.Second, func(*testPlan, testCall, int) (int, string, bool) {
		return 200, "Processing", false
	}, map[string]int{"unverified": answered}, 1},
	"success that is none": {time.Second, func(*testPlan, testCall, int) (int, string, bool) {
		return 200, "Completed Successfully", false
	}, map[string]int{"unverified": answered}, 1},
	"dropped after applying": {patience, func(p *testPlan, c testCall, _ int) (int, string, bool) {
		p.remove(c.rows)
		return 0, "", true
	}, map[string]int{"removed": answered}, 1},
	"dropped before applying, once": {patience, func(p *testPlan, c testCall, nth int) (int, string, bool) {
		if nth == 0 {
			return 0, "", true
		}
		p.remove(c.rows)
		return 200, "Completed Successfully", false
	}, map[string]int{"removed": answered}, 2},
	"errors, some applied, the rest on the next attempt": {patience, func(p *testPlan, c testCall, nth int) (int, string, bool) {
		if nth == 0 {
			half(p, c)
			return 400, "Completed With Errors", false
		}
		p.remove(c.rows)
		return 200, "Completed Successfully", false
	}, map[string]int{"removed": answered}, 2},
	"errors for ever": {patience, func(p *testPlan, c testCall, _ int) (int, string, bool) {
		return 400, "Completed With Errors", false
	}, map[string]int{"failed": answered}, 3},
	"no": {patience, func(*testPlan, testCall, int) (int, string, bool) {
		return 403, "", false
	}, map[string]int{"failed": answered}, 3},
	"busy, then fine": {patience, func(p *testPlan, c testCall, nth int) (int, string, bool) {
		if nth == 0 {
			return 429, "", false
		}
		p.remove(c.rows)
		return 200, "“Completed Successfully”,", false
	}, map[string]int{"removed": answered}, 2},
}

// TestAnswers plays what Pluralsight may answer in earnest, to four people each time, and what became of it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t, answered, func(d *config.Deprovision) {
				d.VerifyWithin, d.BatchMaxUsers, d.BatchMaxAge = c.within, answered, patience
			})
			nth := 0
			w.plan.react = func(p *testPlan, call testCall) (int, string, bool) {
				if call.dryRun {
					return 200, "Completed Successfully", false
				}
				defer func() { nth++ }()
				return c.react(p, call, nth)
			}
			w.start()
			for n := range answered {
				w.publish("hr", fmt.Sprint(n), email(n))
			}
			got := map[string]int{}
			for _, s := range w.outcomes(answered) {
				got[s.Outcome]++
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("outcomes %v, want %v", got, c.want)
			}
			if files := w.plan.files(false); len(files) != c.files {
				t.Errorf("%d files sent, want %d", len(files), c.files)
			}
			w.checkLooks()
		})
	}
}

// checkLooks fails when somebody was in two files without a look-up in between.
func (w *town) checkLooks() {
	w.t.Helper()
	w.plan.mu.Lock()
	defer w.plan.mu.Unlock()
	unlooked := map[string]bool{}
	for _, c := range w.plan.log {
		for _, address := range c.emails {
			delete(unlooked, address)
		}
		for _, row := range c.rows {
			if !c.dryRun {
				if unlooked[row[1]] {
					w.t.Errorf("%s was sent twice without a look in between", row[1])
				}
				unlooked[row[1]] = true
			}
		}
	}
}
