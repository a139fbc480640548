package stage

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestCached_asksAgainWhenTheAnswerIsOld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		var answer error
		check := cached(2*time.Second, func(context.Context) error { asked++; return answer })
		expect := func(wantAsked int, want error) {
			t.Helper()
			if err := check(t.Context()); !errors.Is(err, want) || asked != wantAsked {
				t.Errorf("asked %d times, want %d; %v, want %v", asked, wantAsked, err, want)
			}
		}
		<-time.After(time.Hour)
		expect(1, nil)
		answer = errors.New("gone")
		expect(1, nil)
		<-time.After(2 * time.Second)
		expect(1, nil)
		<-time.After(time.Millisecond)
		expect(2, answer)
	})
}
