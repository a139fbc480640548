package deprovisioner

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// identifiersFor is how long the plan's shared SSO identifiers are believed: a walk of the plan costs a call for each
// page, and a batch must not wait for one every time.
const identifiersFor = 15 * time.Minute

// identifiers knows which SSO identifiers more than one person of the plan has. Such an identifier in a file could take
// the licence of somebody whom nobody asked about, so those people go by their psUserId. The vendor has no filter for
// identifiers: only a walk of the whole plan tells.
type identifiers struct {
	mu     sync.Mutex
	walked time.Time
	// shared holds hashes, made with seed.
	shared map[uint64]struct{}
	seed   maphash.Seed
}

// among returns the shared identifiers, from a walk that is not older than identifiersFor. While the plan cannot be
// walked there is no answer, and nothing is sealed.
func (i *identifiers) among(ctx context.Context, v vendor) (func(id string) bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.shared == nil || v.now().Sub(i.walked) > identifiersFor {
		if err := i.walk(ctx, v); err != nil {
			return nil, err
		}
	}
	shared, seed := i.shared, i.seed
	return func(id string) bool {
		_, ok := shared[maphash.String(seed, id)]
		return ok
	}, nil
}

func (i *identifiers) walk(ctx context.Context, v vendor) error {
	began, seed := v.now(), maphash.MakeSeed()
	owner, shared := map[uint64]uint64{}, map[uint64]struct{}{}
	err := v.everybody(ctx, func(psUserID, sso string) {
		if sso == "" {
			return
		}
		id, person := maphash.String(seed, pluralsight.Fold(sso)), maphash.String(seed, psUserID)
		if first, taken := owner[id]; taken && first != person {
			shared[id] = struct{}{}
		}
		owner[id] = person
	})
	if err != nil {
		return err
	}
	i.walked, i.seed, i.shared = began, seed, shared
	return nil
}
