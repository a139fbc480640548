package faultbench

import (
	"iter"
	"time"
)

// began is when the run did.
var began = time.Now()

// over reports whether the long form's time is spent.
func over() bool { return time.Since(began) >= *chaos }

// passes are how often a show strikes: once, and in the long form up to n times while there is time. A tenth of a
// night's counts is what the shows ask for; the report says how many there were.
func passes(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if i > 0 && over() || !yield(i) {
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
