// Package faultbench attacks the whole system from outside and judges it from outside.
//
// The real programs run as processes of their own, the NATS server as another one, and both vendors are simulated in the
// test process, where nobody can cheat them: what they recorded is the evidence. Everything is in test files, because
// nothing of it belongs into a program:
//
//	bench_test.go      Start: a broker, two vendors, any number of replicas of each service
//	broker_test.go     the NATS server's process: kill -9 and start again on the same data
//	program_test.go    a service's process: kill -9, stop, continue, SIGTERM, start again
//	vendors_test.go    the simulators behind one server that knows which process is calling
//	requests_test.go   sync requests and their outcomes, by the contract's subjects alone
//	plan_test.go       people who leave, join and change at Pluralsight
//	judges_test.go     what must hold of the evidence, whatever happened
//	upgrade_test.go    another version's programs beside these: upgrade and rollback, replica by replica
//	recovery_test.go   how long the way from a kill to the next sign of work was
//
// The shows are in the other files, one for each thing that must hold. In their short form they are part of go test;
// with -chaos=DURATION the random ones go on for that long, with 20,000 people (deploy/ci/chaos.sh). A run prints its
// seed; -seed=N draws the same faults again, though the processes' own timing is never the same twice.
//
// Nothing here sleeps. A fault strikes when a counted event happens: the n-th call that a vendor gets, the n-th page.
// A wait is for a condition, and fails at a deadline with the logs of all programs.
package faultbench
