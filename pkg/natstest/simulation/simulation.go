// Package simulation plays random histories against real code, in one goroutine each, on a clock of their own: a seed
// gives the same history each time, bit for bit. What surrounds the code is models (package brokermodel, and those of
// the vendors beside each test); a crash drops all memory and keeps what the models hold.
//
// A history that breaks an invariant is printed with all that happened. Flags of every test that uses this package:
//
//	-histories=N   how many to play
//	-lasting=D     play for so long instead, however many that are
//	-sim-seed=S    the seed of them
//	-history=I     only number I of that seed, with its trace
package simulation

import (
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var (
	histories = flag.Int("histories", 1000, "how many histories a simulation plays")
	lasting   = flag.Duration("lasting", 0, "play histories for so long, instead of -histories of them")
	seed      = flag.Uint64("sim-seed", 1, "the seed of a simulation's histories")
	only      = flag.Int("history", -1, "play only the history of this number, and print its trace")
)

// Dice draw a history.
type Dice interface {
	// Intn is a number in [0, n).
	Intn(what string, n int) int
}

type seeded struct{ *rand.Rand }

func (s seeded) Intn(_ string, n int) int { return s.IntN(n) }

// Seeded are fast dice.
func Seeded(seed uint64, history int) Dice {
	return seeded{rand.New(rand.NewPCG(seed, uint64(history)))}
}

type shrinking struct{ *rapid.T }

func (s shrinking) Intn(what string, n int) int { return rapid.IntRange(0, n-1).Draw(s.T, what) }

// Shrinking are rapid's dice, which make a history that fails as short as they can.
func Shrinking(t *rapid.T) Dice { return shrinking{t} }

// OneOf draws one of the values.
func OneOf[T any](d Dice, what string, values ...T) T { return values[d.Intn(what, len(values))] }

// Chance is true once in so many draws.
func Chance(d Dice, what string, in int) bool { return d.Intn(what, in) == 0 }

// Violation is an invariant that did not hold.
type Violation struct{ Invariant, Detail string }

func (v Violation) String() string { return v.Invariant + ": " + v.Detail }

// Violated ends a history. It does not return.
func Violated(invariant, detail string, args ...any) {
	panic(Violation{invariant, fmt.Sprintf(detail, args...)})
}

// Trace is what happened in a history: a hash of it, and the lines when somebody wants to read them.
type Trace struct {
	Hash   uint64
	Events int
	Lines  []string
	keep   bool
}

// Note adds an event.
func (t *Trace) Note(at time.Time, parts ...string) {
	t.Events++
	h := fnv.New64a()
	_, _ = h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, t.Hash), uint64(at.UnixNano()))) // a hash takes everything
	for _, p := range parts {
		_, _ = h.Write([]byte(p))
		_, _ = h.Write([]byte{0})
	}
	t.Hash = h.Sum64()
	if t.keep {
		t.Lines = append(t.Lines, at.Format("Jan 02 15:04:05.000 ")+strings.Join(parts, " "))
	}
}

// History plays one history to its end; it ends early by Violated.
type History func(d Dice, tr *Trace)

// Play plays a history. It returns the invariant that did not hold, nil when all did.
func Play(d Dice, keep bool, history History) (tr *Trace, broken *Violation) {
	tr = &Trace{keep: keep}
	defer func() {
		switch r := recover().(type) {
		case nil:
		case Violation:
			broken = &r
			tr.Note(time.Time{}, "violated", r.String())
		default:
			panic(r)
		}
	}()
	history(d, tr)
	return tr, nil
}

// bubble plays a history of the seed in a bubble of testing/synctest: each begins at the same time of day, and code
// that waits costs no time.
func bubble(t *testing.T, number int, keep bool, history History) (tr *Trace, broken *Violation) {
	synctest.Test(t, func(*testing.T) { tr, broken = Play(Seeded(*seed, number), keep, history) })
	return tr, broken
}

// progress is after how many histories Run says how far it is: some minutes.
const progress = 50_000

// Run plays -histories of them on all processors.
func Run(t *testing.T, history History) {
	if *only >= 0 {
		tr, broken := bubble(t, *only, true, history)
		t.Logf("history %d of seed %d:\n%s", *only, *seed, strings.Join(tr.Lines, "\n"))
		if broken != nil {
			t.Error(broken)
		}
		return
	}
	var next, played, events, failed atomic.Int64
	var hash atomic.Uint64
	began := time.Now()
	more := func(n int) bool {
		if *lasting > 0 {
			return time.Since(began) < *lasting
		}
		return n < *histories
	}
	t.Run("players", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for n := int(next.Add(1) - 1); more(n) && failed.Load() < 3; n = int(next.Add(1) - 1) {
					tr, broken := bubble(t, n, false, history)
					if done := played.Add(1); done%progress == 0 {
						t.Logf("%d histories so far, %d violations, %s", done, failed.Load(), time.Since(began).Round(time.Second))
					}
					events.Add(int64(tr.Events))
					hash.Add(tr.Hash)
					if broken == nil {
						continue
					}
					failed.Add(1)
					tr, _ = bubble(t, n, true, history)
					t.Errorf("%s\nhistory %d of seed %d (-sim-seed=%d -history=%d):\n%s",
						broken, n, *seed, *seed, n, strings.Join(tr.Lines, "\n"))
				}
			})
		}
	})
	t.Logf("%d histories of seed %d, %d events, %d violations, %s (hash %x)", played.Load(), *seed,
		events.Load(), failed.Load(), time.Since(began).Round(time.Millisecond), hash.Load())
}

// Repeats checks that a seed gives the same history each time, to the last byte that is written.
func Repeats(t *testing.T, history History) {
	all := map[uint64]bool{}
	for n := range 100 {
		one, _ := bubble(t, n, false, history)
		two, _ := bubble(t, n, true, history)
		if one.Hash != two.Hash || one.Events != two.Events {
			t.Errorf("history %d: %d events with hash %x, then %d with %x", n, one.Events, one.Hash, two.Events, two.Hash)
		}
		all[one.Hash] = true
	}
	if len(all) < 90 {
		t.Errorf("only %d different histories of 100", len(all))
	}
}
