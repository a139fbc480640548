package deprovisioner

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// The protocol of a batch.
//
//	sealed ──▶ dry-run ──▶ held ◀──────────┐ approval expired
//	   │          │         │ │            │
//	   │          │         │ └─ declined  │
//	   │          ▼         ▼              │
//	   │        settled   approved ────────┘
//	   │    (apply: dry-run)  │ ▲
//	   │                      ▼ │ surely not processed
//	   │                   sending ─────▶ unknown   (no answer, or the process died)
//	   │                      │              │
//	   │                      ▼              ▼
//	   │                   answered ────▶ verifying ──▶ settled
//	   └──▶ dissolved   (a person or a request changed; what is left is sealed anew and begins at its own dry run)
//
// Sealing fixes the rows, the bytes and their SHA-256; they never change. The dry run, the decision and the sending
// are all about these bytes. Before sending the people are looked up again, and a batch that would be sealed
// differently now is dissolved.
//
// "sending" is durable before the first byte leaves. Who finds a batch "sending" in the ledger does not know whether
// anything left, so it becomes unknown, and unknown is left by reading Pluralsight back and by nothing else. Rows end
// one by one, as they are proved. What an error or a lost answer left on the account goes into a new batch, through a
// new dry run and a new decision, until the attempts are spent.

// seal makes a batch of rows. Its id follows from what it says and for whom, and from how often those requests were
// sealed before, so that no id is ever used for two things.
func seal(rows []deprovision.Row, requests map[string]*deprovision.Request, retain bool, r rules, now time.Time) (deprovision.Batch, error) {
	slices.SortFunc(rows, func(a, b deprovision.Row) int { return cmp.Compare(a.PsUserID, b.PsUserID) })
	csv, err := csvOf(rows)
	if err != nil {
		return deprovision.Batch{}, err
	}
	sum := sha256.Sum256(csv)
	b := deprovision.Batch{
		Connection: r.connection, Retain: retain, Strict: r.Strict, Rows: rows,
		CSV: csv, SHA256: hex.EncodeToString(sum[:]), SealedAt: now, Due: now,
	}
	identity := []string{"batch", r.connection, strconv.FormatBool(retain), strconv.FormatBool(r.Strict), b.SHA256}
	for _, row := range rows {
		for _, key := range row.Requests {
			identity = append(identity, key, strconv.Itoa(requests[key].Rounds))
		}
	}
	b.ID = events.Key(identity...)
	return b, nil
}

func csvOf(rows []deprovision.Row) ([]byte, error) {
	lines := make([]pluralsight.Row, len(rows))
	for i, row := range rows {
		lines[i] = pluralsight.Row{ID: row.ID, Email: row.Email, FirstName: row.FirstName, LastName: row.LastName}
	}
	return pluralsight.WriteCSV(lines)
}

// toState returns the batch in another state, with the step in its history.
func toState(b deprovision.Batch, s deprovision.BatchState, note string, now time.Time) deprovision.Batch {
	b.State, b.At = s, now
	b.History, _ = appended(b.History, 0, deprovision.Change{At: now, State: string(s), Note: note})
	return b
}

// requestState is what a batch's state means for its requests.
func requestState(s deprovision.BatchState) string {
	switch s {
	case deprovision.BatchHeld:
		return deprovision.Held
	case deprovision.BatchApproved:
		return deprovision.Approved
	case deprovision.BatchSending, deprovision.BatchUnknown, deprovision.BatchAnswered:
		return deprovision.Submitted
	case deprovision.BatchVerifying:
		return deprovision.Verifying
	default:
		return deprovision.Batched
	}
}

// unsent reports whether nothing of the batch can have reached Pluralsight in earnest.
func unsent(s deprovision.BatchState) bool {
	return s == deprovision.BatchSealed || s == deprovision.BatchDryRun || s == deprovision.BatchHeld || s == deprovision.BatchApproved
}

// decide says what follows an accepted dry run. usedToday is how many people count against the day's limit already.
// A held batch stays held whatever the configuration becomes: only a person's approval lifts a hold.
func decide(b deprovision.Batch, r rules, usedToday int, now time.Time) deprovision.Batch {
	hold := func(reason string) deprovision.Batch {
		b.Reason = reason
		b.Hold++
		return toState(b, deprovision.BatchHeld, reason, now)
	}
	switch people := len(b.Rows); {
	case r.Apply != applyAuto && r.Apply != applyReview:
		return toState(b, deprovision.BatchSettled, "dry run only", now)
	case r.Apply == applyReview:
		return hold("review: waits for a person")
	case people > r.MaxUsersPerBatchAuto:
		b.Burst = true
		return hold(fmt.Sprintf("%d people are more than maxUsersPerBatchAuto (%d)", people, r.MaxUsersPerBatchAuto))
	case usedToday+people > r.MaxUsers24hAuto:
		return hold(fmt.Sprintf("%d people after %d today are more than maxUsers24hAuto (%d)", people, usedToday, r.MaxUsers24hAuto))
	default:
		b.Approval = &deprovision.Approval{By: deprovision.Auto, At: now, SHA256: b.SHA256}
		return toState(b, deprovision.BatchApproved, "by auto: inside every guard", now)
	}
}

// authorise returns the approval under which the batch may be sent now, or why it may not. It is the only place that
// says yes to dryRun=false. A person's approval is bound to the sealed bytes and expires; the configuration's own
// holds only while the configuration still says auto.
func authorise(b deprovision.Batch, r rules, now time.Time) (deprovision.Approval, string) {
	a := b.Approval
	switch sum := sha256.Sum256(b.CSV); {
	case r.Apply != applyAuto && r.Apply != applyReview:
		return deprovision.Approval{}, "the configuration says dry-run"
	case b.State != deprovision.BatchApproved || a == nil || a.By == "":
		return deprovision.Approval{}, "nobody approved it"
	case b.DryRun == nil || b.DryRun.Errored || b.DryRun.Fault != "":
		return deprovision.Approval{}, "no dry run accepted it"
	case a.SHA256 != b.SHA256 || hex.EncodeToString(sum[:]) != b.SHA256:
		return deprovision.Approval{}, "the approval is for other bytes"
	case a.By == deprovision.Auto && r.Apply != applyAuto:
		return deprovision.Approval{}, "the configuration no longer says auto"
	case a.By != deprovision.Auto && now.Sub(a.At) > approvalLife:
		return deprovision.Approval{}, "the approval expired"
	}
	return *a, ""
}

// spentToday is how many people apply: auto has submitted in the window that ends now.
func spentToday(s deprovision.Spent, now time.Time) (people int) {
	for _, e := range s.Entries {
		if now.Sub(e.At) < day {
			people += e.Users
		}
	}
	return people
}

// spend adds a submission, once for each batch however often its bytes are sent, and forgets what left the window.
func spend(s deprovision.Spent, b deprovision.Batch, now time.Time) deprovision.Spent {
	kept := make([]deprovision.SpentEntry, 0, len(s.Entries)+1)
	for _, e := range s.Entries {
		if now.Sub(e.At) < day && e.BatchID != b.ID {
			kept = append(kept, e)
		}
	}
	return deprovision.Spent{Entries: append(kept, deprovision.SpentEntry{BatchID: b.ID, At: now, Users: len(b.Rows)})}
}

// jobInFlight reports whether Pluralsight may still be working on the batch's file.
func jobInFlight(b deprovision.Batch, r rules, now time.Time) bool {
	if b.SubmittedAt.IsZero() || unsent(b.State) || !b.State.Open() || b.Answer != nil && b.Answer.Final {
		return false
	}
	return now.Before(b.SubmittedAt.Add(jobPatience * r.VerifyEvery))
}
