package bus

import (
	"encoding/json"
	"testing"
	"time"
)

// Replicas whose pulls end at the same times never take turns; and a heartbeat of more than half a pull is refused.
func TestPullRequest(t *testing.T) {
	t.Parallel()
	times := map[time.Duration]bool{}
	for range 100 {
		var request struct {
			Expires       time.Duration
			IdleHeartbeat time.Duration `json:"idle_heartbeat"`
		}
		if err := json.Unmarshal(pullRequest(), &request); err != nil {
			t.Fatal(err)
		}
		if request.Expires > pullExpiry || request.Expires < 2*request.IdleHeartbeat || request.IdleHeartbeat <= 0 {
			t.Fatalf("a pull of %s with a heartbeat every %s", request.Expires, request.IdleHeartbeat)
		}
		times[request.Expires] = true
	}
	if len(times) < 2 {
		t.Error("all pulls last as long")
	}
}
