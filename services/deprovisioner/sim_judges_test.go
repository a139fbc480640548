package deprovisioner

import (
	"slices"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/roster"
)

// The judges know the models' books and nothing of what the code under test believes, but for the ledger: what is
// durable is what it said. The numbers are those of shared/research/reliability.md section 3.1.

// books are what the judges remember of a history.
type books struct {
	// accepted is the content under which an identity was first acknowledged; refused are events, by sequence, that were set aside.
	accepted map[string]string
	refused  map[uint64]bool
	// approved is the hold of a batch that a person approved.
	approved map[string]int
	// submitted and read are when a person was last in a file that may have been processed, and last read back.
	submitted, read map[string]time.Time
	// shownOff is when a read-back last showed that a person has no licence. That may be the truth of some seconds ago.
	shownOff map[string]time.Time
	// sent are batches whose bytes may have left: the same batch never goes again.
	sent map[string]bool
	// auto is what went out without a person, for the day's limit.
	auto []deprovision.SpentEntry
	// mayGo are the people of files that were sent.
	mayGo map[string]bool
	// looked is what the last look before sending a batch saw.
	looked map[string]*people
	// settled is the outcome of each request that the world was told; told are the ids of all events.
	settled map[string]string
	told    map[string]bool
}

func newBooks() books {
	return books{
		accepted: map[string]string{}, refused: map[uint64]bool{}, approved: map[string]int{}, submitted: map[string]time.Time{},
		read: map[string]time.Time{}, shownOff: map[string]time.Time{}, sent: map[string]bool{},
		looked: map[string]*people{}, mayGo: map[string]bool{}, settled: map[string]string{}, told: map[string]bool{},
	}
}

// judgeFile is everything that must hold when bytes reach Pluralsight with dryRun=false.
func (w *world) judgeFile(o pluralsight.Order, lines []pluralsight.Row) {
	c, sending := w.answering.(callApply)
	b := c.batch
	if !sending || w.now.Sub(b.SubmittedAt) > sendWindow {
		simulation.Violated("I-07", "a file from who is not at work")
	}
	stored, _ := newest[deprovision.Batch](w, deprovision.BatchSubject("acme", b.ID))
	byPerson := c.approval.By != deprovision.Auto
	switch {
	case w.asking.Apply != applyAuto && w.asking.Apply != applyReview:
		simulation.Violated("I-03", "apply: dry-run sent a file")
	case w.paused:
		simulation.Violated("I-02", "sent while paused")
	case stored.SHA256 != o.SHA256() || !w.answeringOld && stored.State != deprovision.BatchSending:
		simulation.Violated("I-12", "bytes leave while the ledger says %s", stored.State)
	case !w.plan.dryRan[o.SHA256()]:
		simulation.Violated("I-02", "no dry run accepted these bytes")
	case !byPerson && w.asking.Apply != applyAuto:
		simulation.Violated("I-02", "review sent a file that nobody approved")
	case byPerson && w.books.approved[b.ID] != stored.Hold:
		simulation.Violated("I-02", "hold %d was approved, and this is hold %d", w.books.approved[b.ID], stored.Hold)
	case w.books.looked[b.ID] == nil:
		simulation.Violated("I-02", "sent without looking who is meant")
	case w.books.sent[b.ID]:
		simulation.Violated("I-12", "the same file again, although it may have arrived")
	case len(lines) > maxRows || len(lines) != len(b.Rows):
		simulation.Violated("I-20", "%d lines for %d people", len(lines), len(b.Rows))
	}
	w.books.sent[b.ID] = true
	if !byPerson {
		w.judgeAuto(b)
	}
	for n, row := range b.Rows {
		w.judgeRow(b, row, lines[n])
	}
}

// judgeAuto: what goes without a person stays inside the limits.
func (w *world) judgeAuto(b deprovision.Batch) {
	if len(b.Rows) > w.asking.MaxUsersPerBatchAuto {
		simulation.Violated("I-08", "%d people at once without a person", len(b.Rows))
	}
	w.books.auto = slices.DeleteFunc(w.books.auto, func(e deprovision.SpentEntry) bool { return e.BatchID == b.ID })
	w.books.auto = append(w.books.auto, deprovision.SpentEntry{BatchID: b.ID, At: b.SubmittedAt, Users: len(b.Rows)})
	if people := spentToday(deprovision.Spent{Entries: w.books.auto}, w.now); people > w.asking.MaxUsers24hAuto {
		simulation.Violated("I-08", "%d people within a day without a person", people)
	}
}

// judgeRow: one line of a file is one unprotected person, whom every request in it means, freshly and still.
func (w *world) judgeRow(b deprovision.Batch, row deprovision.Row, line pluralsight.Row) {
	id := row.PsUserID
	looked := w.books.looked[b.ID]
	u, known := looked.byID[id]
	switch addresses := append([]string{u.Email}, u.AdditionalEmails...); {
	case !known || line.Email != u.Email || line.ID != id && line.ID != u.CurrentSSOIdentifier:
		simulation.Violated("I-04", "the line %v is not person %s", line, id)
	case w.rules.ProtectAdmins && looked.adminIDs[id]:
		simulation.Violated("I-04", "an admin is in a file")
	case w.rules.protected(addresses...):
		simulation.Violated("I-04", "a protected person is in a file")
	}
	requests := 0
	for _, r := range w.requests() {
		if r.BatchID == b.ID && r.Person == id && r.Open() {
			requests++
			w.judgeRequest(r, u)
		}
	}
	if requests == 0 && !w.answeringOld {
		simulation.Violated("I-02", "%s is in a file, and no request asks for it", id)
	}
	if at, before := w.books.submitted[id]; before && !w.books.read[id].After(at) {
		simulation.Violated("I-12", "sent again without looking since %s", w.now.Sub(at))
	}
	w.books.submitted[id], w.books.mayGo[id] = w.now, true
}

// judgeRequest: a request in a file that is sent means this person, was made in time, and nothing newer says otherwise.
func (w *world) judgeRequest(r deprovision.Request, u pluralsight.User) {
	means := func(address string) bool { return roster.FoldEmail(address) == roster.FoldEmail(r.Email) }
	switch {
	case r.PsUserID != "" && r.PsUserID != u.PsUserID:
		simulation.Violated("I-02", "the request names %s, the file %s", r.PsUserID, u.PsUserID)
	case r.PsUserID == "" && !means(u.Email) && !slices.ContainsFunc(u.AdditionalEmails, means):
		simulation.Violated("I-02", "the request names another address")
	case r.Email != "" && !means(u.Email) && slices.ContainsFunc(w.plan.everybody(), func(o pluralsight.User) bool {
		return o.PsUserID != u.PsUserID && means(o.Email)
	}):
		simulation.Violated("I-02", "the request names one person by the address and another by the id")
	case r.AcceptedAt.Sub(r.Time) > w.rules.MaxEventAge:
		simulation.Violated("I-13", "an event of %s before counts", r.AcceptedAt.Sub(r.Time))
	case u.StartedOn.After(r.Time):
		simulation.Violated("I-14", "licensed again after the event was made")
	case r.Effective != nil && r.Effective.After(w.now):
		simulation.Violated("I-13", "sent before its time")
	case w.books.accepted[identityOf(r.Publisher, r.Source, r.ID)] == "":
		simulation.Violated("I-02", "nobody sent this request")
	}
}

// judgeRemoval: somebody loses a licence because of a file of ours.
func (w *world) judgeRemoval(u *simUser) {
	switch {
	case !w.books.mayGo[u.PsUserID]:
		simulation.Violated("I-04", "%s loses a licence and is in no file", u.PsUserID)
	case u.removals > 1:
		simulation.Violated("I-11", "%s loses one licence twice", u.PsUserID)
	}
}

// judgeTold: each event is told once, and the settled one is the last of its request, and true.
func (w *world) judgeTold(e events.Event, subject string) {
	if w.books.told[e.ID] {
		simulation.Violated("I-11", "%s was told twice", e.Type)
	}
	w.books.told[e.ID] = true
	if e.Type != events.DeprovisionSettledType {
		return
	}
	said := decodeOf[events.DeprovisionSettled](w, e.Data)
	publisher := events.Tokens(events.DeprovisionSettledSubject, subject)[1]
	key := identityOf(publisher, said.RequestSource, said.RequestID)
	if before, again := w.books.settled[key]; again {
		simulation.Violated("I-01", "settled as %s, then as %s", before, said.Outcome)
	}
	w.books.settled[key] = said.Outcome
	r := w.requestByKey(events.Key("acme", publisher, said.RequestSource, said.RequestID))
	b, _ := newest[deprovision.Batch](w, deprovision.BatchSubject("acme", said.BatchID))
	switch {
	case r.Outcome != said.Outcome:
		simulation.Violated("I-15", "told %s, and the ledger says %q", said.Outcome, r.Outcome)
	case said.Outcome == deprovision.OutcomeRemoved && b.SubmittedAt.IsZero():
		simulation.Violated("I-15", "removed, and nothing was ever about to be sent")
	case said.Outcome == deprovision.OutcomeRemoved && !w.books.shownOff[said.PsUserID].After(b.SubmittedAt):
		simulation.Violated("I-15", "removed, but Pluralsight never said so")
	}
}

// judgeEnd is what must hold when nothing is left to do: every event came to one end.
func (w *world) judgeEnd() {
	for _, m := range w.stream.Messages() {
		e, err := events.Read(m.Header, m.Body)
		if err != nil {
			simulation.Violated("I-01", "the world sent what is no event: %v", err)
		}
		if e.Type != events.DeprovisionRequestedType || w.books.refused[m.Sequence] {
			continue
		}
		publisher := events.Tokens(events.DeprovisionRequestedSubject, m.Subject)[1]
		key := identityOf(publisher, e.Source, e.ID)
		switch {
		case w.books.accepted[key] != e.Content():
			simulation.Violated("I-01", "event %d was neither accepted nor set aside", m.Sequence)
		case w.books.settled[key] == "":
			simulation.Violated("I-01", "event %d was accepted and never settled", m.Sequence)
		}
	}
	for _, d := range w.ledger.docs {
		switch doc := d.document.document.(type) {
		case deprovision.Request:
			if doc.Connection != "acme" || !strings.HasPrefix(d.subject, "seatwire.v1.ledger.request.acme.") {
				simulation.Violated("I-10", "a request of connection %s", doc.Connection)
			}
		case deprovision.Batch:
			if doc.State.Open() {
				simulation.Violated("I-16", "batch %s is left %s", doc.ID, doc.State)
			}
		case deprovision.Cancel:
			if doc.State == deprovision.CancelWaiting && w.requestByKey(doc.Target).Key != "" {
				simulation.Violated("I-01", "a cancel waits for a request that is there")
			}
		}
	}
}

// judgeCancel: only a cancel whose request the lane never heard of is given up for its age.
func (w *world) judgeCancel(c deprovision.Cancel) {
	subject := deprovision.RequestSubject("acme", c.Target)
	unheard := slices.ContainsFunc(w.feed, func(d simDocument) bool { return d.subject == subject })
	old := w.now.Sub(c.AcceptedAt) >= w.rules.MaxEventAge
	if c.State == deprovision.CancelExpired && old && w.requestByKey(c.Target).Key != "" && !unheard {
		simulation.Violated("I-01", "a cancel is given up, and its request was there")
	}
}

func identityOf(publisher, source, id string) string { return publisher + " " + source + " " + id }
