package failpoint

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// Env names the directory of a process's orders.
const Env = "SEATWIRE_FAILPOINTS"

// Action is what a program does at a point.
type Action string

// Actions. Panic is the only one that a program may survive.
const (
	Kill   Action = "kill"   // SIGKILL
	Panic  Action = "panic"  // in the goroutine that reached the point
	Stack  Action = "stack"  // recursion without end, which no recover catches
	Memory Action = "memory" // an allocation that nothing can hold
	Exit   Action = "exit"   // os.Exit(3)
)

// Order is what is to happen at a point.
type Order struct {
	Action Action `json:"action"`
	// At is the occurrence that counts, from 1, in one process's life.
	At int `json:"at"`
	// Always strikes at each occurrence from At on; without it the order is used up by the first that carries it out.
	Always bool `json:"always,omitempty"`
}

// Arm gives an order to every process whose Env is dir.
func Arm(dir string, p Point, o Order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	temp := filepath.Join(dir, "new-"+p.name())
	if err := os.WriteFile(temp, body, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, orderFile(dir, p))
}

// Disarm takes an order back. One that is used up, or was never given, is no error.
func Disarm(dir string, p Point) error {
	err := os.Remove(orderFile(dir, p))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// Strikes counts how often the orders of dir were carried out, by point.
func Strikes(dir string) (map[Point]int, error) {
	body, err := os.ReadFile(struckFile(dir))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	counts := map[Point]int{}
	for line := range strings.Lines(string(body)) {
		counts[Point(strings.TrimSpace(line))]++
	}
	return counts, nil
}

// name is the point's number, which names its files.
func (p Point) name() string {
	number, _, _ := strings.Cut(string(p), " ")
	return number
}

func orderFile(dir string, p Point) string { return filepath.Join(dir, "order-"+p.name()) }
func struckFile(dir string) string         { return filepath.Join(dir, "struck") }
