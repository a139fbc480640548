package deprovisioner

import (
	"maps"
	"slices"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
)

// contents is what the ledger holds for one connection when a lane is taken over.
type contents struct {
	requests  []deprovision.Request
	batches   []deprovision.Batch
	cancels   []withdrawn
	decisions []deprovision.Decision
	spent     deprovision.Spent
}

// load fills an empty book from the ledger and mends what a crash left between two saves. Whatever was being sent is
// unknown now, and only a read-back leads out of that.
func (b *book) load(c contents, now time.Time) effects {
	b.out = effects{}
	b.spent = c.spent
	adopt := map[string]rowOf{}
	for _, batch := range c.batches {
		if !batch.State.Open() {
			continue
		}
		b.batches[batch.ID], b.members[batch.ID] = &batch, map[string][]*deprovision.Request{}
		if batch.State != deprovision.BatchSealed {
			continue
		}
		for _, row := range batch.Rows {
			for _, key := range row.Requests {
				adopt[key] = rowOf{batch.ID, row.PsUserID}
			}
		}
	}
	for _, r := range c.requests {
		b.loadRequest(r, adopt, now)
	}
	for _, id := range slices.Sorted(maps.Keys(b.batches)) {
		b.loadBatch(b.batches[id], now)
	}
	for _, in := range c.cancels {
		b.withdraw(in.cancel, in.over, now)
	}
	for _, d := range c.decisions {
		b.decideHold(d, now)
	}
	return b.finish(now)
}

// rowOf is one row of one batch.
type rowOf struct{ batch, person string }

// loadRequest puts an open request where it was. One that a freshly sealed batch claims, and whose own document was
// not written any more, goes into that batch; one whose batch is over goes back to those that wait.
func (b *book) loadRequest(r deprovision.Request, adopt map[string]rowOf, now time.Time) {
	if !r.Open() {
		return
	}
	b.open[r.Key] = &r
	row, claimed := adopt[r.Key]
	switch batch := b.batches[r.BatchID]; {
	case r.BatchID != "" && batch != nil && r.Person != "":
		b.locks[r.Person] = batch.ID
		b.members[batch.ID][r.Person] = append(b.members[batch.ID][r.Person], &r)
	case r.BatchID == "" && claimed:
		b.enter(&r, b.batches[row.batch], row.person, now)
	case r.BatchID != "":
		r.BatchID = ""
		r.Rounds++
		r = moved(r, deprovision.Accepted, "its batch is over", now)
		b.saveRequest(&r)
		b.queueUp(&r, now)
	default:
		b.queueUp(&r, now)
	}
}

// loadBatch takes a batch up where it was left.
func (b *book) loadBatch(batch *deprovision.Batch, now time.Time) {
	// Requests that were written before or after their batch: the batch is right, it was saved first.
	for _, row := range batch.Rows {
		for _, r := range b.members[batch.ID][row.PsUserID] {
			b.move(r, requestState(batch.State), batch.Reason, now)
		}
	}
	switch {
	case len(b.members[batch.ID]) == 0:
		b.close(batch, deprovision.BatchSettled, "nobody waits for it any more", now)
	case unsent(batch.State) && len(b.liveRows(batch)) < len(batch.Rows):
		b.dissolve(batch, "a request was withdrawn", now)
	case batch.State == deprovision.BatchDryRun:
		b.accepted(batch, now)
	case batch.State == deprovision.BatchSending:
		b.answered(batch, deprovision.Answer{At: now, Fault: "process-died"}, now)
	case batch.State == deprovision.BatchUnknown, batch.State == deprovision.BatchAnswered:
		b.answered(batch, *batch.Answer, now)
	}
}
