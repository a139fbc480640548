package publisher

import (
	"context"
)

// tripwire finds out, while a plan is being sent, whether Productiv adds to its list or replaces it. It looks after
// the first chunk for somebody who was listed before. On a list that was empty it can only look after the second, for
// somebody of the first. One look that found out is enough.
type tripwire struct {
	*turn
	// witnesses were listed before the chunk that is looked after.
	witnesses map[personKey]struct{}
	done      bool
}

// look is called after each chunk of additions.
func (w *tripwire) look(ctx context.Context, sent []byte) error {
	users, err := usersOf(sent)
	if err != nil {
		return err
	}
	chunk := make(map[personKey]struct{}, len(users))
	for _, u := range users {
		delete(w.witnesses, keyOf(u.AppUserID))
		if _, refused := w.refused[keyOf(u.AppUserID)]; !refused {
			chunk[keyOf(u.AppUserID)] = struct{}{}
		}
	}
	if len(w.witnesses) == 0 {
		w.witnesses = chunk // nobody of a chunk that was refused whole: the next one shows
		return nil
	}
	w.done = true
	return w.check(ctx, chunk)
}

// check reads Productiv's list until it meets a witness, which is on the first page as a rule. No witness, but people
// of the chunk: the chunk took the list's place. Neither: the list lags behind, and reading back will tell.
func (w *tripwire) check(ctx context.Context, chunk map[personKey]struct{}) error {
	arrived := false
	for u, err := range w.list(ctx) {
		if err != nil {
			return err
		}
		key := keyOf(u.AppUserID)
		if _, still := w.witnesses[key]; still {
			return nil
		}
		_, ours := chunk[key]
		arrived = arrived || ours
	}
	if !arrived {
		return nil
	}
	return final(semanticsMismatch())
}
