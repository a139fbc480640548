package deprovisioner

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/streams"
)

// simLedger is the ledger stream: the newest document of each subject.
type simLedger struct {
	last uint64
	docs []simDocument
	at   map[string]int
	// versions are all documents of each subject, for replicas that lag.
	versions map[string][]simDocument
	// writes counts what others than the lane's own book-keeping wrote.
	writes int
}

// simDocument is a document as it was written, and as it is for whoever only looks.
type simDocument struct {
	document
	body json.RawMessage
}

func (l *simLedger) put(w *world, subject string, doc any, fence uint64) uint64 {
	body, err := json.Marshal(doc)
	if err != nil {
		simulation.Violated("I-01", "a document that does not encode: %v", err)
	}
	l.last++
	d := simDocument{document{subject: subject, sequence: l.last, fence: fence}, body}
	if d.document.document = d.read(w).document; d.document.document != nil {
		l.writes++
	}
	l.versions[subject] = append(l.versions[subject], d)
	if n, known := l.at[subject]; known {
		l.docs[n] = d
	} else {
		l.at[subject] = len(l.docs)
		l.docs = append(l.docs, d)
	}
	w.note("wrote", subject, string(body))
	return l.last
}

// read is the document as the feed hands it over; without a document when it is none that the lane follows.
func (d simDocument) read(w *world) document {
	out := document{subject: d.subject, sequence: d.sequence, fence: d.fence}
	switch {
	case events.Tokens(streams.LedgerRequestSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Request](w, d.body)
	case events.Tokens(streams.LedgerBatchSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Batch](w, d.body)
	case events.Tokens(streams.LedgerCancelSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Cancel](w, d.body)
	case events.Tokens(streams.LedgerDecisionSubject, d.subject) != nil:
		out.document = decodeOf[deprovision.Decision](w, d.body)
	}
	return out
}

// write stores a document that is not a lane's, and puts it on its way to the lane.
func (w *world) write(subject string, doc any) {
	if r, ok := doc.(deprovision.Request); ok {
		w.books.accepted[identityOf(r.Publisher, r.Source, r.ID)] = r.Content
	}
	w.ledger.put(w, subject, doc, 0)
	w.feed = append(w.feed, w.ledger.docs[w.ledger.at[subject]])
}

// ledgerFrom is the feed that a new holder reads: everything from the floor, and its own mark at the end, wherever that
// will be.
func (w *world) ledgerFrom(floor, fence uint64) *feed {
	var docs []document
	for _, d := range w.ledger.docs {
		if d.document.document != nil && d.sequence >= floor && d.sequence < fence {
			docs = append(docs, d.read(w))
		}
	}
	slices.SortFunc(docs, func(a, b document) int { return cmp.Compare(a.sequence, b.sequence) })
	f := &feed{documents: make(chan any, len(docs)+1)}
	for _, d := range docs {
		f.documents <- d
	}
	f.documents <- document{subject: markSubject("acme"), sequence: math.MaxUint64, document: mark{}}
	return f
}

// newest is the document of a subject, for looking at.
func newest[T any](w *world, subject string) (out T, found bool) {
	if n, ok := w.ledger.at[subject]; ok {
		out, found = w.ledger.docs[n].document.document.(T)
	}
	return out, found
}

func (w *world) requests() (all []deprovision.Request) {
	for _, d := range w.ledger.docs {
		if r, ok := d.document.document.(deprovision.Request); ok {
			all = append(all, r)
		}
	}
	return all
}

func (w *world) requestByKey(key string) deprovision.Request {
	r, _ := newest[deprovision.Request](w, deprovision.RequestSubject("acme", key))
	return r
}

func decodeOf[T any](w *world, body []byte) (out T) {
	if err := json.Unmarshal(body, &out); err != nil {
		simulation.Violated("I-25", "what was written cannot be read: %v", err)
	}
	return out
}

// simKeeper is a tenure's way to the ledger: it writes under the fence, and dies now and then between two documents.
type simKeeper struct {
	w *world
	t *tenure
}

func (k simKeeper) commit(_ context.Context, saves []save) (map[string]uint64, error) {
	if k.t != k.w.tenure {
		return nil, errLaneLost
	}
	written := map[string]uint64{}
	for _, s := range saves {
		if k.w.dies("between two documents") {
			return nil, errCrash
		}
		if r, ok := s.document.(deprovision.Request); ok {
			if before := k.w.requestByKey(r.Key); before.Key != "" && !before.Open() {
				simulation.Violated("I-01", "a settled request is written again")
			}
		}
		if c, ok := s.document.(deprovision.Cancel); ok {
			k.w.judgeCancel(c)
		}
		written[s.subject] = k.w.ledger.put(k.w, s.subject, s.document, k.t.fence)
		if d := k.w.ledger.docs[k.w.ledger.at[s.subject]]; d.document.document != nil {
			k.w.feed = append(k.w.feed, d) // the lane hears its own echo
		}
	}
	return written, nil
}

// last is answered by any replica that has what is asked for, perhaps one that lacks the last writes.
func (k simKeeper) last(_ context.Context, subject string, out any, upTo place) (uint64, error) {
	has := k.w.ledger.last
	if k.w.chance("replica lags", 3) {
		has = max(upTo.sequence, has-min(has, uint64(1+k.w.Intn("documents behind", 20))))
	}
	for _, d := range slices.Backward(k.w.ledger.versions[subject]) {
		if d.sequence <= has {
			return d.sequence, json.Unmarshal(d.body, out)
		}
	}
	return 0, nil
}
