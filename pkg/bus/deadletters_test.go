package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

// FuzzDeadLetter: whatever was published is kept with its body and headers, can be read by whoever reads dead letters,
// and does not show the cause of its end.
func FuzzDeadLetter(f *testing.F) {
	f.Add("w.acme", "ce-id", "1", "Content-Type", "application/json", []byte(`{"email":"ada@example.com"}`))
	f.Add("w.acme", "Status", "404", "Description", "EOB", []byte{})
	f.Add("w.No_Name", "Status", "204", "Status", "503", []byte("body"))
	f.Add("w.x", HeaderDeadReason, "forged", "Nats-Rollup", "all", []byte{0xff})
	f.Add("w.y", "nats-msg-id", "same", "Nats-Sequence", "1", []byte(""))
	f.Add("w.z", OriginalPrefix+"Nats-TTL", "1s", "Nats-TTL", "2s", []byte("x"))
	server := natstest.Run(f)
	js := server.JetStream(f)
	for name, subject := range map[string]string{"W": "w.>", streams.DeadLetters: events.DeadLetterSubject + ".>"} {
		_, err := js.CreateStream(f.Context(), jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, MaxMsgs: 100, Storage: jetstream.MemoryStorage, AllowMsgTTL: true,
			AllowDirect: name != "W", // the original is asked for in the way that no header can disturb
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	letters := NewDeadLetters(NewPublisher(dialTest(f, server)), "tester", connectionOf)
	f.Fuzz(func(t *testing.T, subject, name, value, other, otherValue string, body []byte) {
		d, stored := original(t, js, &nats.Msg{Subject: subject, Header: nats.Header{name: {value, otherValue}, other: {otherValue}}, Data: body})
		if !stored {
			return
		}
		cause := fault.New(fault.Permanent, "no-good", "no good").Because(errors.New("canary@example.com"))
		if err := letters.Put(t.Context(), d, body, ReasonRejected, cause); err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		checkDeadLetter(t, readLast(t, js), d, body)
	})
}

// original publishes a message and returns it as a handler would get it; false when the broker does not take it.
func original(t *testing.T, js jetstream.JetStream, msg *nats.Msg) (Delivery, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if !strings.HasPrefix(msg.Subject, "w.") || len(msg.Subject) > 200 || len(msg.Data) > events.MaxBody {
		return Delivery{}, false
	}
	ack, err := js.PublishMsg(ctx, msg)
	if err != nil || ack.Duplicate {
		return Delivery{}, false
	}
	stream, err := js.Stream(ctx, "W")
	if err != nil {
		t.Fatal(err)
	}
	kept, err := stream.GetMsg(ctx, ack.Sequence)
	if err != nil {
		return Delivery{}, false // its own headers took it away again
	}
	return Delivery{
		Stream: "W", Consumer: "d", Subject: kept.Subject, Sequence: kept.Sequence, Delivered: 1, Time: kept.Time, Header: kept.Header,
	}, true
}

// readLast is the newest dead letter, read from the one before it as an operator's listing would.
func readLast(t *testing.T, js jetstream.JetStream) (last *jetstream.RawStreamMsg) {
	t.Helper()
	stream, err := js.Stream(t.Context(), streams.DeadLetters)
	if err != nil {
		t.Fatal(err)
	}
	state := stream.CachedInfo().State
	for msg, err := range streams.Read(t.Context(), js, streams.DeadLetters, events.DeadLetterSubject+".*.*", max(state.LastSeq, 2)-1) {
		if err != nil {
			t.Fatal(err)
		}
		last = msg
	}
	if last == nil || last.Sequence != state.LastSeq {
		t.Fatalf("read as far as %+v, of %d", last, state.LastSeq)
	}
	return last
}

func checkDeadLetter(t *testing.T, got *jetstream.RawStreamMsg, d Delivery, body []byte) {
	t.Helper()
	if string(got.Data) != string(body) || got.Header.Get(HeaderDeadSubject) != d.Subject {
		t.Fatalf("%q of %s became %q of %s", body, d.Subject, got.Data, got.Header.Get(HeaderDeadSubject))
	}
	if reason := got.Header[HeaderDeadReason]; len(reason) != 1 || reason[0] != ReasonRejected {
		t.Fatalf("reason %q", reason)
	}
	if text := got.Header.Get(HeaderDeadError); text != "no-good: no good" {
		t.Fatalf("error %q", text)
	}
	if _, err := time.Parse(time.RFC3339, got.Header.Get(HeaderDeadAt)); err != nil {
		t.Fatal(err)
	}
	for name, values := range d.Header {
		kept, renamed := got.Header[name], got.Header[OriginalPrefix+name]
		switch {
		case strings.HasPrefix(name, "Seatwire-"): // ours, or in the way of ours
		case strings.HasPrefix(name, reserved) || name == statusHeader && len(body) == 0:
			if len(renamed) < len(values) {
				t.Fatalf("%s %q became %q", name, values, renamed)
			}
		default:
			if diff := cmp.Diff(values, kept, cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("%s: %s", name, diff)
			}
		}
	}
}
