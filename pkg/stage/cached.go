package stage

import (
	"context"
	"sync"
	"time"

	"github.com/seatwire/seatwire/pkg/process"
)

// cached asks check again only when the last answer is older than age.
func cached(age time.Duration, check process.Check) process.Check {
	var (
		mu   sync.Mutex
		at   time.Time
		last error
	)
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(at) > age {
			last = check(ctx)
			at = time.Now()
		}
		return last
	}
}
