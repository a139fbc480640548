package faultbench

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestLinks_badWeather makes every link slow and lossy, between services and nodes and between the nodes themselves,
// while everything is at work: it takes longer, and nothing else is different. No other show is beside it, for a busy
// machine's delays add to those of the links, and then a cluster is without a leader most of the time.
func TestLinks_badWeather(t *testing.T) {
	if *chaos == 0 {
		t.Skip("three servers and minutes of bad weather: make chaos")
	}
	w := startWorld(t, draw(t, 850), Options{People: 100, PageSize: 25, BatchSize: 20, Cluster: true})
	for range passes(3) {
		w.forecast(func() *weather {
			return &weather{
				rng:   rand.New(rand.NewPCG(w.rng.Uint64(), 0)),
				delay: 100 * time.Millisecond, jitter: 50 * time.Millisecond, loss: 0.05, life: time.Minute,
			}
		})
		began := time.Now()
		w.round(w.pass)
		found.fault(rowWeather, int(time.Since(began).Seconds()))
		t.Logf("a sync and 20 leavers in bad weather: %s", time.Since(began).Round(time.Second))
	}
	w.forecast(func() *weather { return nil })
	w.judge()
}

// forecast sets the weather on every link, each its own.
func (w *world) forecast(weather func() *weather) {
	for i, p := range w.cluster.clients {
		p.forth.set(weather())
		p.back.set(weather())
		w.cluster.between(i, func(out, in *gate) {
			out.set(weather())
			in.set(weather())
		})
	}
}
