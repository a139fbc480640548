// Package deprovisioner takes licences back when another system says so, and proves it.
//
// The way of one event, which is also the order of the files:
//
//	intake.go   decode, judge what needs no look at the plan, commit to the ledger in groups, acknowledge
//	lane.go     one replica at a time holds a connection's lane
//	tenure.go   its time with the lane: load, then turn inputs into effects
//	book.go     the connection's open requests and batches in memory, and step: the pure decision
//	request.go  what a request may become
//	people.go   whom a request means, and whether that person may be touched
//	batch.go    the protocol of a batch
//	bisect.go   which rows of a refused file are at fault
//	vendor.go   the calls to Pluralsight that the decisions ask for
//	store.go    the ledger, written under the lane's fence
//	tell.go     what the world is told, after it is durable
//	feed.go     what others wrote into the ledger, as it comes
//	lease.go    who holds a lane
//
// Delivery. An event is acknowledged when its request is durably in the ledger; from then on the ledger owns it, and
// it ends in exactly one settled event. Identity is (connection, source token, CloudEvents source, CloudEvents id), in
// the ledger for ever: not in the broker's window, which is 100 ms here and which any publisher could abuse.
//
// Decisions are pure: (*book).step takes an input and a time and returns effects, and nothing in it knows a clock, a
// network or NATS. Effects are executed in their order: what is to be saved is durable before anybody is told and
// before any byte leaves for the vendor. A failed save ends the lane's tenure; the next one starts from the ledger.
//
// The one dangerous call is guarded in four places: only authorise (batch.go) makes an approval, the client accepts
// only an order whose approval names the hash of its bytes, "sending" is durable before the bytes, and a lane that
// lost its lease can write nothing. What was "sending" when a process died is unknown, and the only way out of unknown
// is to read Pluralsight back.
package deprovisioner
