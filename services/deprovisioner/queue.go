package deprovisioner

import (
	"container/heap"
	"time"
)

// entry is one key and when its time comes.
type entry struct {
	at  time.Time
	key string
}

// agenda is keys in the order of their times; ties go by key, so that a history always plays the same way.
type agenda []entry

func (a agenda) Len() int      { return len(a) }
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].key < a[j].key
	}
	return a[i].at.Before(a[j].at)
}

// Push is for package heap.
func (a *agenda) Push(x any) { *a = append(*a, x.(entry)) }

// Pop is for package heap.
func (a *agenda) Pop() any {
	last := len(*a) - 1
	e := (*a)[last]
	*a = (*a)[:last]
	return e
}

func (a *agenda) add(at time.Time, key string) { heap.Push(a, entry{at, key}) }

// pop takes out every key whose time has come.
func (a *agenda) pop(now time.Time) (keys []string) {
	for len(*a) > 0 && !(*a)[0].at.After(now) {
		keys = append(keys, heap.Pop(a).(entry).key)
	}
	return keys
}

// next is the earliest time, zero when there is none.
func (a *agenda) next() time.Time {
	if len(*a) == 0 {
		return time.Time{}
	}
	return (*a)[0].at
}

// queue is the requests that wait for a batch. Each has a time by which its batch must close, and a candidate: whom it
// seems to mean before anybody was looked up. A request that was cancelled meanwhile stays until it is taken.
type queue struct {
	agenda     agenda
	candidates map[string]int // how many waiting requests seem to mean that person
	of         map[string]string
}

func newQueue() *queue { return &queue{candidates: map[string]int{}, of: map[string]string{}} }

func (q *queue) add(key, candidate string, closeBy time.Time) {
	if _, twice := q.of[key]; twice {
		return
	}
	q.of[key] = candidate
	q.candidates[candidate]++
	q.agenda.add(closeBy, key)
}

// ready is when the next batch closes: at once when it is full. any is false when nobody waits.
func (q *queue) ready(people int, now time.Time) (at time.Time, any bool) {
	for len(q.agenda) > 0 {
		if _, live := q.of[q.agenda[0].key]; live {
			break
		}
		heap.Pop(&q.agenda)
	}
	if len(q.agenda) == 0 {
		return time.Time{}, false
	}
	if len(q.candidates) >= people {
		return now, true
	}
	return q.agenda.next(), true
}

// drop forgets a request's candidate, so that a cancelled person does not fill a batch.
func (q *queue) drop(key string) {
	candidate, ok := q.of[key]
	if !ok {
		return
	}
	delete(q.of, key)
	if q.candidates[candidate]--; q.candidates[candidate] == 0 {
		delete(q.candidates, candidate)
	}
}

// take removes the requests of one batch: those of at most so many candidates, and at most so many.
func (q *queue) take(people, requests int) (keys []string) {
	taken := map[string]bool{}
	for len(q.agenda) > 0 && len(keys) < requests {
		e := q.agenda[0]
		candidate, live := q.of[e.key]
		if live && !taken[candidate] && len(taken) == people {
			break
		}
		heap.Pop(&q.agenda)
		if !live {
			continue
		}
		taken[candidate] = true
		q.drop(e.key)
		keys = append(keys, e.key)
	}
	return keys
}
