package faultbench

import (
	"iter"
	"time"
)

// began is when the run did.
var began = time.Now()

// due is the long form from which on all that the shows ask for is struck, however long that takes: the matrix's share
// of an hour of make chaos.
const due = 25 * time.Minute

// over reports whether the long form's time is spent.
func over() bool { return time.Since(began) >= *chaos }

// late reports whether what has struck once need not strike again.
func late() bool { return over() && *chaos < due }

// passes are how often a show strikes: once, in the long form up to n times while there is time, and n times from due
// on. A tenth of a night's counts is what the shows ask for; the report says how many there were.
func passes(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if i > 0 && late() || !yield(i) {
				return
			}
		}
	}
}

// often is one, and n in the long form.
func often(n int) int {
	if *chaos == 0 {
		return 1
	}
	return n
}
