package streams_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/streams"
)

// filled is a stream with n messages on s.even and s.odd in turn; the first is even, number 0.
func filled(t *testing.T, n int) jetstream.JetStream {
	t.Helper()
	js := natstest.Run(t).JetStream(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := js.PublishAsync([]string{"s.even", "s.odd"}[i%2], fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(20 * time.Second):
		t.Fatal("not stored")
	}
	return js
}

func read(t *testing.T, js jetstream.JetStream, filter string, sequence uint64) (got []string) {
	t.Helper()
	for msg, err := range streams.Read(t.Context(), js, "S", filter, sequence) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(msg.Data))
	}
	return got
}

func TestRead(t *testing.T) {
	t.Parallel()
	const n = 200 // several batches of 64
	js := filled(t, n)
	for name, tt := range map[string]struct {
		filter       string
		sequence     uint64
		first, count int
		step         int
	}{
		"everything":          {"s.*", 1, 0, n, 1},
		"from nothing":        {"s.*", 0, 0, n, 1},
		"one subject":         {"s.odd", 1, 1, n / 2, 2},
		"from the middle":     {"s.*", 101, 100, n - 100, 1},
		"the last one":        {"s.*", n, n - 1, 1, 1},
		"a batch and no more": {"s.*", n - 63, n - 64, 64, 1},
		"beyond the end":      {"s.*", n + 1, 0, 0, 1},
		"a subject of nobody": {"s.none", 1, 0, 0, 1},
		"the subject's batch": {"s.even", n - 127, n - 128, 64, 2},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, js, tt.filter, tt.sequence)
			if len(got) != tt.count {
				t.Fatalf("%d messages, want %d", len(got), tt.count)
			}
			for i, body := range got {
				if want := fmt.Sprint(tt.first + i*tt.step); body != want {
					t.Fatalf("message %d is %s, want %s", i, body, want)
				}
			}
		})
	}
	t.Run("large messages are read all the same", func(t *testing.T) {
		body := make([]byte, 900<<10)
		for range 6 {
			if _, err := js.Publish(t.Context(), "s.large", body); err != nil {
				t.Fatal(err)
			}
		}
		if got := read(t, js, "s.large", 1); len(got) != 6 {
			t.Errorf("%d of 6", len(got))
		}
	})
	t.Run("a reader may stop", func(t *testing.T) {
		for range streams.Read(t.Context(), js, "S", "s.*", 1) {
			break
		}
	})
	t.Run("counted", func(t *testing.T) {
		for filter, want := range map[string]int{"s.odd": n / 2, "s.none": 0} {
			if got, err := streams.Count(t.Context(), js, "S", filter); got != want || err != nil {
				t.Errorf("%s: %d, %v", filter, got, err)
			}
		}
	})
	t.Run("the last", func(t *testing.T) {
		msg, err := streams.At(js).Newest(t.Context(), "S", "s.even")
		if err != nil || string(msg.Data) != fmt.Sprint(n-2) {
			t.Errorf("%v, %v", msg, err)
		}
		if msg, err := streams.At(js).Newest(t.Context(), "S", "s.none"); msg != nil || err != nil {
			t.Errorf("%v, %v", msg, err)
		}
	})
}

func TestRead_ofAStreamThatIsNotThere(t *testing.T) {
	t.Parallel()
	js := natstest.Run(t).JetStream(t)
	failed := false
	for _, err := range streams.Read(t.Context(), js, "NOWHERE", ">", 1) {
		failed = failed || err != nil
	}
	if !failed {
		t.Error("read as an empty one")
	}
	if _, err := streams.Count(t.Context(), js, "NOWHERE", ">"); err == nil {
		t.Error("counted as an empty one")
	}
	if _, err := streams.At(js).Newest(t.Context(), "NOWHERE", ">"); err == nil {
		t.Error("its last is nothing")
	}
}

// silent is a broker that takes read requests for stream SILENT and never answers them.
func silent(t *testing.T) jetstream.JetStream {
	t.Helper()
	server := natstest.Run(t)
	deaf := server.Connect(t)
	if _, err := deaf.Subscribe("$JS.API.DIRECT.GET.SILENT", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := deaf.Flush(); err != nil {
		t.Fatal(err)
	}
	return server.JetStream(t)
}

// No answer is no end of a stream: taken for one, a roster would be cut short and requests would go unanswered.
func TestRead_takesNoAnswerForAnError(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	failed := false
	for _, err := range streams.Read(ctx, silent(t), "SILENT", ">", 1) {
		failed = failed || err != nil
	}
	if !failed {
		t.Error("a broker that does not answer reads as an empty stream")
	}
}

// Anybody may publish requests, with headers of any name, or none that can be read: none of them hides a message, or
// what is behind it.
func TestNext_believesNoHeaderOfAStranger(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"the end of an answer": "NATS/1.0 204 EOB\r\n\r\n",
		"in words":             "NATS/1.0\r\nStatus: 204\r\nDescription: EOB\r\n\r\n",
		"nothing found":        "NATS/1.0\r\nStatus: 404\r\n\r\n",
		"a sequence":           "NATS/1.0\r\nNats-Sequence: 1\r\n\r\n",
		"no sequence":          "NATS/1.0\r\nNats-Sequence: x\r\n\r\n",
		"a subject":            "NATS/1.0\r\nNats-Subject: s.none\r\nNats-Time-Stamp: now\r\nNats-Stream: \r\n\r\n",
		"what is pending":      "NATS/1.0\r\nNats-Num-Pending: \r\nNats-Last-Sequence: 7\r\n\r\n",
		"two ends":             "NATS/1.0\r\nNats-Sequence: 9\r\n\r\nA: b\r\n\r\n",
		"no header":            "NATS/1.0\r\nnone\r\n\r\n",
		"nothing at all":       "none",
	} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Run(t)
			js := server.JetStream(t)
			if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}, AllowDirect: true}); err != nil {
				t.Fatal(err)
			}
			publishRaw(t, server, "s.odd", header)
			if _, err := js.Publish(t.Context(), "s.even", []byte("2")); err != nil {
				t.Fatal(err)
			}
			for sequence, want := range []string{"s.odd", "s.odd", "s.even"} {
				msg, err := streams.Next(t.Context(), js, "S", "s.*", uint64(sequence))
				if err != nil || msg == nil || msg.Sequence != max(uint64(sequence), 1) || msg.Subject != want || msg.Time.IsZero() {
					t.Errorf("from %d on: %+v, %v", sequence, msg, err)
				}
			}
			if msg, err := streams.Next(t.Context(), js, "S", "s.*", 3); msg != nil || err != nil {
				t.Errorf("at the end: %+v, %v", msg, err)
			}
		})
	}
}

// publishRaw stores an empty message whose header is no client library's.
func publishRaw(t *testing.T, server *natstest.Server, subject, header string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "CONNECT {\"headers\":true}\r\nHPUB %s %d %[2]d\r\n%s\r\nPING\r\n", subject, len(header), header); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "PONG"; {
	}
}

func TestNext_ofAStreamThatIsNotThere(t *testing.T) {
	t.Parallel()
	if _, err := streams.Next(t.Context(), natstest.Run(t).JetStream(t), "NOWHERE", ">", 1); fault.ClassOf(err) != fault.Transient {
		t.Errorf("read as an empty one: %v", err)
	}
}

// A connection that breaks within an answer takes a part of it along; what comes on the next one is no longer whole.
func TestRead_noticesALostPartOfAnAnswer(t *testing.T) {
	t.Parallel()
	js := filled(t, 5)
	for name, lost := range map[string][]int{"the first": {0}, "one": {2}, "several": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			var got []uint64
			var failed error
			for msg, err := range streams.Read(t.Context(), lossy(t, js, lost), "S", "s.*", 1) {
				if failed = err; err == nil {
					got = append(got, msg.Sequence)
				}
			}
			if fault.ClassOf(failed) != fault.Transient || len(got) != lost[0] {
				t.Errorf("read %v, then: %v", got, failed)
			}
		})
	}
}

func TestLastOf(t *testing.T) {
	t.Parallel()
	js := filled(t, 9)
	for name, want := range map[string]map[string]uint64{
		"s.even s.odd s.none": {"s.even": 9, "s.odd": 8},
		"s.odd":               {"s.odd": 8},
		"s.none":              {},
	} {
		found, err := streams.LastOf(t.Context(), js, "S", strings.Fields(name))
		if err != nil || len(found) != len(want) {
			t.Errorf("%s: %d found, %v", name, len(found), err)
		}
		for subject, sequence := range want {
			if msg := found[subject]; msg == nil || msg.Sequence != sequence {
				t.Errorf("%s: %s is %+v", name, subject, msg)
			}
		}
	}
	for part := range 2 {
		if found, err := streams.LastOf(t.Context(), lossy(t, js, []int{part}), "S", []string{"s.even", "s.odd"}); fault.ClassOf(err) != fault.Transient {
			t.Errorf("without part %d it found %v, %v", part, found, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if found, err := streams.LastOf(ctx, silent(t), "SILENT", []string{"s.even"}); fault.ClassOf(err) != fault.Transient {
		t.Errorf("a broker that does not answer has %v, %v", found, err)
	}
}

// lossy is a broker whose answers to reads of stream S lack some parts, by number.
func lossy(t *testing.T, js jetstream.JetStream, lost []int) jetstream.JetStream {
	t.Helper()
	server := natstest.Run(t)
	relay := server.Connect(t)
	_, err := relay.Subscribe("$JS.API.DIRECT.GET.S", func(request *nats.Msg) {
		part := 0
		inbox := js.Conn().NewInbox()
		_, err := js.Conn().Subscribe(inbox, func(answer *nats.Msg) {
			if part++; !slices.Contains(lost, part-1) {
				_ = relay.PublishMsg(&nats.Msg{Subject: request.Reply, Header: answer.Header, Data: answer.Data})
			}
		})
		if err == nil {
			err = js.Conn().PublishRequest(request.Subject, inbox, request.Data)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Flush(); err != nil {
		t.Fatal(err)
	}
	return server.JetStream(t)
}
