package publisher

import (
	"testing"

	"github.com/seatwire/seatwire/pkg/natstest/simulation"
)

// The simulation plays random histories of sweeps, vendor moods, decisions, crashes, frozen replicas and time.
//
//	sim_world_test.go    people, their sweeps, and what may happen next
//	sim_process_test.go  a replica at work on one delivery, and how it dies or is frozen
//	sim_broker_test.go   the streams as their readers see them, and the state
//	sim_app_test.go      Productiv's model, and what must hold at each call
//	sim_judges_test.go   what must hold of what was told, and at the end
//
// What it plays against is the real lane, from the delivery to the answer.
func history(d simulation.Dice, tr *simulation.Trace) {
	w := newSimWorld(d, tr)
	for range 1 + d.Intn("length", 14) {
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
