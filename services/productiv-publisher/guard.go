package publisher

import (
	"fmt"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/roster"
)

// window is how far back the guard over time looks.
const window = 24 * time.Hour

// proposal is what the guards judge: pure numbers of people.
type proposal struct {
	// removals is who would be deleted now; absent is who would be at the next sweep, for want of evidence.
	removals, absent int
	// earlier is who was deleted for the same sweep before a crash: a publication stays one.
	earlier int
	// desired is the length of the new list, published that of the last one.
	desired, published int
	// before are the removals of the last publications, oldest first.
	before []roster.Removal
	paused bool
	now    time.Time
}

// guard returns why a person has to look first, "" when nobody has to. Somebody who is absent counts like somebody
// who leaves: half a plan that is suddenly not there is for a person to see now, not after the next sweep.
func guard(g config.Guards, p proposal) string {
	gone := p.removals + p.absent
	whole := gone + p.earlier
	limit, limit24 := share(g.MaxRemovalPercent, p.published), share(g.MaxRemovalPercent24h, oldest(p))
	switch {
	case p.paused && p.removals > 0:
		return "paused"
	case p.desired == 0 && p.published > 0 && !g.AllowEmpty:
		return fmt.Sprintf("empty: nobody is left of %d people; allowEmpty is off", p.published)
	case gone == 0:
		return ""
	case whole > g.MaxRemovals:
		return fmt.Sprintf("maxRemovals: %d people would go, %d may", whole, g.MaxRemovals)
	case whole > limit:
		return fmt.Sprintf("maxRemovalPercent: %d of %d people would go, %d may", whole, p.published, limit)
	case gone+recent(p) > limit24:
		return fmt.Sprintf("maxRemovalPercent24h: %d people would go after %d within 24 hours, %d may", gone, recent(p), limit24)
	default:
		return ""
	}
}

// share is percent of people, rounded up, at least 1.
func share(percent, people int) int { return max(1, (people*percent+99)/100) }

// recent is how many people went within the window.
func recent(p proposal) (people int) {
	for _, r := range p.before {
		if p.now.Sub(r.At) < window {
			people += r.People
		}
	}
	return people
}

// oldest is the length of the list that the window began with: a slow drain must not shrink its own measure.
func oldest(p proposal) int {
	for _, r := range p.before {
		if p.now.Sub(r.At) < window {
			return r.Of
		}
	}
	return p.published
}
