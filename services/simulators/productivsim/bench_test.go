package productivsim_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/seatwire/seatwire/services/simulators/productivsim"
)

// The figures are of the handler alone, a thousand people a call, beside a list of a million.
func BenchmarkThousandPeople(b *testing.B) {
	o := options()
	o.CountsOnly = true
	sim := productivsim.New(o)
	if err := sim.Seed("app-a", people(1_000_000)); err != nil {
		b.Fatal(err)
	}
	changed := people(1000)
	h := sim.Handler()
	b.Run("POST", func(b *testing.B) {
		for i := range b.N {
			b.StopTimer()
			for j := range changed {
				changed[j].License = fmt.Sprint("licence ", i)
			}
			sent := body(changed)
			b.StartTimer()
			want(b, serve(h, http.MethodPost, sent).Code)
		}
	})
	b.Run("GET", func(b *testing.B) {
		for b.Loop() {
			want(b, serve(h, http.MethodGet, "").Code)
		}
	})
}

func want(b *testing.B, status int) {
	if status != http.StatusOK {
		b.Fatalf("status %d", status)
	}
}
