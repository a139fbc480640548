package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestClassOf(t *testing.T) {
	t.Parallel()
	inner := fault.New(fault.Permanent, "inner", "x")
	tests := map[string]struct {
		err    error
		class  fault.Class
		reason string
		text   string
	}{
		"permanent":                  {fault.New(fault.Permanent, "bad", "%d of them", 2), fault.Permanent, "bad", "bad: 2 of them"},
		"without detail":             {fault.New(fault.Unknown, "conflict", ""), fault.Unknown, "conflict", "conflict"},
		"wrapped":                    {fmt.Errorf("submit: %w", fault.New(fault.Throttled, "slow", "d")), fault.Throttled, "slow", "slow: d"},
		"outermost class wins":       {fault.New(fault.Transient, "outer", "y").Because(inner), fault.Transient, "outer", "outer: y"},
		"joined":                     {errors.Join(io.EOF, inner), fault.Permanent, "inner", "inner: x"},
		"nobody classified it":       {errors.New("quoting ada@example.com"), fault.Transient, "internal", "internal (*errors.errorString)"},
		"a deadline":                 {fmt.Errorf("x: %w", context.DeadlineExceeded), fault.Transient, "timeout", "timeout (*fmt.wrapError)"},
		"classified over a deadline": {fault.New(fault.Permanent, "p", "").Because(context.DeadlineExceeded), fault.Permanent, "p", "p"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fault.ClassOf(tt.err); got != tt.class {
				t.Errorf("class %s, want %s", got, tt.class)
			}
			if got := fault.ReasonOf(tt.err); got != tt.reason {
				t.Errorf("reason %q, want %q", got, tt.reason)
			}
			if got := fault.Text(tt.err); got != tt.text {
				t.Errorf("text %q, want %q", got, tt.text)
			}
		})
	}
}

func TestError_hidesItsCauseAndKeepsItReachable(t *testing.T) {
	t.Parallel()
	cause := fmt.Errorf("row of ada@example.com: %w", io.ErrUnexpectedEOF)
	err := error(fault.New(fault.Transient, "connection", "the answer broke off").Because(cause))
	if strings.Contains(err.Error()+fault.Text(err), "ada@") {
		t.Errorf("the cause is printed: %v", err)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	asked := fmt.Errorf("x: %w", fault.New(fault.Throttled, "slow", "").After(3*time.Second))
	if d, ok := fault.RetryAfter(asked); d != 3*time.Second || !ok {
		t.Errorf("%v, %v", d, ok)
	}
	for _, err := range []error{io.EOF, fault.New(fault.Throttled, "slow", "")} {
		if d, ok := fault.RetryAfter(err); d != 0 || ok {
			t.Errorf("%v: %v, %v", err, d, ok)
		}
	}
}

func TestClass_String(t *testing.T) {
	t.Parallel()
	for class, want := range map[fault.Class]string{
		fault.Transient: "transient", fault.Permanent: "permanent", fault.Throttled: "throttled", fault.Unknown: "unknown", 99: "transient",
	} {
		if class.String() != want {
			t.Errorf("%d is %q", class, class)
		}
	}
}

// A caller decides by class; the text is for people.
func ExampleClassOf() {
	err := fmt.Errorf("submit: %w", fault.New(fault.Throttled, "rate-limited", "the vendor asks for fewer calls").After(2*time.Second))
	if after, ok := fault.RetryAfter(err); ok && fault.ClassOf(err) == fault.Throttled {
		fmt.Println("again in", after)
	}
	fmt.Println(fault.Text(err))
	// Output:
	// again in 2s
	// rate-limited: the vendor asks for fewer calls
}
