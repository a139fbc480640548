package publisher

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest/simulation"
	"github.com/seatwire/seatwire/pkg/productiv"
	"github.com/seatwire/seatwire/pkg/roster"
)

// simApp is the model of one app's list at Productiv, with any of the behaviours that its documentation leaves open.
type simApp struct {
	w   *simWorld
	key func(productiv.User) string
	// replaces makes each addition the whole list.
	replaces bool
	entries  []simEntryOf
	// before is the list as reads show it until stale.
	before []simEntryOf
	stale  time.Time
	lag    time.Duration
	// refuses are ids that Productiv does not take.
	refuses string
	writes  int
}

// simEntryOf is an entry and whether it is ours to delete.
type simEntryOf struct {
	productiv.User
	ours bool
}

func newSimApp(w *simWorld) *simApp {
	a := &simApp{w: w, key: simulation.OneOf(w, "key", byID, byEmail, byPair), replaces: w.c.Productiv.Mode == modeReplaceSingle}
	a.lag = simulation.OneOf(w, "lag", 0, 0, 3*time.Second, 20*time.Second)
	if simulation.Chance(w, "refuses", 6) {
		a.refuses = "u2"
	}
	if !a.replaces && w.c.Productiv.Mode != modeAppend {
		for i := range w.Intn("strangers", 3) {
			a.entries = append(a.entries, simEntryOf{User: productiv.User{AppUserID: "x" + strconv.Itoa(i), Email: "x" + strconv.Itoa(i) + "@y"}, ours: w.c.Productiv.Adopt})
		}
	}
	return a
}

// shown is the list as reads show it now.
func (a *simApp) shown() []simEntryOf {
	if time.Now().Before(a.stale) {
		return a.before
	}
	return a.entries
}

// change alters the list; reads show it after the lag.
func (a *simApp) change(alter func()) {
	a.before = slices.Clone(a.shown())
	alter()
	a.stale = time.Now().Add(a.lag)
}

// simClient is the app as a process reaches it: the guard is asked when the bytes leave.
type simClient struct {
	*simApp
	p *process
}

// Users implements App, with pages of three.
func (c simClient) Users(_ context.Context, token string) (page productiv.Page, err error) {
	if !c.w.calm && simulation.Chance(c.w, "read fails", 30) {
		return page, fault.New(fault.Transient, "server-error", "500")
	}
	all := c.shown()
	from, _ := strconv.Atoi(token)
	to := min(from+3, len(all))
	for _, e := range all[min(from, to):to] {
		page.Users = append(page.Users, e.User)
	}
	if to < len(all) {
		page.Next = strconv.Itoa(to)
	}
	return page, nil
}

// Add implements App.
func (c simClient) Add(_ context.Context, body []byte) error {
	return c.call("add", body, func(users []productiv.User) error {
		if slices.ContainsFunc(users, func(u productiv.User) bool { return u.AppUserID == c.refuses }) {
			return fault.New(fault.Permanent, "refused", "400")
		}
		c.change(func() {
			if c.replaces {
				c.entries = nil
			}
			for _, u := range users {
				c.entries = append(c.without(u), simEntryOf{u, true})
			}
		})
		return nil
	})
}

// Remove implements App.
func (c simClient) Remove(_ context.Context, body []byte) (removed productiv.Removed, err error) {
	err = c.call("remove", body, func(users []productiv.User) error {
		before, carriedOut := len(c.entries), users
		if !c.w.calm && simulation.Chance(c.w, "in part", 25) {
			carriedOut = users[1:]
		}
		c.change(func() {
			for _, u := range carriedOut {
				c.entries = c.without(u)
			}
		})
		removed = productiv.Removed{Count: before - len(c.entries), All: before-len(c.entries) == len(users)}
		return nil
	})
	return removed, err
}

func (a *simApp) without(u productiv.User) []simEntryOf {
	return slices.DeleteFunc(slices.Clone(a.entries), func(e simEntryOf) bool { return a.key(e.User) == a.key(u) })
}

// call is one request that writes: it may fail before it is carried out, or after.
func (c simClient) call(kind string, body []byte, carryOut func([]productiv.User) error) error {
	return c.p.effect(kind, func() error {
		if c.p.hold.check() != nil {
			return fault.New(fault.Permanent, "lane-lost", "the request was not completed") // as productiv.Client puts it
		}
		var call struct {
			Users []productiv.User `json:"provisionedUsers"`
		}
		if err := json.Unmarshal(body, &call); err != nil {
			simulation.Violated("I-20", "a body that is no JSON: %v", err)
		}
		c.w.note(kind, string(body))
		c.writes++
		c.w.judgeCall(c.p, kind, call.Users)
		if !c.w.calm && simulation.Chance(c.w, "fails before", 25) {
			return fault.New(fault.Transient, "server-error", "500")
		}
		if err := carryOut(call.Users); err != nil {
			return err
		}
		if !c.w.calm && simulation.Chance(c.w, "fails after", 25) {
			return fault.New(fault.Transient, "timeout", "applied, then failed")
		}
		return nil
	})
}

// judgeCall is what must hold of every call that writes.
func (w *simWorld) judgeCall(p *process, kind string, users []productiv.User) {
	sweep, n := w.sweepInHand()
	switch {
	case !p.owns():
		simulation.Violated("I-07", "process %d writes, and the message is somebody else's", p.number)
	case len(users) == 0 || len(users) > w.c.Productiv.BatchSize:
		simulation.Violated("I-20", "%d people in a call, %d may be", len(users), w.c.Productiv.BatchSize)
	case !sweep.whole:
		simulation.Violated("I-05", "sweep %s is not whole, and yet somebody is told of it", sweep.manifest.SweepID)
	case n < w.books.concluded:
		simulation.Violated("I-06", "sweep %d after sweep %d was published", n, w.books.concluded)
	}
	if kind == "add" && w.app.replaces {
		w.judgeWhole(sweep, users)
	}
	if kind == "remove" {
		if w.books.paused {
			simulation.Violated("I-02", "removals while paused")
		}
		for _, u := range users {
			w.judgeRemoval(sweep, n, u)
		}
		w.judgeGuards(sweep, users)
	}
}

// judgeWhole: where an addition takes the list's place, it holds everybody who belongs on the list.
func (w *simWorld) judgeWhole(sweep simSweep, users []productiv.User) {
	for _, p := range sweep.people {
		if p.Disposition == roster.Active && !shares(sweep.people, p.Email) &&
			!slices.ContainsFunc(users, func(u productiv.User) bool { return u.AppUserID == p.PsUserID }) {
			simulation.Violated("I-09", "%s holds a licence and would vanish from the list", p.PsUserID)
		}
	}
}

// sweepInHand is the sweep that the state says is being published, with its number.
func (w *simWorld) sweepInHand() (simSweep, int) {
	hand := w.publication().Hand
	for n, s := range w.sweeps {
		if s.manifest.SweepID == hand {
			return s, n
		}
	}
	simulation.Violated("I-02", "a call for no sweep")
	return simSweep{}, 0
}

// judgeRemoval: only who is ours goes, and for a reason: a mark in this sweep, two sound sweeps without a trace, or the
// right entry of the same person.
func (w *simWorld) judgeRemoval(sweep simSweep, n int, u productiv.User) {
	for _, e := range w.app.entries {
		if w.app.key(e.User) == w.app.key(u) && !e.ours {
			simulation.Violated("I-08", "%s is not ours to delete", e.AppUserID)
		}
	}
	marked, stays := false, false
	for _, p := range sweep.people {
		same := strings.EqualFold(p.Email, u.Email)
		if p.PsUserID == u.AppUserID && p.Disposition == roster.Active && same && !shares(sweep.people, p.Email) {
			simulation.Violated("I-09", "%s holds a licence and is deleted", u.AppUserID)
		}
		marked = marked || p.PsUserID == u.AppUserID && p.Disposition == roster.Removed
		stays = stays || p.Disposition == roster.Active && (same || p.PsUserID == u.AppUserID)
	}
	if !marked && !stays && !w.absentTwice(n, u.AppUserID) {
		simulation.Violated("I-09", "%s is deleted for being absent once", u.AppUserID)
	}
}

// absentTwice reports whether two whole sweeps one after the other do not know the id: this one, and what was looked at
// before. That may be a newer one, when a person released an older sweep after the newer ones had failed.
func (w *simWorld) absentTwice(n int, id string) bool {
	looked := slices.DeleteFunc(slices.Clone(w.books.counted), func(i int) bool { return !w.sweeps[i].whole })
	if last := len(looked) - 1; last < 1 || looked[last] != n {
		return false
	}
	return !slices.ContainsFunc(looked[len(looked)-2:], func(i int) bool {
		return slices.ContainsFunc(w.sweeps[i].people, func(p roster.Person) bool { return p.PsUserID == id })
	})
}

// looked notes the sweep that the ledger says was counted last.
func (w *simWorld) looked() {
	counted := w.publication().Owned.Counted
	n := slices.IndexFunc(w.sweeps, func(s simSweep) bool { return s.manifest.SweepID == counted })
	if last := len(w.books.counted) - 1; n >= 0 && (last < 0 || w.books.counted[last] != n) {
		w.books.counted = append(w.books.counted, n)
	}
}

// judgeGuards: not more people go for one sweep than may, unless a person released it.
func (w *simWorld) judgeGuards(sweep simSweep, users []productiv.User) {
	id := sweep.manifest.SweepID
	if w.books.gone[id] == nil {
		w.books.gone[id] = map[string]bool{}
	}
	for _, u := range users {
		email := strings.ToLower(u.Email)
		if !slices.ContainsFunc(sweep.people, func(p roster.Person) bool { return p.Disposition == roster.Active && strings.EqualFold(p.Email, email) }) &&
			!slices.ContainsFunc(sweep.people, func(p roster.Person) bool { return p.Disposition == roster.Active && p.PsUserID == u.AppUserID }) {
			w.books.gone[id][email] = true
		}
	}
	if w.books.released[id] == 0 && len(w.books.gone[id]) > w.c.Guards.MaxRemovals {
		simulation.Violated("I-08", "%d people go, %d may, and nobody released it", len(w.books.gone[id]), w.c.Guards.MaxRemovals)
	}
}

// shares reports whether two active people have the address.
func shares(people []roster.Person, email string) bool {
	n := 0
	for _, p := range people {
		if p.Disposition == roster.Active && strings.EqualFold(p.Email, email) {
			n++
		}
	}
	return n > 1
}
