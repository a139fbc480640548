//go:build !race

package seatwire

const underRace = false
