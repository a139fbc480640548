package roster_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/natstest"
	"github.com/seatwire/seatwire/pkg/roster"
	"github.com/seatwire/seatwire/pkg/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const connection = "acme"

// ground is a broker with the declared streams.
func ground(t *testing.T) jetstream.JetStream {
	t.Helper()
	js := natstest.Run(t).JetStream(t)
	if err := streams.Ensure(t.Context(), js, streams.For(config.Default())); err != nil {
		t.Fatal(err)
	}
	return js
}

// shelf stores pages of one sweep.
type shelf struct {
	t  *testing.T
	js jetstream.JetStream
	m  roster.Manifest
}

func newShelf(t *testing.T, js jetstream.JetStream, sweep string) *shelf {
	return &shelf{t: t, js: js, m: roster.Manifest{Connection: connection, SweepID: sweep}}
}

func source(person string) string { return roster.Hash([]byte(person)) }

// put stores a page of one person under any number and generation.
func (s *shelf) put(number, generation int, kind, person string) {
	s.t.Helper()
	body, err := json.Marshal(roster.Page{Kind: kind, Source: source(person), Rule: roster.EmailRule, People: []roster.Person{{PsUserID: person}}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.store(roster.PageToken(number, generation), body)
}

func (s *shelf) store(token string, body []byte) {
	s.t.Helper()
	subject := events.Subject(streams.UsersNormalizedSubject, s.m.Connection, s.m.SweepID, token)
	if _, err := s.js.Publish(s.t.Context(), subject, body); err != nil {
		s.t.Fatal(err)
	}
}

// cover says in the manifest that pages of these people follow, in a span of their own.
func (s *shelf) cover(generation int, people ...string) {
	s.m.Spans = append(s.m.Spans, roster.Span{Generation: generation, From: s.m.Pages + 1, To: s.m.Pages + len(people)})
	for _, p := range people {
		s.m.Root = roster.Chain(s.m.Root, source(p))
	}
	s.m.Pages += len(people)
}

// verify returns whom Verify showed, by kind.
func (s *shelf) verify() (map[string][]string, error) {
	seen := map[string][]string{}
	err := roster.Verify(s.t.Context(), streams.At(s.js), s.m, func(kind string, x roster.Index) {
		for i := range x.Len() {
			for _, name := range []string{"a", "b", "c", "d", "e", "f", "x"} {
				if x.At(i).Key == roster.KeyOf(name) {
					seen[kind] = append(seen[kind], name)
				}
			}
		}
	})
	return seen, err
}

func (s *shelf) refuses(class fault.Class, reason string) {
	s.t.Helper()
	if _, err := s.verify(); fault.ReasonOf(err) != reason || fault.ClassOf(err) != class {
		s.t.Errorf("%v, want a %s %s", err, class, reason)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	js := ground(t)

	t.Run("whole, in any order of arrival, sees everybody once", func(t *testing.T) {
		s := newShelf(t, js, "whole")
		s.put(3, 1, roster.Users, "c")
		s.put(1, 1, roster.Admins, "a")
		s.put(2, 1, roster.Users, "b")
		s.cover(1, "a", "b", "c")
		seen, err := s.verify()
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(seen); got != "map[admins:[a] users:[c b]]" {
			t.Error(got)
		}
	})

	t.Run("an empty plan is whole", func(t *testing.T) {
		if seen, err := newShelf(t, js, "empty").verify(); err != nil || len(seen) != 0 {
			t.Errorf("%v, %v", seen, err)
		}
	})

	t.Run("a missing page", func(t *testing.T) {
		for missing := 1; missing <= 3; missing++ {
			s := newShelf(t, js, fmt.Sprintf("missing-%d", missing))
			for n, p := range []string{"a", "b", "c"} {
				if n+1 != missing {
					s.put(n+1, 1, roster.Users, p)
				}
			}
			s.cover(1, "a", "b", "c")
			s.refuses(fault.Transient, "missing-page")
		}
	})

	t.Run("a changed page", func(t *testing.T) {
		s := newShelf(t, js, "changed")
		s.put(1, 1, roster.Users, "a")
		s.put(2, 1, roster.Users, "x")
		s.cover(1, "a", "b")
		s.refuses(fault.Permanent, "pages-differ")
	})

	t.Run("two pages that changed places", func(t *testing.T) {
		s := newShelf(t, js, "swapped")
		s.put(1, 1, roster.Users, "b")
		s.put(2, 1, roster.Users, "a")
		s.cover(1, "a", "b")
		s.refuses(fault.Permanent, "pages-differ")
	})

	t.Run("a page that cannot be read", func(t *testing.T) {
		s := newShelf(t, js, "corrupt")
		s.store(roster.PageToken(1, 1), []byte("{"))
		s.cover(1, "a")
		s.refuses(fault.Permanent, "page-corrupt")
	})

	t.Run("pages that an interrupted generation stored beyond its checkpoint are ignored", func(t *testing.T) {
		s := newShelf(t, js, "interrupted")
		s.put(1, 1, roster.Users, "a")
		s.put(2, 1, roster.Users, "stale b")
		s.put(3, 1, roster.Users, "stale c")
		s.put(2, 2, roster.Users, "b")
		s.store(roster.PageToken(9, 1), []byte("not even readable"))
		s.cover(1, "a")
		s.cover(2, "b")
		seen, err := s.verify()
		if err != nil || fmt.Sprint(seen) != "map[users:[a b]]" {
			t.Errorf("%v, %v", seen, err)
		}
	})

	t.Run("a page of no generation is nobody's", func(t *testing.T) {
		s := newShelf(t, js, "generation-zero")
		s.put(1, 1, roster.Users, "a")
		s.put(2, 0, roster.Users, "x")
		s.cover(1, "a")
		seen, err := s.verify()
		if err != nil || fmt.Sprint(seen) != "map[users:[a]]" {
			t.Errorf("%v, %v", seen, err)
		}
	})

	t.Run("another sweep's pages are not seen", func(t *testing.T) {
		other := newShelf(t, js, "neighbour-x")
		other.put(1, 1, roster.Users, "x")
		s := newShelf(t, js, "neighbour")
		s.cover(1, "x")
		s.refuses(fault.Transient, "missing-page")
	})
}

func TestRead_givesOneKindAndStopsWhenTold(t *testing.T) {
	t.Parallel()
	s := newShelf(t, ground(t), "kinds")
	s.put(1, 1, roster.Admins, "a")
	s.put(2, 1, roster.Users, "b")
	s.put(3, 1, roster.Users, "c")
	s.cover(1, "a", "b", "c")

	// A reader names only the members that it wants.
	type id struct {
		ID string `json:"id"`
	}
	var got []string
	for people, err := range roster.Read[id](t.Context(), streams.At(s.js), s.m, roster.Users) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, people[0].ID)
		break
	}
	if len(got) != 1 || got[0] != "b" {
		t.Error(got)
	}
}

// A replica that lags answers as if the last pages were not there. Whoever took that for the whole list would delete
// everybody who is on them.
func TestRead_andScanMissNobodySilently(t *testing.T) {
	t.Parallel()
	s := newShelf(t, ground(t), "lagging")
	s.put(1, 1, roster.Users, "a")
	s.cover(1, "a", "b")
	errs := map[string]error{"Scan": roster.Scan(t.Context(), streams.At(s.js), s.m, func(string, roster.Index) {})}
	for _, err := range roster.Read[roster.Person](t.Context(), streams.At(s.js), s.m, roster.Users) {
		errs["Read"] = err
	}
	for reader, err := range errs {
		if fault.ReasonOf(err) != "missing-page" || fault.ClassOf(err) != fault.Transient {
			t.Errorf("%s: %v, want a transient missing-page", reader, err)
		}
	}
}

func TestRead_tellsThatTheBrokerIsAway(t *testing.T) {
	t.Parallel()
	server := natstest.Run(t)
	js := server.JetStream(t)
	s := newShelf(t, js, "away")
	s.cover(1, "a")
	_, err := s.verify() // no such stream
	if err == nil || fault.ClassOf(err) != fault.Transient {
		t.Errorf("%v: want a transient fault, never an empty roster", err)
	}
}
