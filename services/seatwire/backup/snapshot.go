package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// silence is how long the server may say nothing before the transfer is given up.
	silence = 30 * time.Second
	// finishTime is for the server to build a stream from what it was sent.
	finishTime = time.Hour
	// lookAgain is the wait for somebody who listens.
	lookAgain = 50 * time.Millisecond
	// chunkSize of a restore, in bytes; the server's limit of one message is 1 MiB.
	chunkSize = 128 << 10
)

// description is a stream's configuration and state as the server said it, for saying it again.
type description struct {
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// snapshot writes a stream with its consumers to out, in the server's own format.
func snapshot(ctx context.Context, nc *nats.Conn, stream string, out io.Writer) (description, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return description{}, err
	}
	defer func() { _ = sub.Unsubscribe() }()             // the connection may be gone already
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the server keeps its own window, by our acknowledgements
		return description{}, err
	}
	reconnects := nc.Stats().Reconnects
	var d description
	request, _ := json.Marshal(map[string]string{"deliver_subject": inbox}) // a string always encodes
	if err := ask(ctx, nc, "$JS.API.STREAM.SNAPSHOT."+stream, request, silence, &d); err != nil {
		return d, err
	}
	if err := receive(ctx, sub, out); err != nil {
		return d, err
	}
	if nc.Stats().Reconnects != reconnects {
		return d, errors.New("the connection was lost meanwhile, and chunks perhaps with it")
	}
	return d, nil
}

// receive writes the chunks in their order until the server says that there are no more.
func receive(ctx context.Context, sub *nats.Subscription, out io.Writer) error {
	for n := 1; ; n++ {
		msg, err := next(ctx, sub)
		if err != nil {
			return err
		}
		if len(msg.Data) == 0 {
			if status := msg.Header.Get("Status"); status != "" && status != "204" {
				return fmt.Errorf("the server gave up: %s %s", status, msg.Header.Get("Description"))
			}
			return nil
		}
		if msg.Reply != "" { // all but the last one: the subject ends in the chunk's number
			if !strings.HasSuffix(msg.Reply, "."+strconv.Itoa(n)) {
				return fmt.Errorf("chunk %d is missing", n)
			}
			if err := msg.Respond(nil); err != nil {
				return err
			}
		}
		if _, err := out.Write(msg.Data); err != nil {
			return err
		}
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// restore makes a stream, which must not exist, from what snapshot wrote. It returns the stream's state as it is now.
func restore(ctx context.Context, nc *nats.Conn, stream string, d description, in io.Reader) (jetstream.StreamState, error) {
	body, err := json.Marshal(d)
	if err != nil {
		return jetstream.StreamState{}, err
	}
	var target struct {
		DeliverSubject string `json:"deliver_subject"`
	}
	if err := ask(ctx, nc, "$JS.API.STREAM.RESTORE."+stream, body, silence, &target); err != nil {
		return jetstream.StreamState{}, err
	}
	for chunk := make([]byte, chunkSize); ; {
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if err := ask(ctx, nc, target.DeliverSubject, chunk[:n], silence, nil); err != nil {
				return jetstream.StreamState{}, err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return jetstream.StreamState{}, err
		}
	}
	var info jetstream.StreamInfo
	err = ask(ctx, nc, target.DeliverSubject, nil, finishTime, &info)
	return info.State, err
}

// ask makes one request. An empty answer is a yes; an error of the server is one of ours.
func ask(ctx context.Context, nc *nats.Conn, subject string, body []byte, limit time.Duration, into any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	msg, err := request(ctx, nc, subject, body)
	if err != nil {
		return err
	}
	var failure struct {
		Error *jetstream.APIError `json:"error"`
	}
	if len(msg.Data) > 0 {
		if err := json.Unmarshal(msg.Data, &failure); err != nil {
			return fmt.Errorf("the server's answer is not JSON: %w", err)
		}
	}
	switch {
	case failure.Error != nil:
		return failure.Error
	case into == nil:
		return nil
	default:
		return json.Unmarshal(msg.Data, into)
	}
}

// request waits for somebody to answer: on a cluster it takes a moment until our node knows who listens on another.
func request(ctx context.Context, nc *nats.Conn, subject string, body []byte) (*nats.Msg, error) {
	for {
		msg, err := nc.RequestWithContext(ctx, subject, body)
		if !errors.Is(err, nats.ErrNoResponders) {
			return msg, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(lookAgain):
		}
	}
}
