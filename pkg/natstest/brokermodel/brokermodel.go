// Package brokermodel is what we believe of a JetStream stream and of a pull consumer, as plain data on a given clock:
// the broker of the simulations. The same random sequences of commands are given to it and to a real server
// (model_test.go), and both must answer alike; a model that is not checked against the real thing proves nothing.
package brokermodel

import (
	"errors"
	"slices"
	"time"
)

// Errors of Publish, as the server tells them apart.
var (
	ErrWrongLast = errors.New("the subject's last sequence is another one") // 10071, 10164
	ErrKeyExists = errors.New("the subject has its one message already")    // 10077
	ErrFull      = errors.New("the stream is full")                         // 10077 too, in other words
)

// StreamConfig is the part of a stream's configuration that the model knows.
type StreamConfig struct {
	// Duplicates is for how long a message id is remembered.
	Duplicates time.Duration
	// MaxMsgs is how many messages fit; 0 means any number. What does not fit is refused (discard new).
	MaxMsgs int
	// PerSubject is how many messages a subject keeps; 0 means any number.
	PerSubject int
	// Keyed refuses a message too many on a subject, instead of dropping the subject's oldest.
	Keyed bool
}

// Message is one stored message.
type Message struct {
	Sequence    uint64
	Subject, ID string
	Header      map[string][]string
	Body        []byte
	At          time.Time
}

// Stream is the messages of a stream, oldest first.
type Stream struct {
	cfg  StreamConfig
	msgs []Message
	last uint64
	seen map[string]seen
}

type seen struct {
	sequence uint64
	at       time.Time
}

// NewStream returns an empty stream.
func NewStream(cfg StreamConfig) *Stream { return &Stream{cfg: cfg, seen: map[string]seen{}} }

// Last is the sequence of the newest message that was ever stored.
func (s *Stream) Last() uint64 { return s.last }

// Messages are those stored now; do not change them.
func (s *Stream) Messages() []Message { return s.msgs }

// Newest returns the newest message on a subject.
func (s *Stream) Newest(subject string) (Message, bool) {
	for _, m := range slices.Backward(s.msgs) {
		if m.Subject == subject {
			return m, true
		}
	}
	return Message{}, false
}

// Publish stores a message, or finds that its id was stored a moment ago. expect, when it is not nil, is what the
// subject's newest message must be, 0 for none.
func (s *Stream) Publish(now time.Time, m Message, expect *uint64) (sequence uint64, duplicate bool, err error) {
	// The condition is looked at first: a conditional write that is repeated fails by its own success.
	if newest, _ := s.Newest(m.Subject); expect != nil && *expect != newest.Sequence {
		return 0, false, ErrWrongLast
	}
	if before, again := s.seen[m.ID]; again && m.ID != "" && now.Sub(before.at) < s.cfg.Duplicates {
		return before.sequence, true, nil
	}
	onSubject := s.count(m.Subject)
	switch {
	case s.cfg.Keyed && s.cfg.PerSubject > 0 && onSubject >= s.cfg.PerSubject:
		return 0, false, ErrKeyExists
	case s.cfg.MaxMsgs > 0 && len(s.msgs) >= s.cfg.MaxMsgs && (s.cfg.PerSubject == 0 || onSubject < s.cfg.PerSubject):
		return 0, false, ErrFull
	}
	s.last++
	m.Sequence, m.At = s.last, now
	if m.ID != "" {
		s.seen[m.ID] = seen{s.last, now}
	}
	s.msgs = append(s.msgs, m)
	if s.cfg.PerSubject > 0 && onSubject >= s.cfg.PerSubject {
		oldest := slices.IndexFunc(s.msgs, func(o Message) bool { return o.Subject == m.Subject })
		s.msgs = slices.Delete(s.msgs, oldest, oldest+1)
	}
	return s.last, false, nil
}

// Purge removes what matches.
func (s *Stream) Purge(matches func(Message) bool) { s.msgs = slices.DeleteFunc(s.msgs, matches) }

func (s *Stream) count(subject string) (n int) {
	for _, m := range s.msgs {
		if m.Subject == subject {
			n++
		}
	}
	return n
}

func (s *Stream) at(sequence uint64) (Message, bool) {
	i, found := slices.BinarySearchFunc(s.msgs, sequence, func(m Message, q uint64) int { return int(m.Sequence) - int(q) })
	if !found {
		return Message{}, false
	}
	return s.msgs[i], true
}

// ConsumerConfig is the part of a durable pull consumer's configuration that the model knows. Acknowledgements are
// explicit.
type ConsumerConfig struct {
	AckWait       time.Duration
	MaxDeliver    int // -1 or 0: unlimited
	MaxAckPending int // 0: unlimited
}

// Delivery is one message handed out.
type Delivery struct {
	Message
	// Delivered counts the deliveries of this message, this one included.
	Delivered int
}

// Consumer is a durable with everything that any number of clients hold of it.
type Consumer struct {
	stream  *Stream
	cfg     ConsumerConfig
	next    uint64 // the first sequence that was never delivered
	pending map[uint64]*pending
	counts  map[uint64]int
	// again are messages to be delivered again, in that order.
	again []uint64
}

// pending is a delivery without its acknowledgement. due is when it comes again.
type pending struct{ due time.Time }

// NewConsumer returns one that begins at the stream's first message.
func NewConsumer(s *Stream, cfg ConsumerConfig) *Consumer {
	return &Consumer{stream: s, cfg: cfg, next: 1, pending: map[uint64]*pending{}, counts: map[uint64]int{}}
}

// Pull hands out one message: one that was given back or not acknowledged in time, or the next new one.
func (c *Consumer) Pull(now time.Time) (Delivery, bool) {
	c.forget()
	c.expire(now)
	for len(c.again) > 0 {
		sequence := c.again[0]
		c.again = c.again[1:]
		m, stored := c.stream.at(sequence)
		if !stored || c.cfg.MaxDeliver > 0 && c.counts[sequence] >= c.cfg.MaxDeliver {
			delete(c.pending, sequence) // nobody hears of it again
			continue
		}
		return c.deliver(m, now), true
	}
	if c.cfg.MaxAckPending > 0 && len(c.pending) >= c.cfg.MaxAckPending {
		return Delivery{}, false
	}
	for ; c.next <= c.stream.last; c.next++ {
		if m, stored := c.stream.at(c.next); stored {
			c.next++
			return c.deliver(m, now), true
		}
	}
	return Delivery{}, false
}

func (c *Consumer) deliver(m Message, now time.Time) Delivery {
	c.counts[m.Sequence]++
	c.pending[m.Sequence] = &pending{now.Add(c.cfg.AckWait)}
	return Delivery{m, c.counts[m.Sequence]}
}

// forget ends what is out and not stored any more.
func (c *Consumer) forget() {
	for sequence := range c.pending {
		if _, stored := c.stream.at(sequence); !stored {
			c.Ack(sequence)
		}
	}
}

// expire queues what was not acknowledged in time.
func (c *Consumer) expire(now time.Time) {
	var due []uint64
	for sequence, p := range c.pending {
		if !p.due.After(now) && !slices.Contains(c.again, sequence) {
			due = append(due, sequence)
		}
	}
	slices.Sort(due)
	c.again = append(c.again, due...)
}

// Ack ends a message, by its sequence alone: also when it is long since somebody else's.
func (c *Consumer) Ack(sequence uint64) {
	delete(c.pending, sequence)
	c.again = slices.DeleteFunc(c.again, func(q uint64) bool { return q == sequence })
}

// Nak gives a message back, to come again after the delay.
func (c *Consumer) Nak(sequence uint64, delay time.Duration, now time.Time) {
	p, ours := c.pending[sequence]
	switch {
	case !ours:
	case delay > 0:
		p.due = now.Add(delay)
	case !slices.Contains(c.again, sequence):
		c.again = append(c.again, sequence)
	}
}

// InProgress lets a delivery wait another AckWait.
func (c *Consumer) InProgress(sequence uint64, now time.Time) {
	if p, ours := c.pending[sequence]; ours {
		p.due = now.Add(c.cfg.AckWait)
	}
}

// Delivered is how often a message was handed out.
func (c *Consumer) Delivered(sequence uint64) int { return c.counts[sequence] }

// Pending is how many messages are out.
func (c *Consumer) Pending() int {
	c.forget()
	return len(c.pending)
}

// Next is when the first message that is out comes again; zero when none is out.
func (c *Consumer) Next() (at time.Time) {
	for _, p := range c.pending {
		if at.IsZero() || p.due.Before(at) {
			at = p.due
		}
	}
	return at
}

// Quiet reports whether everything is delivered and acknowledged.
func (c *Consumer) Quiet() bool { return c.Pending() == 0 && c.next > c.stream.last }
