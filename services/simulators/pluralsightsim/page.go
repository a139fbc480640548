package pluralsightsim

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// arguments are those of a root field, those of a connection understood.
type arguments struct {
	paged  bool
	first  int
	given  bool // first was given
	after  string
	emails []string // nil: no filter
	ids    []string // filter.teamIds; nil: no filter
	input  map[string]any
}

func (g *graphQLCall) arguments(s *selection) arguments {
	values := s.field.ArgumentMap(g.vars)
	a := arguments{paged: s.field.Definition.Arguments.ForName("first") != nil}
	if n, ok := values["first"].(int64); ok {
		a.first, a.given = int(n), true
	}
	a.after, _ = values["after"].(string)
	a.input, _ = values["input"].(map[string]any)
	if filter, ok := values["filter"].(map[string]any); ok {
		a.emails = texts(filter, "emails")
		a.ids = texts(filter, "teamIds")
	}
	return a
}

// texts reads a list of strings; a single value is a list of one, as the specification has it. Nil: not there.
func texts(from map[string]any, key string) []string {
	switch v := from[key].(type) {
	case []any:
		out := make([]string, 0, len(v))
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
		return out
	case []string:
		return v
	case string:
		return []string{v}
	default:
		return nil
	}
}

// cursor is what an opaque cursor holds: the place after which the next page begins and which page that is.
type cursor struct {
	kind   byte  // k: a rank, o: an offset
	place  int64 // the last rank served, or the number of people served
	page   int   // that the cursor asks for, from 2
	issued int64 // Unix milliseconds
}

func (c cursor) String() string {
	plain := fmt.Sprintf("%c:%d:%d:%d", c.kind, c.place, c.page, c.issued)
	return base64.RawURLEncoding.EncodeToString([]byte(plain))
}

func parseCursor(s string) (cursor, bool) {
	plain, err := base64.RawURLEncoding.DecodeString(s)
	parts := strings.Split(string(plain), ":")
	if err != nil || len(parts) != 4 || parts[0] != "k" && parts[0] != "o" {
		return cursor{}, false
	}
	place, err1 := strconv.ParseInt(parts[1], 10, 64)
	page, err2 := strconv.Atoi(parts[2])
	issued, err3 := strconv.ParseInt(parts[3], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || page < 2 {
		return cursor{}, false
	}
	return cursor{kind: parts[0][0], place: place, page: page, issued: issued}, true
}

// begin finds out where a page starts. A cursor that is not ours, or too old, is an error or, silently, page 1.
func (g *graphQLCall) begin(a *arguments) (cursor, *problem) {
	start := cursor{kind: g.sw.Paging.Cursors[0], page: 1}
	if start.kind == 'k' {
		start.place = minRank
	}
	if a.after == "" {
		return start, nil
	}
	c, ok := parseCursor(a.after)
	expired := ok && g.expired(c) || g.hits.has(ExpiredCursor)
	switch {
	case ok && c.kind == start.kind && !expired:
		return c, nil
	case g.sw.Paging.BadCursor == "restart":
		return start, nil
	case expired:
		return start, &problem{message: "Cursor has expired", code: "BAD_USER_INPUT"}
	default:
		return start, &problem{message: "Invalid cursor", code: "BAD_USER_INPUT"}
	}
}

const minRank = -1 << 62

func (g *graphQLCall) expired(c cursor) bool {
	ttl := time.Duration(g.sw.Paging.CursorTTL)
	return ttl > 0 && g.now.Sub(time.UnixMilli(c.issued)) > ttl
}

// limit is the page's size after the default and the cap. The cap, as documented, is not an error.
func (g *graphQLCall) limit(a *arguments) (int, *problem) {
	n, most := g.sw.Paging.DefaultFirst, g.sw.Paging.Cap
	if a.given {
		n = a.first
	}
	if n < 0 {
		return 0, &problem{message: "Argument \"first\" must not be negative", code: "BAD_USER_INPUT"}
	}
	if most > 0 && n > most {
		n = most
		if g.sw.Paging.CapWarning {
			g.warn("PAGE_SIZE_REDUCED", fmt.Sprintf("Page size reduced to %d, the maximum", most))
		}
	}
	return n, nil
}

// page is a stretch of a connection on its way to the client. entry is what the connection is of.
type page[T any] struct {
	entries  []entry[T]
	next     cursor // of the page after this one, but for its place
	total    int
	from     string // the cursor that was sent
	end      string // endCursor
	hasNext  bool
	absent   bool // the whole connection is null
	noNodes  bool // nodes and edges are null
	noEnd    bool // endCursor is null
	noMore   bool // hasNextPage is missing
	conflict int  // index of the entry that contradicts the one before it; -1 for none
	noID     bool // the first entry's psUserId is null
}

type entry[T any] struct {
	value T
	place int64 // for its cursor
	null  bool
}

// newPage begins a page of the people after start.
func newPage[T any](g *graphQLCall, a *arguments, start cursor) *page[T] {
	p := &page[T]{from: a.after, next: cursor{kind: start.kind, page: start.page + 1}}
	if g.sw.Paging.CursorTTL > 0 {
		p.next.issued = g.now.UnixMilli()
	}
	return p
}

// cursor is made when somebody wants it: most queries want one for each page, not one for each node.
func (p *page[T]) cursor(i int) string {
	c := p.next
	c.place = p.entries[i].place
	return c.String()
}

// close sets endCursor to the last entry's.
func (p *page[T]) close() {
	if n := len(p.entries); n > 0 {
		p.end = p.cursor(n - 1)
	}
}

// shape lets the script spoil a page, and the switches lie about its total.
func (p *page[T]) shape(h hits, sw *PagingSwitches) {
	p.conflict = -1
	if sw.TotalOffsetOn == "all" || !p.hasNext {
		p.total += sw.TotalOffset
	}
	if f := h.find(WrongTotal); f != nil {
		p.total += f.Count
	}
	for i := range h {
		if spoil := h[i].Action; slices.Contains(pageActions, spoil) {
			p.spoil(spoil)
		}
	}
	if h.has(ErrorsPartial) {
		p.entries = p.entries[:len(p.entries)/2]
	}
}

func (p *page[T]) spoil(a Action) {
	switch a {
	case RepeatCursor:
		p.hasNext = true
		if p.from != "" { // page 1 has nothing to repeat
			p.end = p.from
		}
	case LoopToStart:
		p.end, p.hasNext = p.startOver(), true
	case NullEndCursor:
		p.noEnd, p.hasNext = true, true
	case NoHasNextPage:
		p.noMore = true
	case EmptyPage:
		p.entries, p.hasNext = nil, true
	case LastEmpty:
		p.entries, p.hasNext = nil, false
	case ShortPage:
		p.entries, p.hasNext = p.entries[:len(p.entries)/2], false
	case NullNodes:
		p.noNodes = true
	case NullConnection:
		p.absent = true
	default:
		p.spoilFirst(a)
	}
}

// spoilFirst spoils the first entry of a page that has one.
func (p *page[T]) spoilFirst(a Action) {
	if len(p.entries) == 0 {
		return
	}
	switch a {
	case DuplicateNode, ConflictingNode:
		p.entries = slices.Insert(p.entries, 1, p.entries[0])
		if a == ConflictingNode {
			p.conflict = 1
		}
	case NullNode:
		p.entries[0].null = true
	case NullID:
		p.noID = true
	}
}

// startOver makes a cursor that leads to page 1's people but looks like any other.
func (p *page[T]) startOver() string {
	c := p.next
	if c.kind == 'k' {
		c.place = minRank
	}
	return c.String()
}

// rowWriter writes node i of a page.
type rowWriter[T any] func(e *encoder, sel []selection, i int, v T)

// connection writes a page as a connection.
func connection[T any](g *graphQLCall, s *selection, p *page[T], row rowWriter[T]) {
	e := &g.enc
	if p.absent {
		e.null()
		return
	}
	object(e, s.sub, map[string]func(*encoder, *selection, *page[T]){
		"totalCount": func(e *encoder, _ *selection, p *page[T]) { e.int(p.total) },
		"pageInfo":   func(e *encoder, s *selection, p *page[T]) { p.pageInfo(e, s) },
		"nodes": func(e *encoder, s *selection, p *page[T]) {
			p.each(e, func(i int) { row(e, s.sub, i, p.entries[i].value) })
		},
		"edges": func(e *encoder, s *selection, p *page[T]) {
			p.each(e, func(i int) { p.edge(e, s, i, row) })
		},
	}, p)
}

func (p *page[T]) each(e *encoder, write func(i int)) {
	if p.noNodes {
		e.null()
		return
	}
	e.byte('[')
	for i := range p.entries {
		if i > 0 {
			e.byte(',')
		}
		if p.entries[i].null {
			e.null()
			continue
		}
		write(i)
	}
	e.byte(']')
}

func (p *page[T]) edge(e *encoder, s *selection, i int, row rowWriter[T]) {
	object(e, s.sub, map[string]func(*encoder, *selection, *entry[T]){
		"cursor": func(e *encoder, _ *selection, en *entry[T]) { e.string(p.cursor(i)) },
		"node":   func(e *encoder, s *selection, en *entry[T]) { row(e, s.sub, i, en.value) },
	}, &p.entries[i])
}

// pageInfo is written by hand because one of its fields may be missing altogether.
func (p *page[T]) pageInfo(e *encoder, s *selection) {
	e.byte('{')
	comma := false
	for i := range s.sub {
		f := &s.sub[i]
		if f.name == "hasNextPage" && p.noMore {
			continue
		}
		if comma {
			e.byte(',')
		}
		comma = true
		e.raw(f.prefix)
		switch {
		case f.name == "__typename":
			e.string(f.typeName)
		case f.name == "hasNextPage":
			e.bool(p.hasNext)
		case p.noEnd:
			e.null()
		default:
			e.text(p.end)
		}
	}
	e.byte('}')
}
