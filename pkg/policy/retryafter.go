package policy

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ParseRetryAfter reads a Retry-After header: whole seconds, or an HTTP date, which is taken against now. It reports
// false for anything else, which the caller treats as if the header had not been sent. The wait is never negative.
func ParseRetryAfter(h string, now time.Time) (time.Duration, bool) {
	h = strings.TrimSpace(h)
	if seconds, ok := digits(h); ok {
		return seconds, true
	}
	at, err := http.ParseTime(h)
	if err != nil {
		return 0, false
	}
	return max(0, at.Sub(now)), true
}

// digits reads seconds. A number too large for a Duration becomes the largest one: "very long" and not "nothing".
func digits(s string) (time.Duration, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > math.MaxInt64/int64(time.Second) {
		return math.MaxInt64, true
	}
	return time.Duration(n) * time.Second, true
}
