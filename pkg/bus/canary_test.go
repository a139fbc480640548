package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/seatwire/seatwire/pkg/fault"
)

// TestRouter_canary: however a handler ends, what it says of the message's content is in the body and the original
// headers of the dead letter, and nowhere else.
func TestRouter_canary(t *testing.T) {
	t.Parallel()
	cause := errors.New(`Post "https://example.com/?token=lovelace": lovelace@example.com`)
	for name, end := range map[string]func() error{
		"a foreign error": func() error { return cause },
		"a wrapped one":   func() error { return fmt.Errorf("lovelace: %w", cause) },
		"classified":      func() error { return fault.New(fault.Permanent, "no-good", "no good").Because(cause) },
		"wrapped, classified": func() error {
			return fmt.Errorf("lovelace: %w", fault.New(fault.Permanent, "no-good", "").Because(cause))
		},
		"joined":              func() error { return errors.Join(cause, fault.New(fault.Throttled, "slow", "slow").Because(cause)) },
		"a time-out":          func() error { return fmt.Errorf("lovelace: %w", context.DeadlineExceeded) },
		"a panic":             func() error { panic("lovelace@example.com") },
		"a panic of an error": func() error { panic(cause) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, RouterConfig{MaxDeliveries: 1})
			r.start(t, 1, func(context.Context, Delivery, []byte) error { return end() })
			publish(t, r.js, "w.acme", "lovelace@example.com", nats.Header{"Ce-Id": {"lovelace"}, "_watermill_message_uuid": {"lovelace"}})
			letter := r.deadLetter(t)
			awaitSettled(t, r.js)
			r.end(t)
			families, err := r.registry.Gather()
			if err != nil || len(families) == 0 {
				t.Fatalf("%d metrics, %v", len(families), err)
			}
			for place, text := range map[string]string{
				"log": r.log.String(), "metrics": fmt.Sprint(families), "headers": fmt.Sprint(deadHeader(t, letter)),
				"message id": letter.Header.Get("Seatwire-Orig-Nats-Msg-Id"),
			} {
				if strings.Contains(text, "lovelace") {
					t.Errorf("the %s: %s", place, text)
				}
			}
			if string(letter.Data) != "lovelace@example.com" || letter.Header.Get("Ce-Id") != "lovelace" {
				t.Errorf("the original is lost: %v %q", letter.Header, letter.Data)
			}
		})
	}
}
