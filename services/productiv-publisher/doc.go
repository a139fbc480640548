// Package publisher brings Productiv's list of licence holders to what a sound sweep found, and answers every sync
// request.
//
//	users.swept ─▶ lane.go ─▶ arrive.go ─▶ index.go ─▶ compare.go ─▶ guard.go ─▶ seal.go ─▶ apply.go ─▶ answer.go
//	                          all pages    people      pure diff     hold?       chunks     calls      roster.published
//
// One publication at a time per connection, through a lane: a durable with one message in hand, compare-and-set state
// that is written before each call, and a client that refuses to send when the lane was not confirmed a moment ago.
// A manifest is acted on only when every page is there and is the one that was fetched.
//
// Convergence, not commands: read what Productiv has, compare, seal the difference as chunks of exact bytes, send
// additions first and removals last, read again. A crash repeats the chunk that it was at, or starts from a fresh
// reading; both end the same. Only people that this system published or adopted are ever deleted: owned.go is the
// ledger of them. Whoever is merely absent is deleted after two sound sweeps without them.
package publisher
