package productivsim

import (
	"fmt"
	"time"
)

// roster is the list of one app. Its place in slots is a person's place in the pages, and removal leaves a hole that a later
// person fills: so no page token ever shifts, and slots never outgrow the largest list. Not safe for concurrent use.
type roster struct {
	key   Key
	slots []record
	free  []int32
	index map[string]int32
	// lag is how long readers do not see a write; journal holds what they see instead, oldest first.
	lag     time.Duration
	journal []undo
}

// undo is what a slot held before a write.
type undo struct {
	at     time.Time
	slot   int32
	before record
}

func newRoster(key Key, lag time.Duration) roster {
	return roster{key: key, lag: lag, index: map[string]int32{}}
}

// keyOf is what makes two entries the same person.
func keyOf(k Key, u User) string {
	switch k {
	case KeyEmail:
		return foldEmail(u.Email)
	case KeyPair:
		return fmt.Sprintf("%d:%s%s", len(u.AppUserID), u.AppUserID, foldEmail(u.Email))
	default:
		return u.AppUserID
	}
}

func (r *roster) len() int { return len(r.slots) - len(r.free) }

// find returns the slot of the person that u names.
func (r *roster) find(u User) (int32, bool) {
	slot, ok := r.index[keyOf(r.key, u)]
	return slot, ok
}

// put writes u over the person it names, or into a free slot, and returns what was there and where u is now.
func (r *roster) put(u User, now time.Time) (before, after record, slot int32) {
	slot, known := r.find(u)
	switch {
	case known:
	case len(r.free) > 0:
		slot = r.free[len(r.free)-1]
		r.free = r.free[:len(r.free)-1]
	default:
		slot = int32(len(r.slots))
		r.slots = append(r.slots, "")
	}
	before, after = r.slots[slot], pack(u)
	if before == after {
		return before, before, slot
	}
	r.write(slot, after, now)
	// The key is taken from the record, so that the index keeps no second copy of it, and the old entry goes first,
	// since a map keeps the key it was first given.
	key := keyOf(r.key, after.user())
	delete(r.index, key)
	r.index[key] = slot
	return before, after, slot
}

// clear empties a slot and returns what it held.
func (r *roster) clear(slot int32, now time.Time) record {
	before := r.slots[slot]
	delete(r.index, keyOf(r.key, before.user()))
	r.write(slot, "", now)
	r.free = append(r.free, slot)
	return before
}

func (r *roster) write(slot int32, after record, now time.Time) {
	if r.lag > 0 {
		r.journal = append(r.journal, undo{at: now, slot: slot, before: r.slots[slot]})
	}
	r.slots[slot] = after
}

// setLag starts, changes or ends stale reads. Writes made while it was zero are visible at once.
func (r *roster) setLag(lag time.Duration) {
	r.lag = lag
	if lag == 0 {
		r.journal = nil
	}
}

// hidden returns the slots whose writes readers do not see yet, with what they see instead.
func (r *roster) hidden(now time.Time) map[int32]record {
	settled := 0
	for settled < len(r.journal) && now.Sub(r.journal[settled].at) >= r.lag {
		settled++
	}
	r.journal = r.journal[settled:]
	if len(r.journal) == 0 {
		r.journal = nil
		return nil
	}
	old := make(map[int32]record, len(r.journal))
	for _, u := range r.journal {
		if _, earlier := old[u.slot]; !earlier {
			old[u.slot] = u.before
		}
	}
	return old
}

// page returns at most size people as readers see them, from slot from on, and the slot of the next page, or -1 at the end.
func (r *roster) page(from, size int, now time.Time) (users []User, next int) {
	old := r.hidden(now)
	users = make([]User, 0, min(size, r.len()))
	for slot := from; slot < len(r.slots); slot++ {
		rec := r.slots[slot]
		if before, ok := old[int32(slot)]; ok {
			rec = before
		}
		if rec == "" {
			continue
		}
		if len(users) == size {
			return users, slot
		}
		users = append(users, rec.user())
	}
	return users, -1
}

// users returns everybody who is on the list in truth.
func (r *roster) users() []User {
	users := make([]User, 0, r.len())
	for _, rec := range r.slots {
		if rec != "" {
			users = append(users, rec.user())
		}
	}
	return users
}

// indexBy builds the index for a key, or says that two people would become one under it.
func (r *roster) indexBy(key Key) (map[string]int32, error) {
	if key == r.key {
		return r.index, nil
	}
	index := make(map[string]int32, r.len())
	for slot, rec := range r.slots {
		if rec == "" {
			continue
		}
		k := keyOf(key, rec.user())
		if _, taken := index[k]; taken {
			return nil, fmt.Errorf("two people on the list have the same key by %q", key)
		}
		index[k] = int32(slot)
	}
	return index, nil
}
