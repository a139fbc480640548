package wire

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDateTime(t *testing.T) {
	t.Parallel()
	day := time.Date(2021, 2, 1, 0, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		want time.Time
		odd  bool
	}{
		`"2021-02-01T00:00:00.000Z"`:       {want: day},
		`"2021-02-01T00:00:00Z"`:           {want: day},
		`"2021-02-01T00:00:00.123456789Z"`: {want: day.Add(123456789)},
		`"2021-02-01T02:00:00+02:00"`:      {want: day},
		`"2021-02-01T02:00:00+0200"`:       {want: day},
		`"2021-02-01T00:00:00"`:            {want: day},
		`"2021-02-01T00:00:00.5"`:          {want: day.Add(500 * time.Millisecond)},
		`"2021-02-01 00:00:00"`:            {want: day},
		`" 2021-02-01 "`:                   {want: day},
		`null`:                             {},
		`""`:                               {},
		`" "`:                              {},
		`"01/02/2021"`:                     {odd: true},
		`"9999-12-31T23:59:59-05:00"`:      {odd: true},
		`"2021-13-01"`:                     {odd: true},
		`1612137600`:                       {odd: true},
		`{}`:                               {odd: true},
	}
	for in, c := range cases {
		got := DateTime{Odd: !c.odd} // leftovers must not survive
		if err := json.Unmarshal([]byte(in), &got); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if in != "null" && (!got.Equal(c.want) || got.Odd != c.odd) {
			t.Errorf("%s became %v, odd %v", in, got.Time, got.Odd)
		}
	}
}

func TestID(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]ID{`"a"`: "a", `7`: "7", `12345678901234567890`: "12345678901234567890", `null`: "", `""`: ""} {
		var got ID
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s became %q, %v", in, got, err)
		}
	}
	for _, in := range []string{`{}`, `[]`, `true`} {
		var got struct{ Nodes []struct{ ID ID } }
		err := json.Unmarshal([]byte(`{"nodes":[{"id":`+in+`}]}`), &got)
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzParseDateTime(f *testing.F) {
	for _, s := range []string{"", "2021-02-01", "2021-02-01T00:00:00.000Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := ParseDateTime(s)
		if d.Odd && !d.IsZero() {
			t.Fatalf("%q is odd and %v", s, d.Time)
		}
		if _, err := json.Marshal(d.Time); err != nil || d.Location() != time.UTC {
			t.Fatalf("%q is not UTC, or cannot be written down: %v", s, err)
		}
		if b, err := json.Marshal(s); err == nil {
			var got DateTime
			if err := json.Unmarshal(b, &got); err != nil {
				t.Fatalf("%q fails its page: %v", s, err)
			}
		}
	})
}
