package deprovisioner

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/natstest/simulation"
)

// The simulation plays random histories of events, people, vendor moods, decisions, crashes and time.
//
//	sim_world_test.go     the clock, what may happen next, and the end of a history
//	sim_senders_test.go   what other systems send and persons decide
//	sim_intake_test.go    how replicas take in what was sent
//	sim_lane_test.go      the replica that holds the lane, its calls and its crashes, and the one that lost it
//	sim_ledger_test.go    the ledger in memory, written under the lane's fence
//	sim_outcomes_test.go  what the world is told
//	sim_plan_test.go      the vendor's model
//	sim_judges_test.go    what must hold, by the invariants' numbers, judged on the models' own books
//
// What it plays against is the real code: intake's decisions, tenure, book, teller and vendor.
func history(d simulation.Dice, tr *simulation.Trace) {
	w := newWorld(d, tr)
	for range 1 + d.Intn("length", 60) {
		w.happen()
	}
	w.end()
}

func TestSimulation(t *testing.T) {
	t.Parallel()
	simulation.Run(t, history)
}

func TestSimulationRepeatsItself(t *testing.T) {
	t.Parallel()
	simulation.Repeats(t, history)
}

// TestRandomHistories plays histories that rapid draws: they are slow, and get short when they fail.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		if _, broken := simulation.Play(simulation.Shrinking(t), false, history); broken != nil {
			t.Fatal(broken)
		}
	})
}
