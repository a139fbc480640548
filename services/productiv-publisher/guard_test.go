package publisher

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/roster"
)

// loose are guards of which none is near.
var loose = config.Guards{MaxRemovalPercent: 100, MaxRemovals: 1000, MaxRemovalPercent24h: 100}

func removals(at time.Duration, people, of int) roster.Removal {
	return roster.Removal{At: start.Add(-at), People: people, Of: of}
}

// Each guard stops what is strictly beyond it, and nothing before.
func TestGuard_limits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		guards config.Guards
		p      proposal
		want   string // what the reason begins with, "" for let through
	}{
		"maxRemovals, one less":      {config.Guards{MaxRemovals: 3, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{removals: 2, desired: 8, published: 10}, ""},
		"maxRemovals, at it":         {config.Guards{MaxRemovals: 3, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{removals: 3, desired: 7, published: 10}, ""},
		"maxRemovals, one more":      {config.Guards{MaxRemovals: 3, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{removals: 4, desired: 6, published: 10}, "maxRemovals:"},
		"percent, one less":          {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 10, MaxRemovalPercent24h: 100}, proposal{removals: 9, desired: 91, published: 100}, ""},
		"percent, at it":             {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 10, MaxRemovalPercent24h: 100}, proposal{removals: 10, desired: 90, published: 100}, ""},
		"percent, one more":          {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 10, MaxRemovalPercent24h: 100}, proposal{removals: 11, desired: 89, published: 100}, "maxRemovalPercent:"},
		"percent is rounded up":      {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 10, MaxRemovalPercent24h: 100}, proposal{removals: 11, desired: 90, published: 101}, ""},
		"percent is at least one":    {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 10, MaxRemovalPercent24h: 100}, proposal{removals: 1, desired: 1, published: 2}, ""},
		"of a small list, two":       {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 10, MaxRemovalPercent24h: 100}, proposal{removals: 2, desired: 2, published: 4}, "maxRemovalPercent:"},
		"percent of zero":            {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 0, MaxRemovalPercent24h: 100}, proposal{removals: 1, desired: 99, published: 100}, ""},
		"24h, one less":              {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 20}, proposal{removals: 9, desired: 81, published: 90, before: []roster.Removal{removals(time.Hour, 10, 100)}}, ""},
		"24h, at it":                 {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 20}, proposal{removals: 10, desired: 80, published: 90, before: []roster.Removal{removals(time.Hour, 10, 100)}}, ""},
		"24h, one more":              {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 20}, proposal{removals: 11, desired: 79, published: 90, before: []roster.Removal{removals(time.Hour, 10, 100)}}, "maxRemovalPercent24h:"},
		"24h, just inside":           {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 20}, proposal{removals: 11, desired: 79, published: 90, before: []roster.Removal{removals(window-1, 10, 100)}}, "maxRemovalPercent24h:"},
		"24h, just outside":          {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 20}, proposal{removals: 11, desired: 79, published: 90, before: []roster.Removal{removals(window, 10, 100)}}, ""},
		"24h, of the window's start": {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 20}, proposal{removals: 3, desired: 82, published: 85, before: []roster.Removal{removals(2*time.Hour, 10, 100), removals(time.Hour, 5, 90)}}, ""},
		"one publication, in parts":  {config.Guards{MaxRemovals: 3, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{removals: 2, earlier: 2, desired: 6, published: 10}, "maxRemovals:"},
		"in parts, nobody is left":   {config.Guards{MaxRemovals: 1, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{earlier: 2, desired: 8, published: 10}, ""},
		"absent counts":              {config.Guards{MaxRemovals: 3, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{removals: 2, absent: 2, desired: 6, published: 10}, "maxRemovals:"},
		"absent alone":               {config.Guards{MaxRemovals: 3, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100}, proposal{absent: 4, desired: 6, published: 10}, "maxRemovals:"},
		"empty":                      {loose, proposal{removals: 10, published: 10}, "empty:"},
		"empty, and nobody goes":     {loose, proposal{published: 10}, "empty:"},
		"empty is allowed":           {config.Guards{MaxRemovals: 1000, MaxRemovalPercent: 100, MaxRemovalPercent24h: 100, AllowEmpty: true}, proposal{removals: 10, published: 10}, ""},
		"empty from the start":       {loose, proposal{}, ""},
		"paused":                     {loose, proposal{removals: 1, desired: 9, published: 10, paused: true}, "paused"},
		"paused, nobody goes":        {loose, proposal{desired: 10, published: 10, paused: true}, ""},
		"paused, somebody is absent": {loose, proposal{absent: 1, desired: 9, published: 10, paused: true}, ""},
		"nothing at all":             {config.Guards{}, proposal{desired: 10, published: 10}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.p.now = start
			got := guard(tt.guards, tt.p)
			if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

var proposals = rapid.Custom(func(t *rapid.T) proposal {
	n := rapid.IntRange(0, 60)
	p := proposal{
		removals: n.Draw(t, "removals"), absent: n.Draw(t, "absent"), desired: n.Draw(t, "desired"), published: n.Draw(t, "published"),
		paused: rapid.Bool().Draw(t, "paused"), now: start,
	}
	for _, hours := range rapid.SliceOfN(rapid.IntRange(0, 48), 0, 5).Draw(t, "hours ago") {
		p.before = append(p.before, removals(time.Duration(hours)*time.Hour, n.Draw(t, "people"), n.Draw(t, "of")))
	}
	slices.SortFunc(p.before, func(a, b roster.Removal) int { return a.At.Compare(b.At) })
	return p
})

var someGuards = rapid.Custom(func(t *rapid.T) config.Guards {
	return config.Guards{
		MaxRemovalPercent: rapid.IntRange(0, 100).Draw(t, "percent"), MaxRemovals: rapid.IntRange(0, 60).Draw(t, "removals"),
		MaxRemovalPercent24h: rapid.IntRange(0, 100).Draw(t, "percent 24h"), AllowEmpty: rapid.Bool().Draw(t, "empty"),
	}
})

// Whoever would take more people away is held whenever somebody who takes fewer is.
func TestGuard_isMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g, p := someGuards.Draw(t, "guards"), proposals.Draw(t, "proposal")
		more := p
		more.removals += rapid.IntRange(0, 5).Draw(t, "more removals")
		more.absent += rapid.IntRange(0, 5).Draw(t, "more absent")
		more.desired -= rapid.IntRange(0, p.desired).Draw(t, "fewer left")
		more.paused = p.paused || rapid.Bool().Draw(t, "paused since")
		if guard(g, p) != "" && guard(g, more) == "" {
			t.Fatalf("held: %s\nlet through: %+v", guard(g, p), more)
		}
	})
}

// The guard over time, against the plainest reading of the contract: everybody who went within 24 hours, against a
// share of the list that the 24 hours began with.
func TestGuard_windowByBruteForce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := proposals.Draw(t, "proposal")
		p.paused, p.desired = false, 1
		g := config.Guards{MaxRemovalPercent: 100, MaxRemovals: 1 << 30, MaxRemovalPercent24h: rapid.IntRange(0, 100).Draw(t, "percent")}
		total, began := p.removals+p.absent, p.published
		for i := len(p.before) - 1; i >= 0; i-- {
			if r := p.before[i]; r.At.After(p.now.Add(-24 * time.Hour)) {
				total, began = total+r.People, r.Of
			}
		}
		allowed := began * g.MaxRemovalPercent24h / 100
		if began*g.MaxRemovalPercent24h%100 > 0 {
			allowed++
		}
		want := p.removals+p.absent > 0 && total > max(1, allowed)
		if p.removals+p.absent > max(1, p.published) {
			return // held by the other percentage already
		}
		if got := guard(g, p) != ""; got != want {
			t.Fatalf("held: %v, want %v (%d of %d allowed)", got, want, total, allowed)
		}
	})
}
