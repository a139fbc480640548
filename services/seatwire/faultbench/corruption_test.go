package faultbench

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// leadLimit is how long a damaged node may take to catch up or to lead: it need not.
const leadLimit = 30 * time.Second

// remembered are the streams in which nothing that was confirmed may be missing or other than it was.
var remembered = []string{streams.Ledger, streams.Outcomes, streams.Deprovision}

// TestCorruption_oneNodesFile damages one file of one node while everything is at work. Nothing that was confirmed may
// be gone from the other two or be other than it was, everybody is answered, and nobody is done wrong.
//
// The damaged node is made the leader afterwards, and asked for all it has. A copy with holes that it serves as a whole
// one is the server's defect and not ours: the report counts it. It has consequences, for whatever reads from any
// replica may read there: until the node's data is thrown away, as deploy/runbooks/nats-node-lost.md says, a sync may
// fail. After that none.
func TestCorruption_oneNodesFile(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("three servers and minutes of damage: make chaos")
	}
	w := startWorld(t, draw(t, 430), Options{
		People: 300, PageSize: 30, BatchSize: 20, Latency: 3 * time.Millisecond, Cluster: true,
	})
	w.wantDone(w.Sync("acme"))
	w.bulk()
	for range passes(2) {
		for _, i := range w.rng.Perm(len(damages)) {
			d := damages[i]
			d.node = w.rng.IntN(nodes)
			w.survive(&d)
			found.fault(rowDamage, 1)
		}
	}
	w.judge()
}

// damage is what happens to one file of a node.
type damage struct {
	// stopped says that the node ended by SIGTERM before, and not by -9. It matters: a server that was killed looks
	// through its blocks when it starts, one that had time to write an index trusts that.
	stopped bool
	files   string
	spoil   func(*rand.Rand, []byte) ([]byte, string)

	node               int
	stream, file, what string
}

// damages are all: a node that was killed has no index, or one that is minutes old.
var damages = []damage{
	{files: "*.blk", spoil: flipped},
	{files: "*.blk", spoil: cut},
	{stopped: true, files: "*.blk", spoil: flipped},
	{stopped: true, files: "*.blk", spoil: cut},
	{stopped: true, files: "index.db", spoil: flipped},
	{stopped: true, files: "index.db", spoil: cut},
}

// flipped has up to eight bits turned anywhere.
func flipped(rng *rand.Rand, body []byte) ([]byte, string) {
	bits := 1 + rng.IntN(8)
	for range bits {
		body[rng.IntN(len(body))] ^= 1 << rng.IntN(8)
	}
	return body, fmt.Sprintf("%d bits of %d bytes flipped", bits, len(body))
}

// cut has only its beginning.
func cut(rng *rand.Rand, body []byte) ([]byte, string) {
	left := rng.IntN(len(body))
	return body[:left], fmt.Sprintf("%d of %d bytes left", left, len(body))
}

func (d *damage) String() string {
	end := "killed"
	if d.stopped {
		end = "stopped"
	}
	return fmt.Sprintf("node %d, %s, %s: %s", d.node, end, d.file, d.what)
}

// bulk fills more than one block of two streams, with messages that are no events: in a stream of one block everything
// after a damage is the end, which a node has to get again anyway.
func (w *world) bulk() {
	w.t.Helper()
	const large = 12
	for range large {
		w.put(subject(events.DeprovisionRequestedSubject, "globex", "hr"), &nats.Msg{Data: make([]byte, 900<<10)})
	}
	w.letters += large
	w.Await(syncLimit, "every dead letter is stored", func() bool { return len(w.deadLetters()) >= w.letters })
}

// survive is a round through a damage, with all that has to be looked at.
func (w *world) survive(d *damage) {
	w.t.Helper()
	before := w.confirmed()
	asked := w.strikeAtWork(func() { w.damageNode(d) })
	struck := time.Now()
	o := w.Outcome(asked) // an answer, and perhaps that it failed
	settled := w.within(layoffLimit/5, w.over)
	took := time.Since(struck)
	holes := w.compare(d, before)
	w.t.Logf("%s: answered %s (%s), all settled %t, %s after it; %d messages differ", d, o.Outcome, o.Reason, settled, took.Round(time.Millisecond), holes)
	if holes > 0 {
		w.renew(d.node)
		if holes := w.compare(d, before); holes > 0 {
			w.t.Errorf("%s: with its data thrown away %d messages of its copies differ still", d, holes)
		}
	}
	w.Await(layoffLimit, "every request is settled", w.over)
	w.wantDone(w.Sync("acme"))
	w.wantSame("acme")
}

// damageNode stops a node, damages a file and starts it again. It returns when the node has caught up, or had its time.
func (w *world) damageNode(d *damage) {
	w.t.Helper()
	if d.stopped {
		w.cluster.nodes[d.node].terminate(w.t)
	} else {
		w.cluster.nodes[d.node].kill()
	}
	w.spoil(d)
	w.cluster.nodes[d.node].start(w.t)
	if !w.within(leadLimit, func() bool { return w.caughtUp(d.node) }) {
		w.t.Logf("%s: it has not caught up within %s", d, leadLimit)
	}
}

// spoil draws a file that has something in it, of any stream of ours.
func (w *world) spoil(d *damage) {
	w.t.Helper()
	root := filepath.Join(w.cluster.nodes[d.node].dir, "jetstream", "$G", "streams")
	all, err := filepath.Glob(filepath.Join(root, "*", "msgs", d.files))
	if err != nil {
		w.t.Fatal(err)
	}
	files := slices.DeleteFunc(all, func(file string) bool {
		info, err := os.Stat(file)
		return err != nil || info.Size() == 0
	})
	if len(files) == 0 {
		w.t.Fatalf("node %d has no %s in %s", d.node, d.files, root)
	}
	file := files[w.rng.IntN(len(files))]
	body, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	body, d.what = d.spoil(w.rng, body)
	if err := os.WriteFile(file, body, 0o600); err != nil {
		w.t.Fatal(err)
	}
	d.file, _ = filepath.Rel(root, file)
	d.stream, _, _ = strings.Cut(d.file, string(filepath.Separator))
}

// renew throws a node's data away and lets it copy everything from the others.
func (w *world) renew(i int) {
	w.t.Helper()
	w.cluster.nodes[i].terminate(w.t)
	if err := os.RemoveAll(filepath.Join(w.cluster.nodes[i].dir, "jetstream")); err != nil {
		w.t.Fatal(err)
	}
	w.cluster.nodes[i].start(w.t)
	w.awaitCopies(i)
}

// compare looks at what each node has of the streams, the damaged one last, and returns in how many messages its copies
// differ from the others'.
func (w *world) compare(d *damage, before map[string]replica) (holes int) {
	w.t.Helper()
	w.Quiet()
	for _, stream := range slices.Compact(slices.Sorted(slices.Values(append([]string{d.stream}, remembered...)))) {
		var whole replica
		for k := 1; k < nodes; k++ {
			i := (d.node + k) % nodes
			whole = w.replicaOn(stream, i)
			if n := before[stream].differs(whole); n > 0 {
				found.violation(w.t, conservation, "%s: %d confirmed messages of %s are gone or other on node %d", d, n, stream, i)
			}
		}
		found.tests(conservation, len(before[stream].messages))
		holes += w.compareDamaged(d, stream, whole)
	}
	return holes
}

// compareDamaged lets the damaged node lead and compares its copy with a whole one. Who does not lead says enough.
func (w *world) compareDamaged(d *damage, stream string, whole replica) int {
	w.t.Helper()
	if !w.within(leadLimit, w.leads(stream, d.node)) {
		w.t.Logf("%s: it does not lead %s", d, stream)
		return 0
	}
	copied := w.replicaOn(stream, d.node)
	n := whole.differs(copied) + copied.differs(whole)
	if n == 0 {
		return 0
	}
	var said []string
	for _, line := range w.cluster.nodes[d.node].log.complaints() {
		if strings.Contains(line, stream) && !strings.Contains(line, "Healthcheck") {
			said = append(said, line)
		}
	}
	found.servedDamaged(rowDamage, n)
	w.t.Logf("%s: it leads %s, says it is healthy: %t, and has %d of %d messages; %d differ. Its log of it: %q",
		d, stream, w.cluster.nodes[d.node].healthy(), len(copied.messages), len(whole.messages), n, said)
	return n
}

// leads is a condition that works on its coming true: it asks whoever leads to step down for the node.
func (w *world) leads(stream string, i int) func() bool {
	var asked time.Time
	return func() bool {
		leader := w.leader(stream)
		if leader >= 0 && leader != i && time.Since(asked) > time.Second {
			asked = time.Now()
			order := fmt.Appendf(nil, `{"placement":{"preferred":%q}}`, w.cluster.nodes[i].name)
			_, _ = w.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, order, 2*time.Second) // what came of it is looked at
		}
		return leader == i
	}
}

// within is Await for what need not come.
func (w *world) within(limit time.Duration, condition func() bool) (came bool) {
	w.t.Helper()
	began := time.Now()
	w.Await(2*limit, "a condition that need not come, or its time", func() bool {
		came = condition()
		return came || time.Since(began) > limit
	})
	return came
}

// replica is what a server has of a stream, by sequence.
type replica struct {
	// keyed says that a message goes when another one with its subject comes.
	keyed    bool
	messages map[uint64]content
}

// content is a message's subject, and the hash of its header and data.
type content struct {
	subject string
	sum     [sha256.Size]byte
}

// differs is how many messages are not there, or others, in what is the same stream now.
func (r replica) differs(now replica) int { return len(r.lost(now)) }

// lost are the messages that are not there, or others, in what is the same stream now: by sequence and subject.
func (r replica) lost(now replica) (lost []string) {
	newest := map[string]uint64{}
	for sequence, m := range now.messages {
		newest[m.subject] = max(newest[m.subject], sequence)
	}
	for sequence, m := range r.messages {
		is, ok := now.messages[sequence]
		replaced := !ok && r.keyed && newest[m.subject] > sequence
		if is != m && !replaced {
			lost = append(lost, fmt.Sprintf("%d %s (now %q, newest %d)", sequence, m.subject, is.subject, newest[m.subject]))
		}
	}
	return lost
}

// confirmed is what the streams hold in which nothing may be missing afterwards.
func (w *world) confirmed() map[string]replica {
	w.t.Helper()
	all := map[string]replica{}
	for _, stream := range remembered {
		all[stream] = w.replica(stream)
	}
	return all
}

// replica reads a stream as its leader has it.
func (w *world) replica(stream string) (r replica) {
	w.t.Helper()
	w.Await(startLimit, stream+" is read from its leader", func() (ok bool) {
		r, ok = w.readReplica(stream)
		return ok
	})
	return r
}

// replicaOn reads a stream as a node has it, which leads from the beginning of the reading to its end.
func (w *world) replicaOn(stream string, i int) (r replica) {
	w.t.Helper()
	leads := w.leads(stream, i)
	w.Await(startLimit, fmt.Sprintf("%s is read from node %d, its leader", stream, i), func() (ok bool) {
		if !leads() {
			return false
		}
		r, ok = w.readReplica(stream)
		return ok && w.leader(stream) == i
	})
	return r
}

func (w *world) readReplica(stream string) (r replica, ok bool) {
	info, ok := w.state(stream)
	if !ok {
		return r, false
	}
	r = replica{keyed: info.Config.MaxMsgsPerSubject == 1, messages: map[uint64]content{}}
	for sequence, last := info.State.FirstSeq, info.State.LastSeq; sequence <= last; sequence++ {
		m, there, err := w.message(stream, sequence)
		if err != nil {
			return r, false
		}
		if there {
			r.messages[sequence] = m
		}
		if sequence < last {
			continue
		}
		if info, ok = w.state(stream); !ok { // what replaced a message before it was read comes behind it
			return r, false
		}
		last = info.State.LastSeq
	}
	return r, true
}

// message asks for one by the request that only the leader answers; any replica may answer the library's. Whatever the
// server does not find is not there; any other error is about the asking.
func (w *world) message(stream string, sequence uint64) (m content, there bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resp, err := w.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+stream, fmt.Appendf(nil, `{"seq":%d}`, sequence))
	if err != nil {
		return m, false, err
	}
	var answer struct {
		Message *struct {
			Subject string `json:"subject"`
			Header  []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
		Error struct{ Code int } `json:"error"`
	}
	if err := json.Unmarshal(resp.Data, &answer); err != nil {
		return m, false, err
	}
	if answer.Message == nil {
		if answer.Error.Code == 503 {
			err = fmt.Errorf("get message %d of %s: %s", sequence, stream, resp.Data)
		}
		return m, false, err
	}
	return content{answer.Message.Subject, sha256.Sum256(slices.Concat(answer.Message.Header, []byte{0}, answer.Message.Data))}, true, nil
}
