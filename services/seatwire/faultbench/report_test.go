package faultbench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/failpoint"
)

// invariant is one of research/reliability.md 3.1.
type invariant string

// The invariants that this bench judges.
const (
	conservation   invariant = "I-01 conservation: every accepted request has its one answer"
	authority      invariant = "I-02 chain of authority: what is applied, a dry run of the same bytes had accepted"
	dryByDefault   invariant = "I-03 dry by default: nothing in earnest where it is not configured"
	protectedNever invariant = "I-04 protected never: no admin or protected person in any file"
	wholeSnapshots invariant = "I-05 whole snapshots: the list is the plan's, person by person"
	sweepsForward  invariant = "I-06 sweeps go forward: no answer of an older sweep after one of a newer"
	oneWriter      invariant = "I-07 one writer: no two writes to an app at once"
	blastRadius    invariant = "I-08 blast radius: people that we never added stay"
	noAbsence      invariant = "I-09 absence is not evidence: only the gone are removed"
	isolation      invariant = "I-10 isolation: a connection's calls are about its own people"
	oneEffect      invariant = "I-11 one effect: nobody is removed twice"
	lookFirst      invariant = "I-12 look before retry: nobody is sent again without a look in between"
	freshness      invariant = "I-13 freshness: what is too old or too new has no effect"
	truthful       invariant = "I-15 truthful success: who is said to be removed is gone, and was seen gone"
	convergence    invariant = "I-16 convergence: with the faults off everything settles"
	lettersWhole   invariant = "I-17 dead letters are complete: each has reason and origin, there is one for each"
	poison         invariant = "I-18 poison is contained: no process ends by itself"
	newDecision    invariant = "I-19 a replay is a new decision: it passes every check and has its effect once"
	wireLimits     invariant = "I-20 wire limits: at most 1000 people a call, nobody twice in a file"
	idleSilent     invariant = "I-21 idle is silent: an unchanged world causes no write"
	noLeaks        invariant = "I-22 no leaks: no secret and no address where none belongs"
	backPressure   invariant = "I-23 back-pressure: what a full or absent broker refuses is refused visibly"
	bounds         invariant = "I-24 bounds: a process's goroutines and memory stay within limits"
	goodNeighbour  invariant = "I-26 good neighbour: a wait that a vendor asks for is kept"
	clockFree      invariant = "I-30 clock independence: one host's wrong clock changes no decision"
	truthInMetrics invariant = "I-28 metrics tell the truth: the counters are the streams' figures"
)

// elsewhere are those that a bench of processes cannot judge, and who does.
var elsewhere = []string{
	"I-14 newest wins: the model test of services/deprovisioner",
	"I-25 the audit is whole: explain's tests in services/seatwire; there is no hash chain",
	"I-27 least privilege: the permission tests of the NATS configuration",
	"I-29 upgrade and rollback: TestUpgrade and TestNATSUpgrade, by all the other invariants",
}

func judged() []invariant {
	return []invariant{
		conservation, authority, dryByDefault, protectedNever, wholeSnapshots, sweepsForward, oneWriter, blastRadius, noAbsence,
		isolation, oneEffect, lookFirst, freshness, truthful, convergence, lettersWhole, poison, newDecision, wireLimits,
		idleSilent, noLeaks, backPressure, bounds, goodNeighbour, truthInMetrics, clockFree,
	}
}

// tallies are what all shows of a run found.
type tallies struct {
	mu sync.Mutex
	figures
}

// figures are those of one run or of several.
type figures struct {
	Tested, Violated map[invariant]int
	Points           map[failpoint.Point][]time.Duration
	Faults           map[string]int
	// Damaged are copies with holes that a server served as whole, by row.
	Damaged   map[string]served
	Recovered kills
	// Prompt is how long good requests took among hostile ones.
	Prompt []time.Duration
}

var found = &tallies{figures: figures{
	Tested: map[invariant]int{}, Violated: map[invariant]int{}, Points: map[failpoint.Point][]time.Duration{}, Faults: map[string]int{},
	Damaged: map[string]served{},
}}

// served counts copies and the messages in them that were not there or others.
type served struct{ Copies, Messages int }

func (s served) String() string {
	if s.Copies == 0 {
		return ""
	}
	return fmt.Sprintf("; the server served %d damaged copies, in which %d messages were missing or others", s.Copies, s.Messages)
}

// join adds those of earlier runs in a file, and writes the sum there. A file that is not there yet is none.
func (f *tallies) join(file string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var earlier figures
	body, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(body, &earlier)
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	addTo(f.Tested, earlier.Tested)
	addTo(f.Violated, earlier.Violated)
	addTo(f.Faults, earlier.Faults)
	for row, s := range earlier.Damaged {
		f.Damaged[row] = served{f.Damaged[row].Copies + s.Copies, f.Damaged[row].Messages + s.Messages}
	}
	for p, took := range earlier.Points {
		f.Points[p] = append(f.Points[p], took...)
	}
	f.Recovered, f.Prompt = append(f.Recovered, earlier.Recovered...), append(f.Prompt, earlier.Prompt...)
	if body, err = json.Marshal(f.figures); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o600)
}

func addTo[K comparable](sum, counts map[K]int) {
	for k, n := range counts {
		sum[k] += n
	}
}

// tests says that an invariant was put to n tests.
func (f *tallies) tests(i invariant, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Tested[i] += n
}

// violation fails the test in the name of the invariant.
func (f *tallies) violation(t testing.TB, i invariant, format string, args ...any) {
	t.Helper()
	f.mu.Lock()
	f.Violated[i]++
	f.mu.Unlock()
	id, _, _ := strings.Cut(string(i), " ")
	t.Errorf(id+": "+format, args...)
}

func (f *tallies) good(took []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Prompt = append(f.Prompt, took...)
}

// fault says that a fault struck n times.
func (f *tallies) fault(row string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Faults[row] += n
}

// servedDamaged says that a server served a copy in which n messages were not what they are on the other nodes.
func (f *tallies) servedDamaged(row string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.Damaged[row]
	f.Damaged[row] = served{s.Copies + 1, s.Messages + n}
}

// struck says that a kill point was struck, and how long after the death everything was done.
func (f *tallies) struck(p failpoint.Point, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Points[p] = append(f.Points[p], took)
}

func (f *tallies) kills(k kills) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Recovered = append(f.Recovered, k...)
}

// report is what a run prints at its end.
func (f *tallies) report(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(w, "\n==== fault bench: seed %d (-seed=%d)\n\n", *seed, *seed)
	fmt.Fprintf(w, "%8s %9s  %-11s invariant\n", "tests", "violated", "rate below")
	for _, i := range judged() {
		fmt.Fprintf(w, "%8d %9d  %-11s %s\n", f.Tested[i], f.Violated[i], bound(f.Tested[i], f.Violated[i]), i)
	}
	for _, text := range elsewhere {
		fmt.Fprintf(w, "%8s %9s  %-11s %s\n", "-", "-", "-", text)
	}
	slices.Sort(f.Prompt)
	fmt.Fprintf(w, "\n%d good requests among hostile ones were settled after %s (median), %s (worst)\n", len(f.Prompt), median(f.Prompt), worst(f.Prompt))
	fmt.Fprintf(w, "\n%s\n%8s %9s  fault\n", f.Recovered.table(), "struck", "nightly")
	for _, row := range slices.Sorted(maps.Keys(f.Faults)) {
		fmt.Fprintf(w, "%8d %9s  %s%s\n", f.Faults[row], nightly[row], row, f.Damaged[row])
	}
	fmt.Fprintf(w, "\n%8s %9s %8s %8s  kill point, and how long after it everything was done\n", "struck", "nightly", "median", "worst")
	for _, p := range failpoint.All() {
		took := slices.Sorted(slices.Values(f.Points[p]))
		fmt.Fprintf(w, "%8d %9d %8s %8s  %s\n", len(took), 5, median(took), worst(took), p)
	}
}

// bound is what no failure in n tests says about the rate of failures, with 95 % confidence.
func bound(tested, violated int) string {
	if tested == 0 || violated > 0 {
		return "-"
	}
	return fmt.Sprintf("%.2g", min(1, 3/float64(tested)))
}

// names of rows that several shows add to.
const (
	rowRandomKill  = "kill -9 of a service at a random moment under load"
	rowFreeze      = "SIGSTOP beyond the ack wait, then SIGCONT"
	rowRoll        = "rolling restart by SIGTERM"
	rowBrokerKill  = "kill -9 of a single NATS server"
	rowBrokerStop  = "kill -9 of the leader of three"
	rowNode        = "kill -9 of any node of three"
	rowQuorum      = "two of three nodes down, then up"
	rowAllDown     = "all three nodes down, then up"
	rowNATSUpgrade = "rolling upgrade of the NATS servers, and back"
	rowPartClients = "partition between services and a node"
	rowPartNodes   = "partition between nodes"
	rowPartOneWay  = "partition between nodes, one way"
	rowFull        = "stream at its limit"
	rowLettersFull = "dead letters at their limit"
	rowDiskFull    = "disk full"
	rowDamage      = "block file damaged on one node"
	rowPanic       = "planted panic"
	rowCrash       = "planted stack overflow, exhausted memory or exit"
	rowHostile     = "hostile, duplicated or stale event"
	rowWeather     = "seconds of delay by 100 ms ± 50, 5 % loss and resets on all links"
	rowClock       = "clock of one host wrong, or stepping"
	rowAcks        = "acknowledgement lost, late or twice"
	rowPowerOne    = "power loss of a single NATS server"
	rowPowerNode   = "power loss of one node of three"
	rowPowerAll    = "power loss of all three nodes at once"
)

// nightly are the counts of research/reliability.md 3.2; a long run does a tenth of them at least.
var nightly = map[string]string{
	rowRandomKill: "1000", rowFreeze: "200", rowRoll: "100", rowBrokerKill: "200", rowBrokerStop: "200", rowNode: "100",
	rowQuorum: "100", rowAllDown: "100", rowNATSUpgrade: "3", rowPartClients: "100", rowPartNodes: "100", rowPartOneWay: "100",
	rowFull: "20", rowLettersFull: "20", rowDiskFull: "5", rowDamage: "10", rowPanic: "50", rowCrash: "50", rowHostile: "100000", rowWeather: "600", rowAcks: "10 min", rowClock: "50",
	rowPowerOne: "20", rowPowerNode: "20", rowPowerAll: "20",
}
