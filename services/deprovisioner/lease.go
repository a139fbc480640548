package deprovisioner

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/streams"
)

const (
	// beatEvery is how often a replica says that it lives.
	beatEvery = 2 * time.Second
	// leaseTime is how long a silent replica keeps its lanes. The contract gives 20 s for a take-over, loading included.
	leaseTime = 10 * time.Second
	// laneEvery is how often a replica thinks of a lane that it does not have, and lookEvery how often it asks the broker
	// although somebody alive has it: a thousand lanes that each replica looks at every second are a load of their own.
	laneEvery = time.Second
	lookEvery = 5 * time.Second
	// sendWindow is how old the save of "sending" may be when its bytes leave. It is well below leaseTime, so a replica
	// that was frozen in between finds itself late before somebody else can be at work. One residual race remains and
	// is known: frozen after this check and before the system call.
	sendWindow = 4 * time.Second
)

// beats tells which replicas live, by hearing them, and which lanes they gave back. Only local monotonic time is
// compared, never two machines' clocks.
type beats struct {
	nc      *nats.Conn
	replica string
	started time.Time

	mu    sync.Mutex
	heard map[string]time.Time
	free  map[string]bool // connections
}

func newBeats(nc *nats.Conn, replica string) *beats {
	return &beats{nc: nc, replica: replica, started: time.Now(), heard: map[string]time.Time{}, free: map[string]bool{}}
}

// run beats and listens until ctx ends.
func (b *beats) run(ctx context.Context) error {
	sub, err := b.nc.Subscribe(events.Subject(streams.BeatSubject, "*"), b.hear)
	if err != nil {
		return fault.New(fault.Transient, "beats-unheard", "listen to the other replicas").Because(err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone already
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		// A beat that is not sent is a silence like any other: while the broker is away, nobody can write either.
		_ = b.nc.Publish(events.Subject(streams.BeatSubject, b.replica), nil)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (b *beats) hear(msg *nats.Msg) {
	tokens := events.Tokens(streams.BeatSubject, msg.Subject)
	if len(tokens) != 1 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard[tokens[0]] = time.Now()
	if connection := string(msg.Data); events.LegalName(connection) {
		b.free[connection] = true
	}
	for replica, at := range b.heard { // replicas come and go; the map must not grow with them
		if time.Since(at) > 10*leaseTime {
			delete(b.heard, replica)
		}
	}
}

// alive reports whether a replica may still be at work. One that was never heard is given a lease from our own start:
// we may just not have listened long enough.
func (b *beats) alive(replica string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	last, ok := b.heard[replica]
	if !ok {
		last = b.started
	}
	return time.Since(last) < leaseTime
}

// tellFree tells the other replicas to look at a lane. It is a hint: unheard, they look lookEvery later.
func (b *beats) tellFree(connection string) {
	_ = b.nc.Publish(events.Subject(streams.BeatSubject, b.replica), []byte(connection))
}

// worthALook reports whether a lane may be free, although holder had it when it was last asked for.
func (b *beats) worthALook(connection, holder string, asked time.Time) bool {
	b.mu.Lock()
	free := b.free[connection]
	delete(b.free, connection)
	b.mu.Unlock()
	return free || holder == "" || !b.alive(holder) || time.Since(asked) >= lookEvery
}

// holder is the lane's document: which replica works on the connection. An empty name is a lane that was handed back.
type holder struct {
	Replica string    `json:"replica"`
	Since   time.Time `json:"since"`
}

// claim takes the lane when nobody alive has it, and returns the fence to write under; 0 when somebody has it, and who
// that is as far as we know. Two claims at once are decided by the broker.
func claim(ctx context.Context, js jetstream.JetStream, connection string, b *beats, now time.Time) (fence uint64, by string, err error) {
	var h holder
	at, err := lastDocument(ctx, js, laneSubject(connection), &h)
	if err != nil {
		return 0, "", err
	}
	if at > 0 && h.Replica != "" && h.Replica != b.replica && b.alive(h.Replica) {
		return 0, h.Replica, nil
	}
	fence, err = writeHolder(ctx, js, connection, holder{Replica: b.replica, Since: now}, at)
	if isConflict(err) {
		return 0, "", nil
	}
	return fence, "", err
}

func writeHolder(ctx context.Context, js jetstream.JetStream, connection string, h holder, expected uint64) (uint64, error) {
	body, err := json.Marshal(h)
	if err != nil {
		return 0, fmt.Errorf("encode lane: %w", err)
	}
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: laneSubject(connection), Data: body}, jetstream.WithExpectLastSequencePerSubject(expected))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// handBack frees the lane for the other replicas at once. When it fails they take it after leaseTime.
func handBack(ctx context.Context, js jetstream.JetStream, connection string, fence uint64, now time.Time) error {
	_, err := writeHolder(ctx, js, connection, holder{Since: now}, fence)
	return err
}
