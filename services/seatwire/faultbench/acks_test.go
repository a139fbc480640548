package faultbench

import (
	"bufio"
	"bytes"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/streams"
)

// TestAcks_lostLateAndDoubled strikes every tenth acknowledgement between the services and the broker, those of messages
// as well as those of what was stored: it is lost, or held back for up to longer than the ack wait, or comes twice.
func TestAcks_lostLateAndDoubled(t *testing.T) {
	t.Parallel()
	if *chaos == 0 {
		t.Skip("each lost acknowledgement costs an ack wait: make chaos")
	}
	faults := &ackFaults{rng: rand.New(rand.NewPCG(*seed, 860))}
	w := startWorld(t, draw(t, 860), Options{
		People: 200, PageSize: 20, BatchSize: 20, MaxDeliveries: 30, Link: faults.speak, // in a row they are no poison
	})
	for range passes(6) {
		faults.set(0.1 / 3)
		w.round(w.pass)
	}
	faults.set(0)
	lost, late, twice := faults.counts()
	t.Logf("%d acknowledgements lost, %d late, %d twice", lost, late, twice)
	found.fault(rowAcks, lost+late+twice)
	if lost == 0 || late == 0 || twice == 0 {
		t.Error("a kind of fault never struck, so nothing was shown")
	}
	w.judge()
}

// ackFaults are what happens to acknowledgements on their way.
type ackFaults struct {
	mu                sync.Mutex
	rng               *rand.Rand
	chance            float64
	lost, late, twice int
}

// set says how likely each of the three is.
func (a *ackFaults) set(chance float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.chance = chance
}

func (a *ackFaults) counts() (lost, late, twice int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost, a.late, a.twice
}

// fate draws what becomes of an acknowledgement: how often it arrives, and after what time.
func (a *ackFaults) fate() (times int, after time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch drawn := a.rng.Float64(); {
	case drawn < a.chance:
		a.lost++
		return 0, 0
	case drawn < 2*a.chance:
		a.late++
		return 1, time.Duration(a.rng.Int64N(int64(streams.AckWait * 4 / 3)))
	case drawn < 3*a.chance:
		a.twice++
		return 2, 0
	default:
		return 1, 0
	}
}

// speak passes the frames of one direction of a connection on, and acknowledgements as fate wills.
func (a *ackFaults) speak(to io.Writer, from io.Reader) {
	out, in := &frames{to: to}, bufio.NewReader(from)
	for {
		frame, ack, err := readFrame(in)
		if err != nil {
			return
		}
		times, after := 1, time.Duration(0)
		if ack {
			times, after = a.fate()
		}
		if after > 0 {
			time.AfterFunc(after, func() { _ = out.write(frame) }) // into a closed connection, perhaps
			continue
		}
		for range times {
			if out.write(frame) != nil {
				return
			}
		}
	}
}

// frames are written whole, whoever writes.
type frames struct {
	mu sync.Mutex
	to io.Writer
}

func (f *frames) write(frame []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.to.Write(frame)
	return err
}

// readFrame reads one operation of the NATS protocol, with its payload, and says whether it acknowledges something: a
// client a message that it was given, or the server a message that it stored.
func readFrame(in *bufio.Reader) (frame []byte, ack bool, err error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, false, err
	}
	fields := strings.Fields(string(line))
	if len(fields) < 3 {
		return line, false, nil
	}
	kind := strings.ToUpper(fields[0])
	switch kind {
	case "PUB", "HPUB", "MSG", "HMSG":
	default:
		return line, false, nil
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return nil, false, err
	}
	payload := make([]byte, size+len("\r\n"))
	if _, err := io.ReadFull(in, payload); err != nil {
		return nil, false, err
	}
	settles := kind == "PUB" && strings.HasPrefix(fields[1], "$JS.ACK.")
	stored := kind == "MSG" && bytes.HasPrefix(payload, []byte(`{"stream":`)) && bytes.Contains(payload, []byte(`"seq":`))
	return append(line, payload...), settles || stored, nil
}
