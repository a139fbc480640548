package fetcher

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/roster"
)

// page is a vendor page in short: who is on it, what it says of the next one and of the total.
func page(after, next string, total int, ids ...string) pageFacts {
	return pageFacts{after: after, next: next, hasNext: next != "", total: total, ids: ids}
}

func TestOrder(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		pages []pageFacts
		want  string // the reason at the last page, "" for none
	}{
		"one page":                        {[]pageFacts{page("", "", 2, "a", "b")}, ""},
		"nobody":                          {[]pageFacts{page("", "", 0)}, ""},
		"a chain":                         {[]pageFacts{page("", "1", 3, "a"), page("1", "2", 3, "b"), page("2", "", 3, "c")}, ""},
		"a shorter page in between":       {[]pageFacts{page("", "1", 4, "a", "b"), page("1", "2", 4, "c"), page("2", "", 4, "d")}, ""},
		"somebody repeated":               {[]pageFacts{page("", "1", 3, "a", "b"), page("1", "", 3, "b", "c")}, ""},
		"empty although somebody counts":  {[]pageFacts{page("", "", 2)}, "empty-page"},
		"empty in the middle":             {[]pageFacts{page("", "1", 2, "a"), page("1", "2", 2)}, "empty-page"},
		"empty at the end":                {[]pageFacts{page("", "1", 2, "a", "b"), page("1", "", 2)}, "empty-page"},
		"empty and more to come":          {[]pageFacts{page("", "1", 0)}, "empty-page"},
		"the cursor asked with":           {[]pageFacts{page("", "1", 3, "a"), page("1", "1", 3, "b")}, "repeated-cursor"},
		"an earlier cursor":               {[]pageFacts{page("", "1", 4, "a"), page("1", "2", 4, "b"), page("2", "1", 4, "c")}, "repeated-cursor"},
		"from the start again":            {[]pageFacts{page("", "1", 3, "a"), page("1", "2", 3, "a")}, "loop"},
		"the total grows":                 {[]pageFacts{page("", "1", 2, "a"), page("1", "", 3, "b")}, "counts-disagree"},
		"the total shrinks":               {[]pageFacts{page("", "1", 2, "a"), page("1", "", 1, "b")}, "counts-disagree"},
		"ends too early":                  {[]pageFacts{page("", "1", 3, "a"), page("1", "", 3, "b")}, "counts-disagree"},
		"one page that ends too early":    {[]pageFacts{page("", "", 3, "a")}, "counts-disagree"},
		"far more people than counted":    {[]pageFacts{page("", "", 2, strings.Split("a b c d e f g h i j k l m", " ")...)}, "counts-disagree"},
		"the total is there, and no next": {[]pageFacts{page("", "1", 2, "a", "b"), page("1", "", 2, "b")}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &order{}
			for i, p := range tt.pages {
				err := o.add(p)
				if i < len(tt.pages)-1 {
					if err != nil {
						t.Fatalf("page %d: %v", i+1, err)
					}
					continue
				}
				if tt.want == "" && err != nil || tt.want != "" && fault.ReasonOf(err) != tt.want {
					t.Fatalf("%v, want %q", err, tt.want)
				}
				if _, isReading := errors.AsType[*readError](err); err != nil && !isReading {
					t.Error("a fault of the reading does not end the sweep")
				}
			}
		})
	}
}

// A sweep that goes on after a crash knows the counts but not the cursors, and must find the same faults.
func TestOrder_resumed(t *testing.T) {
	t.Parallel()
	resumed := func() *order { return &order{total: 4, nodes: 2, firstID: "a"} }
	tests := map[string]struct {
		pages []pageFacts
		want  string
	}{
		"goes on":              {[]pageFacts{page("2", "", 4, "c", "d")}, ""},
		"people moved":         {[]pageFacts{page("2", "", 5, "c", "d")}, "counts-disagree"},
		"ends too early":       {[]pageFacts{page("2", "", 4, "c")}, "counts-disagree"},
		"starts over":          {[]pageFacts{page("2", "1", 4, "a")}, "loop"},
		"repeats the cursor":   {[]pageFacts{page("2", "2", 4, "c")}, "repeated-cursor"},
		"nothing where people": {[]pageFacts{page("2", "", 4)}, "empty-page"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := resumed()
			var err error
			for _, p := range tt.pages {
				err = o.add(p)
			}
			if tt.want == "" && err != nil || tt.want != "" && fault.ReasonOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// graph is a vendor gone mad: whatever page it has for a cursor, leading anywhere.
type graph map[string]pageFacts

func drawGraph(t *rapid.T) graph {
	g := graph{}
	cursors := rapid.SampledFrom([]string{"", "1", "2", "3", "4", "5"})
	total := rapid.IntRange(0, 8).Draw(t, "total")
	for _, c := range []string{"", "1", "2", "3", "4", "5"} {
		ids := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}), 0, 3).Draw(t, "ids")
		p := pageFacts{
			after: c, next: cursors.Draw(t, "next"), hasNext: rapid.Bool().Draw(t, "hasNext"),
			total: total, ids: ids,
		}
		if rapid.IntRange(0, 9).Draw(t, "drift") == 0 {
			p.total++
		}
		g[c] = p
	}
	return g
}

// walked follows a graph as the lane does.
func walked(t *rapid.T, follow func(after string) pageFacts) (pages []pageFacts, err error) {
	l := &lane{}
	out := make(chan vendorPage, 10_000)
	calls := 0
	err = l.list(context.Background(), &order{}, "", func(_ context.Context, after string) (vendorPage, error) {
		if calls++; calls > 5_000 {
			t.Fatal("does not end")
		}
		return vendorPage{kind: roster.Users, facts: follow(after)}, nil
	}, out)
	close(out)
	for p := range out {
		pages = append(pages, p.facts)
	}
	return pages, err
}

func TestList_acceptsOnlyOneWholeChain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		pages, err := walked(t, func(after string) pageFacts {
			p := g[after]
			p.after = after
			return p
		})
		if err != nil {
			return
		}
		nodes, distinct, asked := 0, map[string]struct{}{}, map[string]struct{}{}
		for i, p := range pages {
			if _, again := asked[p.after]; again {
				t.Fatalf("page %d was asked for twice", i+1)
			}
			asked[p.after] = struct{}{}
			if p.total != pages[0].total {
				t.Fatal("accepted although the total moved")
			}
			if p.hasNext != (i < len(pages)-1) || p.hasNext && pages[i+1].after != p.next {
				t.Fatal("accepted although it is no chain to the end")
			}
			if len(p.ids) == 0 && p.total > 0 {
				t.Fatal("accepted an empty page")
			}
			nodes += len(p.ids)
			for _, id := range p.ids {
				distinct[id] = struct{}{}
			}
		}
		if nodes < pages[0].total {
			t.Fatalf("accepted %d of %d people", nodes, pages[0].total)
		}
		if len(distinct) > nodes {
			t.Fatal("more people than nodes")
		}
	})
}

func TestList_acceptsEveryHonestVendor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 5), 0, 40).Draw(t, "page sizes")
		total := 0
		for _, n := range sizes {
			total += n
		}
		pages, start := map[string]pageFacts{}, 0
		for i, n := range sizes {
			p := pageFacts{total: total, hasNext: i < len(sizes)-1, next: fmt.Sprint("c", i+1)}
			for k := range n {
				p.ids = append(p.ids, fmt.Sprint("u", start+k))
			}
			start += n
			after := ""
			if i > 0 {
				after = fmt.Sprint("c", i)
			}
			pages[after] = p
		}
		got, err := walked(t, func(after string) pageFacts {
			p := pages[after]
			p.after = after
			return p
		})
		if err != nil || len(got) != max(1, len(sizes)) {
			t.Fatalf("%d pages of %d, %v", len(got), len(sizes), err)
		}
	})
}

// A vendor that invents a new cursor for ever, and never repeats anybody, ends where its own count says it should.
func TestList_endsAnEndlessVendor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		total, n := rapid.IntRange(0, 1000).Draw(t, "total"), 0
		pages, err := walked(t, func(string) pageFacts {
			n++
			return pageFacts{next: fmt.Sprint("c", n), hasNext: true, total: total, ids: []string{fmt.Sprint("u", n)}}
		})
		if fault.ReasonOf(err) != "counts-disagree" || len(pages) > total+total/10+10 {
			t.Fatalf("%d pages where the total is %d: %v", len(pages), total, err)
		}
	})
}

func TestList_stopsWithItsProcess(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	l := &lane{}
	err := l.list(ctx, &order{}, "", func(context.Context, string) (vendorPage, error) {
		return vendorPage{facts: page("", "1", 5, "a")}, nil
	}, make(chan vendorPage))
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	err = l.list(ctx, &order{}, "", func(context.Context, string) (vendorPage, error) {
		return vendorPage{}, fault.New(fault.Transient, "connection", "cut off by the stop")
	}, make(chan vendorPage))
	if _, final := errors.AsType[*readError](err); final {
		t.Error("our own stop ends the sweep as failed")
	}
}
