package productivsim

import (
	"fmt"
	"sync"
	"time"
)

// app is one application instance with its list and its counters.
type app struct {
	id, instance   string
	client, secret string
	scopes         []string

	mu       sync.Mutex
	roster   roster
	counts   Counts
	workflow []WorkflowUser
	// writing is the number of POST and DELETE calls under way. Reset leaves it alone: those calls still end.
	writing int
}

// effect is what one call did to a list.
type effect struct {
	added, changed, unchanged, deleted, absent, lost int
}

func newApp(o App) *app {
	a := &app{id: o.ID, instance: o.InstanceID, client: o.ClientID, secret: o.ClientSecret, scopes: o.Scopes}
	if a.instance == "" {
		a.instance = o.ID
	}
	if len(a.scopes) == 0 {
		a.scopes = knownScopes
	}
	return a
}

// reset brings back the initial list and empties the counters.
func (a *app) reset(o App, set *settings) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.roster = newRoster(set.Key, 0)
	now := time.Now()
	for _, u := range o.Users {
		a.roster.put(u, now)
	}
	if a.roster.len() != len(o.Users) {
		return fmt.Errorf("app %q: two initial users have the same key by %q", a.id, set.Key)
	}
	a.roster.setLag(set.StaleReads.Std())
	a.counts = Counts{}
	a.workflow = o.WorkflowUsers
	return nil
}

// post adds and updates; in replace mode it then drops everybody it did not name, and those are lost: no call asked for
// their removal.
func (a *app) post(users []User, set *settings, log *recorder) effect {
	a.mu.Lock()
	defer a.mu.Unlock()
	log.at = time.Now()
	var did effect
	named := make(map[int32]bool)
	for _, u := range users {
		slot := a.put(u, set, log, &did)
		if set.Semantics == SemanticsReplace {
			named[slot] = true
		}
	}
	if set.Semantics == SemanticsReplace {
		did.lost = a.dropOthers(named, ChangeLost, log)
	}
	a.counts.apply(did)
	log.commit()
	return did
}

func (a *app) put(u User, set *settings, log *recorder, did *effect) int32 {
	if slot, known := a.roster.find(u); known && set.Existing == ExistingKeep {
		did.unchanged++
		return slot
	}
	before, after, slot := a.roster.put(u, log.at)
	switch before {
	case after:
		did.unchanged++
	case "":
		did.added++
		log.note(ChangeAdded, before, after)
	default:
		did.changed++
		log.note(ChangeChanged, before, after)
	}
	return slot
}

// dropOthers removes everybody whose slot is not kept, and returns how many.
func (a *app) dropOthers(keep map[int32]bool, kind ChangeKind, log *recorder) int {
	dropped := 0
	for slot, rec := range a.roster.slots {
		if rec == "" || keep[int32(slot)] {
			continue
		}
		log.note(kind, a.roster.clear(int32(slot), log.at), "")
		dropped++
	}
	return dropped
}

// remove deletes the people that users name.
func (a *app) remove(users []User, log *recorder) effect {
	a.mu.Lock()
	defer a.mu.Unlock()
	log.at = time.Now()
	var did effect
	for _, u := range users {
		slot, known := a.roster.find(u)
		if !known {
			did.absent++
			continue
		}
		log.note(ChangeDeleted, a.roster.clear(slot, log.at), "")
		did.deleted++
	}
	a.counts.apply(did)
	log.commit()
	return did
}

// seed makes users the whole list by hand: no call, nothing counted.
func (a *app) seed(users []User, set *settings, h *history) {
	a.mu.Lock()
	defer a.mu.Unlock()
	log := h.record(a.id, 0)
	keep := make(map[int32]bool, len(users))
	var did effect
	for _, u := range users {
		keep[a.put(u, &settings{Switches: Switches{Existing: ExistingUpdate}}, log, &did)] = true
	}
	a.dropOthers(keep, ChangeDeleted, log)
	log.commit()
}

func (a *app) page(from, size int) (users []User, next int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.roster.page(from, size, time.Now())
}

func (a *app) snapshot() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.counts.clone()
	c.Users = a.roster.len()
	return c
}
