package roster

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPageToken_readsBackAndSorts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.IntRange(1, 9_999_999).Draw(t, "number")
		generation := rapid.IntRange(1, 1000).Draw(t, "generation")
		token := PageToken(number, generation)
		n, g, ok := ParsePageToken(token)
		if !ok || n != number || g != generation {
			t.Fatalf("%s: %d, %d, %v", token, n, g, ok)
		}
		if strings.ContainsAny(token, ".*> ") {
			t.Fatalf("%q is no token of a subject", token)
		}
		if number < 9_999_999 && PageToken(number+1, 1) <= token {
			t.Fatalf("%q does not sort behind %q", PageToken(number+1, 1), token)
		}
	})
}

func TestParsePageToken_refuses(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"", "-", "1", "1-", "-1", "0-1", "-1-1", "a-1", "1-a", "1-1-1", "1.0-1", "0000001", "1-0", "0000001--1", "1 -1"} {
		if n, g, ok := ParsePageToken(token); ok {
			t.Errorf("%q is page %d of generation %d", token, n, g)
		}
	}
}

func TestManifest_Generation(t *testing.T) {
	t.Parallel()
	m := Manifest{Pages: 7, Spans: []Span{
		{Generation: 1, From: 1, To: 3},
		{Generation: 2, From: 4, To: 3}, // stored nothing
		{Generation: 4, From: 4, To: 7},
	}}
	want := []int{0, 1, 1, 1, 4, 4, 4, 4, 0}
	for number, generation := range want {
		if got := m.Generation(number); got != generation {
			t.Errorf("page %d: generation %d, want %d", number, got, generation)
		}
	}
}

func TestChain_dependsOnEveryPageAndTheirOrder(t *testing.T) {
	t.Parallel()
	root := func(pages ...string) (root string) {
		for _, p := range pages {
			root = Chain(root, Hash([]byte(p)))
		}
		return root
	}
	roots := []string{root(), root("a"), root("a", "b"), root("b", "a"), root("a", "b", "b"), root("b"), root("ab")}
	if n := len(roots); len(slices.Compact(slices.Sorted(slices.Values(roots)))) != n {
		t.Error("two lists of pages have one root")
	}
}

func TestPublication_findsRecords(t *testing.T) {
	t.Parallel()
	p := Publication{History: []Record{{SweepID: "a", State: StatePublished}, {SweepID: "b", State: StateHeld}, {SweepID: "c", State: StateFailed}}}
	if p.Held().SweepID != "b" || p.Record("c").State != StateFailed || p.Record("d") != nil {
		t.Error("another record")
	}
	p.Record("b").State = StateReleased
	if p.Held() != nil {
		t.Error("a record is not the history's own")
	}
}
