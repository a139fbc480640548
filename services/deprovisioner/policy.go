package deprovisioner

import (
	"path"
	"strings"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/roster"
)

// The settings that are not the operator's.
const (
	// maxRows bounds a batch whatever batchMaxUsers says: its document must fit into one message.
	maxRows = 1000
	// requestsPerRow bounds the requests that are sealed into one batch, per row on average; the rest joins it later.
	requestsPerRow = 4
	// maxAhead is how far an event's clock may be ahead of ours.
	maxAhead = 5 * time.Minute
	// approvalLife is how long a person's word holds: who approved a list in the morning did not approve tomorrow's world.
	approvalLife = 4 * time.Hour
	// day is the window of maxUsers24hAuto.
	day = 24 * time.Hour
	// firstRead is how soon the first read-back follows an answer, unless verifyEvery is shorter.
	firstRead = 2 * time.Second
	// jobPatience, in units of verifyEvery, is how long a file without a final answer blocks other files of the plan.
	// Pluralsight gives no sign of a job's end; its people stay locked either way.
	jobPatience = 10
	// pauseRecheck is how soon a paused batch looks again.
	pauseRecheck = 5 * time.Second
	// maxHistory bounds a document; a batch that is held and sealed anew for ever must not outgrow a message.
	maxHistory = 64
)

// Ways to apply.
const (
	applyDryRun = "dry-run"
	applyReview = "review"
	applyAuto   = "auto"
)

// rules are a connection's settings as the pure core needs them.
type rules struct {
	connection string
	config.Deprovision
	// attempts is how often a file may be submitted for one person, the first time included.
	attempts int
	// retryDelay is the first delay of a call that is safe to repeat; it doubles up to VerifyEvery.
	retryDelay time.Duration
	// patience is how long after an error or a lost answer "still there" is not yet believed.
	patience time.Duration
}

func rulesFor(c config.Connection, retry config.Retry) rules {
	r := rules{connection: c.Name, Deprovision: c.Deprovision, attempts: retry.MaxAttempts, retryDelay: retry.InitialDelay}
	r.BatchMaxUsers = max(1, min(r.BatchMaxUsers, maxRows))
	r.VerifyEvery = max(r.VerifyEvery, 10*time.Millisecond)
	r.attempts = max(r.attempts, 1)
	// The call itself may still be on its way at the far side for as long as we would have waited for it.
	r.patience = max(r.VerifyEvery, retry.CallTimeout)
	return r
}

// protected reports whether any of the addresses matches a protect glob.
func (r rules) protected(addresses ...string) bool {
	for _, glob := range r.Protect {
		for _, address := range addresses {
			if matchGlob(glob, address) {
				return true
			}
		}
	}
	return false
}

// matchGlob compares without case. A glob that does not compile protects everybody: it was meant to protect somebody.
func matchGlob(glob, address string) bool {
	if address == "" {
		return false
	}
	pattern := strings.ToLower(strings.TrimSpace(glob))
	for _, form := range []string{strings.ToLower(strings.TrimSpace(address)), roster.FoldEmail(address)} {
		// A slash is no separator in an address.
		ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(form, "/", "\x00"))
		if ok || err != nil {
			return true
		}
	}
	return false
}

// backoff is the delay after n failures in a row: the first delay doubled, up to VerifyEvery, and never sooner than
// the other side asked.
func (r rules) backoff(n int, asked time.Duration) time.Duration {
	delay := max(r.retryDelay, 10*time.Millisecond)
	for range min(n-1, 16) {
		delay = min(2*delay, r.VerifyEvery)
	}
	return max(min(delay, r.VerifyEvery), asked)
}

// readDelay is how long after the n-th read-back the next one follows: soon at first, backing off to VerifyEvery.
func (r rules) readDelay(n int) time.Duration {
	delay := min(firstRead, r.VerifyEvery)
	for range min(n, 16) {
		delay = min(2*delay, r.VerifyEvery)
	}
	return delay
}
