// Package failpoint names the moments at which a program is killed to see what survives.
//
// In a program as it is shipped, Hit and Body are empty and vanish: no name of a point is in the binary. Built with the
// tag "failpoints", which the fault bench does, a program looks in the directory that $SEATWIRE_FAILPOINTS names for an
// order about the point that it has reached, and carries it out: kills itself, panics, exhausts its memory or exits. An
// order is a file that the bench writes at any time, so no program has to be started anew for it.
package failpoint

// Point is a named moment, numbered as in research/reliability.md 3.3.
type Point string

// None is no point; nothing is ever ordered about it.
const None Point = ""

// Fetcher.
const (
	F1 Point = "F1 sweep opened"
	F2 Point = "F2 page asked for, answer unread"
	F3 Point = "F3 page read, not published"
	F4 Point = "F4 pages published, cursor not saved"
	F5 Point = "F5 answer half read"
	F6 Point = "F6 last page stored, no manifest"
	F7 Point = "F7 manifest published, sweep open"
	F8 Point = "F8 API key read again"
)

// Normalizer. It sees pages and no manifest: that each page of one is there, and that a plan follows, is the
// publisher's to find out, so N3 and N4 are points of the publisher's process.
const (
	N1 Point = "N1 page in hand"
	N2 Point = "N2 page published, input unacknowledged"
	N3 Point = "N3 every page of the manifest is there, nobody is counted"
	N4 Point = "N4 everybody is counted, nothing is planned"
)

// Publisher.
const (
	P1  Point = "P1 manifest in hand"
	P2  Point = "P2 list half read"
	P3  Point = "P3 plan computed"
	P4  Point = "P4 plan stored"
	P5  Point = "P5 chunk noted, no byte has left"
	P6  Point = "P6 chunk half sent"
	P7  Point = "P7 chunk applied, answer unread"
	P8  Point = "P8 answer read, not stored"
	P9  Point = "P9 between chunks"
	P10 Point = "P10 between additions and removals"
	P11 Point = "P11 amid removals"
	P12 Point = "P12 everything sent, nothing read back"
	P13 Point = "P13 concluded, nobody is told"
	P14 Point = "P14 told, unacknowledged"
)

// Deprovisioner. Its ledger is written before the world is told, where the research has it the other way round, so D14
// is the mirror of what is there.
const (
	D1  Point = "D1 event in hand"
	D2  Point = "D2 event is good"
	D3  Point = "D3 in the ledger, event unacknowledged"
	D4  Point = "D4 acknowledged, in no batch"
	D5  Point = "D5 batch sealed"
	D6  Point = "D6 dry run sent, answer unread"
	D7  Point = "D7 dry run answered, not stored"
	D8  Point = "D8 approved"
	D9  Point = "D9 sending is stored, no byte has left"
	D10 Point = "D10 file half sent"
	D11 Point = "D11 file applied, answer unread"
	D12 Point = "D12 answer stored, nothing read back"
	D13 Point = "D13 read back, not stored"
	D14 Point = "D14 settled, nobody is told"
	D15 Point = "D15 dead letter stored, event unacknowledged"
	D16 Point = "D16 amid a bisection"
)

// Replay of dead letters, by the command line.
const (
	R1 Point = "R1 dead letter selected"
	R2 Point = "R2 published again, dead letter still there"
	R3 Point = "R3 dead letter taken off the list"
	R4 Point = "R4 between two dead letters"
)

// Either is yes when the condition holds, and no when it does not.
func Either(condition bool, yes, no Point) Point {
	if condition {
		return yes
	}
	return no
}

// All returns every point, in order.
func All() []Point {
	return []Point{
		F1, F2, F3, F4, F5, F6, F7, F8,
		N1, N2, N3, N4,
		P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14,
		D1, D2, D3, D4, D5, D6, D7, D8, D9, D10, D11, D12, D13, D14, D15, D16,
		R1, R2, R3, R4,
	}
}
