package bench

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seatwire/seatwire/pkg/bus"
)

// cost is what the broker holds, and has held.
type cost struct {
	streams, consumers, subjects int
	// stored counts every message that was ever stored, replicas not counted.
	stored uint64
	// bytes are the messages' in one replica, by stream; disk is all files of all nodes.
	bytes map[string]int64
	disk  int64
}

func measureCost(ctx context.Context, w *world, conn *bus.Conn) (cost, error) {
	c := cost{disk: w.broker.disk(), bytes: map[string]int64{}}
	list := conn.JS().ListStreams(ctx)
	for info := range list.Info() {
		c.streams++
		c.consumers += info.State.Consumers
		c.subjects += int(info.State.NumSubjects)
		c.stored += info.State.LastSeq
		c.bytes[info.Config.Name] = int64(info.State.Bytes)
	}
	return c, list.Err()
}

// since is what was added; what is there stays as it is.
func (c cost) since(before cost) cost {
	c.stored -= before.stored
	for stream := range c.bytes {
		c.bytes[stream] -= before.bytes[stream]
	}
	c.disk -= before.disk
	return c
}

// per prints the cost of a thousand.
func (c cost) per(n int, of string) string {
	thousands := float64(n) / 1000
	kib := func(bytes int64) float64 { return float64(bytes) / 1024 / thousands }
	text := fmt.Sprintf("1000 %s: %.0f messages stored; %.0f KiB on the disks; KiB kept:", of, float64(c.stored)/thousands, kib(c.disk))
	for _, stream := range slices.Sorted(maps.Keys(c.bytes)) {
		if k := kib(c.bytes[stream]); k >= 1 {
			text += fmt.Sprintf(" %s %.0f", strings.ToLower(strings.TrimPrefix(stream, "SEATWIRE_")), k)
		}
	}
	return text
}
