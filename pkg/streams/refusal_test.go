package streams

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/fault"
)

// A cluster that starts knows too few of its nodes for a moment; whoever gave up then would have to be started again.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code, status int
		asked        time.Duration
		reason       string
	}{
		{10005, 400, gathering - 1, ""},
		{10005, 400, gathering, "broker-refuses"},
		{10003, 400, 0, "broker-refuses"},
		{10008, 503, time.Hour, ""},
		{10047, 500, 0, "broker-too-small"},
	} {
		err := refusal("stream S", &jetstream.APIError{Code: c.status, ErrorCode: jetstream.ErrorCode(c.code)}, c.asked)
		if (err == nil) != (c.reason == "") || err != nil && fault.ReasonOf(err) != c.reason {
			t.Errorf("%d after %s: %v", c.code, c.asked, err)
		}
	}
}
