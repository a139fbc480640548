package roster

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

// FuzzPageToken: a token that is taken is the one that the fetcher writes for that page.
func FuzzPageToken(f *testing.F) {
	for _, token := range []string{"0000001-1", "1-1", "+1-1", "12345678-3", "0000001-01", "0000001--1", "99999999999999999999-1"} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if n, g, ok := ParsePageToken(token); ok && (PageToken(n, g) != token || n < 1 || g < 1) {
			t.Fatalf("%q is page %d of generation %d, whose token is %q", token, n, g, PageToken(n, g))
		}
	})
}

// FuzzPage: whatever a page message holds, what stands before the people is read the same without them, an index of any
// bytes has whole entries, and a page that is written again tells of the same people.
func FuzzPage(f *testing.F) {
	on := true
	page, err := json.Marshal(Page{Kind: Users, Source: Hash([]byte(`,"people":`)), Rule: EmailRule, People: []Person{
		{PsUserID: "u-1", Email: "ada@example.com", Disposition: Active, Details: Details{OnAccount: &on, Teams: []string{`,"people":`}}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page)
	f.Add([]byte(`{"kind":"users","index":"AAAA","people":[{"id":"canary"}],"people":null}`))
	f.Add([]byte(`{"kind":",\"people\":","source":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if head, err := headOf(body); err == nil {
			for i := range head.Index.Len() {
				head.Index.At(i)
			}
		}
		var first, again Page
		if json.Unmarshal(body, &first) != nil {
			return
		}
		written, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatal(err)
		}
		head, err := headOf(written)
		if err != nil || head.Kind != again.Kind || head.Source != again.Source || !bytes.Equal(head.Index, again.Index) {
			t.Fatalf("%q has the head %+v, %v", written, head, err)
		}
		if diff := cmp.Diff(first.People, again.People, cmpopts.EquateEmpty()); diff != "" || again.Index.Len() != len(first.People) {
			t.Fatalf("%d entries for %d people\n%s", again.Index.Len(), len(first.People), diff)
		}
	})
}

// FuzzManifest: any manifest can be asked for any page, and is the same once written and read.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"connection":"acme","sweepId":"s","spans":[{"generation":1,"from":1,"to":3}],"pages":3,"root":"r"}`), 3)
	f.Add([]byte(`{"spans":[{"from":9223372036854775807,"to":-1},null],"started":"9999-12-31T23:59:59-23:59"}`), -1)
	f.Fuzz(func(t *testing.T, body []byte, page int) {
		var first, again Manifest
		if json.Unmarshal(body, &first) != nil {
			return
		}
		written, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again, cmpopts.EquateEmpty()); diff != "" || first.Generation(page) != again.Generation(page) {
			t.Fatal(diff)
		}
	})
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
