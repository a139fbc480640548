package deprovision

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testLedger(t *testing.T) (*Ledger, func(subject string, document any)) {
	t.Helper()
	js := natstest.Run(t).JetStream(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: streams.Ledger, Subjects: []string{streams.LedgerSubject + ".>"}, MaxMsgsPerSubject: 1, AllowDirect: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return Open(js), func(subject string, document any) {
		t.Helper()
		body, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), subject, body); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDecideOnceAndOnlyWhatIsHeld(t *testing.T) {
	t.Parallel()
	l, put := testLedger(t)
	b := Batch{Connection: "acme", ID: "b1", State: BatchHeld, Hold: 1, SHA256: "ab"}
	put(BatchSubject("acme", "b1"), b)
	for name, c := range map[string]struct {
		id, by, sha string
		want        error
	}{
		"unknown": {"b2", "ada", "", ErrUnknownBatch}, "wildcard": {"*", "ada", "", ErrUnknownBatch},
		"other bytes": {"b1", "ada", "cd", ErrOtherContent},
	} {
		if _, err := l.Decide(t.Context(), c.id, c.by, c.sha, true); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, by := range []string{" ", Auto, " Auto"} {
		if _, err := l.Decide(t.Context(), "b1", by, "", true); !errors.Is(err, ErrNobody) {
			t.Errorf("a decision by %q: %v", by, err)
		}
	}
	if _, err := l.Decide(t.Context(), "b1", "ada", "AB", true); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Decide(t.Context(), "b1", "bob", "", false); !errors.Is(err, ErrDecided) {
		t.Errorf("second decision: %v", err)
	}
	b.Hold = 2 // held again: a new question
	put(BatchSubject("acme", "b1"), b)
	if _, err := l.Decide(t.Context(), "b1", "bob", "", false); err != nil {
		t.Errorf("decision about the second hold: %v", err)
	}
	b.State = BatchVerifying
	put(BatchSubject("acme", "b1"), b)
	if _, err := l.Decide(t.Context(), "b1", "bob", "", false); !errors.Is(err, ErrDecided) {
		t.Errorf("decision about a submitted batch: %v", err)
	}
}

func TestExplainTellsOnePersonsStoryInOrder(t *testing.T) {
	t.Parallel()
	l, put := testLedger(t)
	at := func(n int) time.Time { return time.Date(2026, 11, 23, 9, n, 0, 0, time.UTC) }
	put(RequestSubject("acme", "k1"), Request{Connection: "acme", Key: "k1", Publisher: "hr", ID: "1", Email: "ada@corp.example", Person: "u1", Time: at(0),
		History: []Change{{At: at(1), State: Accepted}, {At: at(6), State: Settled, Note: "removed"}}})
	put(RequestSubject("acme", "k2"), Request{Connection: "acme", Key: "k2", Email: "bob@corp.example", Time: at(0)})
	put(BatchSubject("acme", "b1"), Batch{Connection: "acme", ID: "b1", Rows: []Row{{PsUserID: "u1", Email: "other@corp.example"}},
		History: []Change{{At: at(2), State: "sealed"}, {At: at(3), State: "approved", Note: "by ada"}}})
	put(BatchSubject("acme", "b2"), Batch{Connection: "acme", ID: "b2", Rows: []Row{{PsUserID: "u2"}}, History: []Change{{At: at(2), State: "sealed"}}})
	put(CancelSubject("acme", "c1"), Cancel{Connection: "acme", Key: "c1", Target: "k1", TargetID: "1", AcceptedAt: at(4), State: CancelLate})
	lines, err := l.Explain(t.Context(), "ADA@corp.example", strings.EqualFold)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"event", "request", "batch", "batch", "cancel", "request"}
	if len(lines) != len(want) {
		t.Fatalf("%d lines: %+v", len(lines), lines)
	}
	for n, line := range lines {
		if line.Kind != want[n] {
			t.Errorf("line %d is %s, want %s", n, line.Kind, want[n])
		}
	}
	counts, err := l.ByState(t.Context(), "acme")
	if err != nil || len(counts) == 0 {
		t.Errorf("counts %v, %v", counts, err)
	}
	rows, err := l.RequestsOf(t.Context(), Batch{Connection: "acme", ID: "b1", Rows: []Row{{PsUserID: "u1", Requests: []string{"k1"}}}})
	if err != nil || len(rows["u1"]) != 1 {
		t.Errorf("requests of the batch %v, %v", rows, err)
	}
}

// FuzzDocuments: a document of any bytes is refused without quoting it, or is the same once written and read, and can be
// told of.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"connection":"acme","key":"k","state":"settled","evidence":{"isOnAccount":false,"readAt":"2026-11-23T10:00:00Z"},"history":[{"state":"x"}]}`))
	f.Add([]byte(`{"batchId":"b","rows":[{"psUserId":"u","requests":["k"]}],"csv":"aWQ=","state":"held","dryRun":{"http":200},"spent":1}`))
	f.Add([]byte(`{"target":"k","hold":1,"approve":true,"at":"9999-12-31T23:59:59-23:59"}`))
	f.Add([]byte(`{"email":"canary@example.com","rows":7}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		explainRequest(checkDocument[Request](t, body))
		explainBatch(checkDocument[Batch](t, body))
		checkDocument[Cancel](t, body)
		checkDocument[Decision](t, body)
		checkDocument[Spent](t, body)
	})
}

func checkDocument[T any](t *testing.T, body []byte) (first T) {
	t.Helper()
	if err := decode(&jetstream.RawStreamMsg{Subject: "s", Data: body}, &first); err != nil {
		if fault.ReasonOf(err) != "ledger-corrupt" || strings.Contains(err.Error(), "canary") {
			t.Fatalf("refused by %v", err)
		}
		return first
	}
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	var again T
	if err := json.Unmarshal(written, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
	return again
}
