// Package fetcher reads whole Pluralsight plans, page by page, and says when a reading is sound.
//
//	sync.requested ─▶ intake.go ─▶ sweep.accepted ─▶ sweep.go ─▶ users.fetched (pages) ─▶ users.swept (manifest)
//	schedule.go ──┘                                  read.go · order.go · emit.go
//
// Intake takes requests from anybody and stores each identity once. The sweeps of one connection run one at a time
// through a lane: a durable with one message in hand, plus compare-and-set state. A sweep answers every request that
// waits when it starts. Pages are streamed; the manifest comes last, and only a manifest makes pages count.
//
// A crash goes on from the last checkpoint under a new page generation, or afresh when the vendor refuses the
// cursor. A reading with any doubt ends as a failed manifest with a typed reason, never as a smaller roster.
package fetcher
