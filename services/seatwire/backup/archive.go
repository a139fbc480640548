package backup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/archive"
)

// contents are what a snapshot holds.
type contents struct {
	messages uint64
	// consumers has, by name, up to where a consumer's messages were acknowledged.
	consumers map[string]uint64
}

// read reads a snapshot to the mark that the server sets at its end. A server before 2.15 writes another format, which
// is an error.
func read(snapshot io.Reader) (contents, error) {
	c := contents{consumers: map[string]uint64{}}
	r := archive.NewReader(s2.NewReader(snapshot))
	for {
		entry, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return c, errors.New("the snapshot has no end")
		case err != nil:
			return c, fmt.Errorf("read the snapshot, which NATS 2.15 or later writes: %w", err)
		case entry.Sequence > 0:
			c.messages++
		case entry.Name == "":
			return c, nil
		default:
			name, ok := strings.CutPrefix(entry.Name, "consumers/")
			if !ok {
				continue // the stream's own state, which the server told us too
			}
			if c.consumers[name], err = ackFloor(r); err != nil {
				return c, fmt.Errorf("read the state of consumer %s: %w", name, err)
			}
		}
	}
}

func ackFloor(entry io.Reader) (uint64, error) {
	var consumer server.SnapshotConsumerState
	if err := json.NewDecoder(entry).Decode(&consumer); err != nil {
		return 0, err
	}
	if consumer.ConsumerState == nil {
		return 0, errors.New("there is none")
	}
	return consumer.AckFloor.Stream, nil
}
