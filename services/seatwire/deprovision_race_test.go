//go:build race

package seatwire

// underRace says that the race detector runs, under which the broker is ten times slower: the largest test shrinks.
const underRace = true
