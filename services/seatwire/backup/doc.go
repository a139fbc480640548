// Package backup copies a deployment's whole JetStream state to a directory and back: every stream and bucket of the
// topology, with its consumers.
//
//	snapshot.go   one stream over the wire, as the server's snapshot protocol has it
//	archive.go    what a snapshot holds, read back from the file
//	take.go       a whole backup, from streams in an order that loses nothing
//	manifest.go   what a backup says of itself, and the check of its hashes
//	restore.go    a whole restore, paused before anything is there that could act
//
// The streams are copied one after the other while the services run. What makes the copies one whole is their order:
// a message is acknowledged only when its effect is stored, so an intake is copied before what it feeds, and whoever
// holds a reference is copied before what it refers to. After a restore the services then find what a crash leaves, too:
// work that is done and not yet acknowledged.
//
// The protocol is spoken here, in two functions, and not through jsm.go: that module brings the real Antithesis SDK in
// place of the no-op that the NATS server asks for, into every program of the workspace and the server's own image.
package backup
