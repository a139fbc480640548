package bus

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// The broker ends an unanswered pull after pullExpiry at the latest, and says every pullHeartbeat that it still knows
	// it. Two silences in a row mean that it does not, as after the loss of a leader.
	pullExpiry    = 15 * time.Second
	pullHeartbeat = 3 * time.Second
	// pullBuffer is for the one message of a pull and the heartbeats that come meanwhile.
	pullBuffer = 8
)

// puller asks a consumer for one message at a time.
//
// Why not Consume or Fetch of the client library: both take a message for a status line when its body is empty and it
// has a header named Status, so a foreign producer could block a lane with one message. Consume with one message at a
// time can also lose its wake-up and then rests until the next missed heartbeat. And Fetch drops what the broker has
// sent when it is cancelled, which then waits a whole ack wait for the next replica.
type puller struct {
	conn    *Conn
	subject string

	inbox *nats.Subscription // nil: none open
	lines chan *nats.Msg
}

func newPuller(conn *Conn, stream, durable string) *puller {
	return &puller{conn: conn, subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, durable)}
}

// pullRequest asks for one message, for a time that chance decides: the broker serves the oldest pull first, and with
// equal times the replica that started first would be the first at every lane, for ever.
func pullRequest() []byte {
	request, err := json.Marshal(map[string]any{
		"batch": 1, "expires": pullExpiry/2 + rand.N(pullExpiry/2), "idle_heartbeat": pullHeartbeat,
	})
	if err != nil {
		panic(err) // numbers
	}
	return request
}

// Ends of a pull without a message.
var (
	// errNoMessage: there was none for pullExpiry, or we were told to stop; nothing is wrong.
	errNoMessage = errors.New("no message")
	// errPullFailed: the consumer may be gone, or only its leader.
	errPullFailed = errors.New("pull failed")
)

// next returns one message, or errNoMessage, or what is wrong. Whatever the end, no message stays behind: one that
// comes after all is given back.
func (p *puller) next(stopping <-chan struct{}) (*nats.Msg, error) {
	changed := p.conn.changed.wait()
	if err := p.ask(); err != nil {
		return nil, fmt.Errorf("%w: %w", errPullFailed, err)
	}
	silence := time.NewTimer(2 * pullHeartbeat)
	defer silence.Stop()
	for {
		select {
		case line := <-p.lines:
			switch {
			case isDelivery(line):
				return line, nil // the pull is answered; the inbox serves the next one
			case line.Header.Get("Status") == "100":
				silence.Reset(2 * pullHeartbeat)
			default:
				return nil, p.ended(line)
			}
		case <-silence.C:
			p.close()
			return nil, fmt.Errorf("%w: silence", errPullFailed)
		case <-changed: // the broker may have forgotten the pull, or kept it: start afresh
			p.close()
			return nil, errNoMessage
		case <-stopping:
			p.close()
			return nil, errNoMessage
		}
	}
}

func (p *puller) ask() error {
	if p.inbox == nil {
		p.lines = make(chan *nats.Msg, pullBuffer)
		inbox, err := p.conn.consume.ChanSubscribe(p.conn.consume.NewInbox(), p.lines)
		if err != nil {
			return err
		}
		p.inbox = inbox
	}
	if err := p.conn.consume.PublishRequest(p.subject, p.inbox.Subject, pullRequest()); err != nil {
		p.close()
		return err
	}
	return nil
}

// ended reads the status line that ended a pull.
func (p *puller) ended(line *nats.Msg) error {
	if line.Header.Get("Status") == "408" { // expired, as agreed
		return errNoMessage
	}
	p.close()
	return fmt.Errorf("%w: status %s", errPullFailed, line.Header.Get("Status"))
}

// close ends the interest in the inbox and gives back what the broker sent before it knew. Without a connection there
// is nothing to wait for: the pull died with it.
func (p *puller) close() {
	if p.inbox == nil {
		return
	}
	inbox := p.inbox
	p.inbox = nil
	gone := make(chan struct{})
	closed := sync.OnceFunc(func() { close(gone) }) // a connection that goes down meanwhile says it twice
	inbox.SetClosedHandler(func(string) { closed() })
	if !p.conn.consume.IsConnected() || inbox.Drain() != nil {
		_ = inbox.Unsubscribe() // fails only when there is nothing left to unsubscribe
		return
	}
	limit := time.NewTimer(drainTimeout)
	defer limit.Stop()
	for {
		select {
		case line := <-p.lines:
			p.giveBack(line)
		case <-gone:
			for len(p.lines) > 0 {
				p.giveBack(<-p.lines)
			}
			return
		case <-limit.C:
			return
		}
	}
}

func (p *puller) giveBack(line *nats.Msg) {
	if isDelivery(line) {
		giveBack(p.conn, line)
	}
}

// giveBack lets another replica have at once what this one never began.
func giveBack(c *Conn, m *nats.Msg) {
	_ = c.consume.Publish(m.Reply, nak(0)) // failing, it comes back by the ack wait
}

// isDelivery tells messages from status lines by what a producer cannot choose: only the broker sets the reply.
func isDelivery(m *nats.Msg) bool { return strings.HasPrefix(m.Reply, "$JS.ACK.") }

func nak(delay time.Duration) []byte {
	if delay <= 0 {
		return []byte("-NAK")
	}
	return fmt.Appendf(nil, `-NAK {"delay": %d}`, delay.Nanoseconds())
}
