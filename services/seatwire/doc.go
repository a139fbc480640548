// Package seatwire is the operator's command line and the all-in-one, and the place to start reading: a tour of the
// whole system, bottom up.
//
// # Faults
//
// Package fault classifies every error once, where it is born: permanent, transient, throttled, unknown. Everything
// above decides by class and reason, and shows only the error's own words, never a vendor's.
//
// # What is said
//
// Package events has the public contract: CloudEvents, their subjects and data. Package roster has what the services
// say to each other about people: pages, and the manifest that makes pages a whole. Package streams declares all of
// JetStream's streams, durables and buckets as data; nothing else creates anything.
//
// # How it travels
//
// Package bus carries messages: watermill's router over a subscriber of our own. A message is acknowledged when its
// handler returned nil or its dead letter is stored, and never otherwise. One that came back without an answer, as
// after a crash, is handled in a process of its own; what the broker gave up on is looked for and kept. A lane is a
// durable with one message in hand: what must not run twice at once for one connection runs through one. Package state
// is small durable state under compare-and-set; together with the lane it lets exactly one process act, even when
// another believes it may.
//
// # The vendors
//
// Package pluralsight and package productiv are strict clients: what is not clearly an answer is a fault. Package
// policy retries around whole operations. The destructive calls can only be made with values that cannot be made
// without an approval.
//
// # The services
//
// A sync request passes the fetcher's intake, which stores each identity once. The fetcher's lane reads the plan page
// by page and ends with a manifest. Normalizers turn pages into one form. The publisher's lane waits for all pages,
// checks them against the manifest, compares with Productiv, asks the guards, seals a plan, carries it out chunk by
// chunk, reads back, and answers every request that the sweep covered.
//
// # Here
//
// One file per command. up.go composes the services in one process; demo.go and story.go play them against the
// simulators and check every figure. Package natsconfig writes what NATS servers need to run all this with least
// privilege, package nack says the topology in Kubernetes' words, package backup copies the state out and back.
//
// Package faultbench attacks the real programs, composetest the containers, mutants the tests themselves; package bench
// measures.
package seatwire
