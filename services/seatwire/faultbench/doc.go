// Package faultbench attacks the whole system from outside and judges it from outside.
//
// The real programs run as processes of their own, built with failpoints, NATS servers as others, one or a cluster of
// three, and both vendors are simulated in the test process, where nobody can cheat them: what they recorded is the
// evidence. Everything is in test files, because nothing of it belongs into a program.
//
// What it is made of:
//
//	bench_test.go      Start: a broker, two vendors, any number of replicas of each service
//	server_test.go     the NATS server's process: kill -9, SIGTERM, start again on the same data
//	broker_test.go     one of them; cluster_test.go three, with proxy_test.go's links between them, which can break
//	program_test.go    a service's process: kill -9, stop, continue, SIGTERM, orders to its failpoints, start again
//	vendors_test.go    the simulators behind one server that knows which process is calling
//	requests_test.go   sync requests and their outcomes, by the contract's subjects alone
//	plan_test.go       people who leave, join and change at Pluralsight
//	layoffs_test.go    people whose licences are asked back
//	world_test.go      both at once, with 100 events a second if need be
//	report_test.go     what a run says at its end: each invariant, each fault, each kill point
//
// What strikes:
//
//	kill9_test.go      -9 at random moments, frozen processes, rolling restarts, a broker that dies
//	points_test.go     -9 at each named point of package failpoint; replay_test.go for the replay of dead letters
//	panics_test.go     panics, exhausted memory, exits, and an event that ends whoever reads it
//	upgrade_test.go    another version's programs beside these: upgrade and rollback, replica by replica
//	weather_test.go    slow and lossy links; acks_test.go acknowledgements that are lost, late or doubled
//	nats_upgrade_test.go  the NATS servers' previous release, taken to this tree's and back, node by node
//	corruption_test.go  a node's file with bits turned or its end gone
//	powerloss_test.go  servers on disks that forget what was not synced (deploy/tools/powerloss)
//	clocks_test.go     a host whose clock is wrong, or steps
//	outages_test.go    a cluster's leader, nodes, quorum and links; limits_test.go full streams and a full disk
//	vendor_rows_test.go  each way in which a vendor can go wrong, carried out by vendor_faults_test.go
//	hostile_test.go    events that no honest publisher sends; canary_test.go a secret and an address in each input
//
// What must hold whatever happened is in judges_test.go, layoffs_judges_test.go, processes_test.go and leaks_test.go, each
// judge in the name of an invariant of report_test.go. The other files show one thing each.
//
// In their short form the shows are part of go test: each kill point once, a sample of the faults. With -chaos=DURATION
// every fault strikes at least once, with 20,000 people and 100 events a second beside the kills, and as often as a tenth
// of a night's run asks as long as there is time; the kills go on to its end (schedule_test.go, deploy/ci/chaos.sh). A run
// prints its seed; -seed=N draws the same faults again, though the processes' own timing is never the same twice.
// -rows=TEXT has the vendors go wrong only in the ways whose names have it in them.
//
// Nothing here sleeps. A fault strikes when a counted event happens: the n-th call that a vendor gets, the n-th page, the
// n-th time that a program comes to a point. A wait is for a condition, and fails at a deadline with the logs of all
// programs.
package faultbench
