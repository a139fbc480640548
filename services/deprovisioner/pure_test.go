package deprovisioner

import (
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// TestBisectFindsExactlyTheBadRows also counts: one bad row costs at most 2·log2(n)+2 dry runs, the whole file's included.
func TestBisectFindsExactlyTheBadRows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1000).Draw(t, "rows")
		bad := rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 1, min(n, 5), rapid.ID).Draw(t, "bad")
		slices.Sort(bad)
		calls := 1
		got, err := bisect(n, func(rows []int) (bool, error) {
			calls++
			return slices.ContainsFunc(rows, func(r int) bool { return slices.Contains(bad, r) }), nil
		})
		slices.Sort(got)
		if err != nil || !slices.Equal(got, bad) {
			t.Fatalf("found %v, want %v (%v)", got, bad, err)
		}
		if limit := 2*bits.Len(uint(n)) + 2; len(bad) == 1 && calls > limit {
			t.Fatalf("%d dry runs for %d rows, want at most %d", calls, n, limit)
		}
	})
}

func TestBisectBlamesAllWhenNoneIsRefusedAlone(t *testing.T) {
	t.Parallel()
	got, err := bisect(6, func(rows []int) (bool, error) { return len(rows) == 6, nil })
	if err != nil || len(got) != 6 {
		t.Fatalf("found %v (%v), want all", got, err)
	}
}

func TestGuardsHoldWhenStrictlyExceeded(t *testing.T) {
	t.Parallel()
	r := rules{Deprovision: config.Deprovision{Apply: "auto", MaxUsersPerBatchAuto: 3, MaxUsers24hAuto: 5}}
	for _, c := range []struct {
		people, used int
		want         deprovision.BatchState
	}{
		{3, 0, deprovision.BatchApproved}, {4, 0, deprovision.BatchHeld}, {3, 2, deprovision.BatchApproved}, {3, 3, deprovision.BatchHeld},
	} {
		b := decide(deprovision.Batch{Rows: make([]deprovision.Row, c.people)}, r, c.used, time.Now())
		if b.State != c.want {
			t.Errorf("%d people after %d: %s, want %s", c.people, c.used, b.State, c.want)
		}
	}
}

func TestAuthoriseSaysNoToEveryDoubt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	sum := "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // of no bytes
	good := func() (deprovision.Batch, rules) {
		return deprovision.Batch{State: deprovision.BatchApproved, SHA256: sum, DryRun: &deprovision.Answer{HTTP: 200},
			Approval: &deprovision.Approval{By: "ada", At: now, SHA256: sum}}, rules{Deprovision: config.Deprovision{Apply: "review"}}
	}
	if b, r := good(); true {
		if _, no := authorise(b, r, now); no != "" {
			t.Fatalf("refused: %s", no)
		}
	}
	for name, spoil := range map[string]func(*deprovision.Batch, *rules){
		"dry-run":             func(_ *deprovision.Batch, r *rules) { r.Apply = "dry-run" },
		"no mode":             func(_ *deprovision.Batch, r *rules) { r.Apply = "" },
		"held":                func(b *deprovision.Batch, _ *rules) { b.State = deprovision.BatchHeld },
		"nobody":              func(b *deprovision.Batch, _ *rules) { b.Approval = nil },
		"no name":             func(b *deprovision.Batch, _ *rules) { b.Approval.By = "" },
		"auto in review":      func(b *deprovision.Batch, _ *rules) { b.Approval.By = deprovision.Auto },
		"other bytes":         func(b *deprovision.Batch, _ *rules) { b.CSV = []byte("x") },
		"other hash":          func(b *deprovision.Batch, _ *rules) { b.Approval.SHA256 = "00" },
		"expired":             func(b *deprovision.Batch, _ *rules) { b.Approval.At = now.Add(-approvalLife - time.Second) },
		"no dry run":          func(b *deprovision.Batch, _ *rules) { b.DryRun = nil },
		"dry run was refused": func(b *deprovision.Batch, _ *rules) { b.DryRun.Errored = true },
	} {
		b, r := good()
		spoil(&b, &r)
		if _, no := authorise(b, r, now); no == "" {
			t.Errorf("%s: authorised", name)
		}
	}
}

// Under the configuration's own name an approval would not expire, and would not hold in review.
func TestDecideHold_takesAPersonsWordOnly(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for by, want := range map[string]deprovision.BatchState{
		"": deprovision.BatchHeld, deprovision.Auto: deprovision.BatchHeld, "ada": deprovision.BatchApproved,
	} {
		b := newBook(rulesFor(config.DefaultConnection("acme"), config.Default().Retry))
		b.batches["b1"] = &deprovision.Batch{ID: "b1", State: deprovision.BatchHeld, Hold: 1, SHA256: "ab"}
		b.decideHold(deprovision.Decision{BatchID: "b1", Hold: 1, Approve: true, By: by, SHA256: "ab", At: now}, now)
		if got := b.batches["b1"].State; got != want {
			t.Errorf("by %q: %s, want %s", by, got, want)
		}
	}
}

func TestProtectGlobs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		glob, address string
		want          bool
	}{
		{"*@board.example", "Ada@Board.example", true}, {"*@board.example", "ada@corp.example", false},
		{"CEO*", "ceo@corp.example", true}, {"a?a@*", "ada@x", true}, {"[", "anybody@x", true},
		{"*@*", "a/b@x", true}, {"x", "", false},
	} {
		if got := matchGlob(c.glob, c.address); got != c.want {
			t.Errorf("%q on %q: %v", c.glob, c.address, got)
		}
	}
}

// TestOneDoorToDryRunFalse: the order that changes something is made in one place, and the flag is in no text of ours.
func TestOneDoorToDryRunFalse(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	doors := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		doors += strings.Count(string(text), "pluralsight.Apply(")
		if strings.Contains(string(text), `"dryRun"`) {
			t.Errorf("%s writes the flag itself", file)
		}
	}
	if doors != 1 {
		t.Errorf("pluralsight.Apply is called in %d places", doors)
	}
}

func TestHistoryStaysSmallAndTellsTheNewest(t *testing.T) {
	t.Parallel()
	r := deprovision.Request{}
	for n := range 3 * maxHistory {
		r = moved(r, fmt.Sprint(n), "", time.Unix(int64(n), 0))
		r.Told = len(r.History)
	}
	r = moved(r, "last", "", time.Unix(1e6, 0))
	if len(r.History) != maxHistory || r.History[0].State != "0" || len(r.History[r.Told:]) != 1 || r.History[r.Told].State != "last" {
		t.Errorf("%d entries, %d told", len(r.History), r.Told)
	}
}

// TestWithdraw_comesToAnEnd: no cancel waits for a request that was there, whatever came together, and none is left behind.
func TestWithdraw_comesToAnEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	open := deprovision.Request{Connection: "acme", Key: "k", State: deprovision.Accepted, Email: "p@corp.example", AcceptedAt: now}
	rejected := settled(open, deprovision.OutcomeRejected, deprovision.ReasonStale, now)
	cancel := func(key string) deprovision.Cancel {
		return deprovision.Cancel{Connection: "acme", Key: key, Target: "k", State: deprovision.CancelWaiting, AcceptedAt: now}
	}
	first, second := withdrawn{cancel: cancel("1")}, withdrawn{cancel: cancel("2")}
	for name, c := range map[string]struct {
		held  contents
		steps [][]input
		want  map[string]string
	}{
		"the request is rejected": {steps: [][]input{{first}, {arrived{rejected}}}, want: map[string]string{"1": deprovision.CancelLate}},
		"another is heard before the rejected request": {
			steps: [][]input{{first}, {withdrawn{cancel("2"), true}}, {arrived{rejected}}},
			want:  map[string]string{"1": deprovision.CancelLate, "2": deprovision.CancelLate}},
		"two together": {steps: [][]input{{arrived{open}}, {first, second}},
			want: map[string]string{"1": deprovision.CancelApplied, "2": deprovision.CancelLate}},
		"two around their request": {steps: [][]input{{first, arrived{open}, second}},
			want: map[string]string{"1": deprovision.CancelApplied, "2": deprovision.CancelLate}},
		"two at a takeover": {held: contents{requests: []deprovision.Request{open}, cancels: []withdrawn{first, second}},
			want: map[string]string{"1": deprovision.CancelApplied, "2": deprovision.CancelLate}},
	} {
		b := newBook(rulesFor(config.DefaultConnection("acme"), config.Default().Retry))
		saves := b.load(c.held, now).saves
		for _, inputs := range c.steps {
			saves = append(saves, b.step(now, inputs...).saves...)
		}
		got := map[string]string{}
		for _, s := range saves {
			if c, ok := s.document.(deprovision.Cancel); ok {
				got[c.Key] = c.State
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || len(b.cancels) > 0 {
			t.Errorf("%s: %d wait; %s", name, len(b.cancels), diff)
		}
	}
}

// TestManyOpenRequests: a hundred thousand deferred requests are taken over and stepped through quickly.
func TestManyOpenRequests(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	later := now.Add(time.Hour)
	b := newBook(rulesFor(config.DefaultConnection("acme"), config.Default().Retry))
	var c contents
	for n := range 100_000 {
		c.requests = append(c.requests, deprovision.Request{Connection: "acme", Key: fmt.Sprint(n), Email: fmt.Sprintf("p%d@x", n),
			State: deprovision.Deferred, AcceptedAt: now, Effective: &later})
	}
	if e := b.load(c, now); !e.wake.Equal(later) {
		t.Fatalf("wake at %s, want %s", e.wake, later)
	}
	e := b.step(later)
	resolve, ok := e.call.(callResolve)
	if !ok || len(resolve.requests) != 200 {
		t.Fatalf("call %T", e.call)
	}
	if len(e.saves) != 0 {
		t.Errorf("%d documents written for nothing", len(e.saves))
	}
}

// Two people whose identifiers, or addresses, differ in case only must not take the rest of their batch with them: the
// file refuses such a pair as a whole.
func TestSealing_pairsThatDifferInCaseOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pair   [2]pluralsight.User
		sealed int
	}{
		"identifiers": {[2]pluralsight.User{
			{PsUserID: "u1", Email: "a@b.example", CurrentSSOIdentifier: "ada"}, {PsUserID: "u2", Email: "c@b.example", CurrentSSOIdentifier: "ADA"},
		}, 3}, // each goes by the psUserId
		"ids":       {[2]pluralsight.User{{PsUserID: "u1", Email: "a@b.example"}, {PsUserID: "U1", Email: "c@b.example"}}, 1},
		"addresses": {[2]pluralsight.User{{PsUserID: "u1", Email: "mason@b.example"}, {PsUserID: "u2", Email: "ma\u017fon@b.example"}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
			b := newBook(rules{connection: "acme", Deprovision: config.DefaultConnection("acme").Deprovision})
			users := append(c.pair[:], pluralsight.User{PsUserID: "u3", Email: "grace@b.example"})
			var requests []deprovision.Request
			for _, u := range users {
				r := deprovision.Request{Connection: "acme", Key: "k" + u.PsUserID, PsUserID: u.PsUserID, State: deprovision.Accepted, Time: now, AcceptedAt: now}
				requests = append(requests, r)
				b.arrive(r, now)
			}
			e := b.step(now, resolved{requests: requests, people: newPeople(users, nil, now)})
			rows := 0
			for _, s := range e.saves {
				if batch, ok := s.document.(deprovision.Batch); ok {
					rows = len(batch.Rows)
				}
				if r, ok := s.document.(deprovision.Request); ok && r.OutcomeReason == deprovision.ReasonInvalid {
					t.Errorf("%s is refused as invalid", r.Key)
				}
			}
			if rows != c.sealed {
				t.Errorf("%d rows sealed, want %d", rows, c.sealed)
			}
		})
	}
}
