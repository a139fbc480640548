package pluralsight

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/formatter"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight/internal/wire"
)

// fieldSet is a set of optional fields of User. A field may be missing from an API key's release stage, or from the
// schema, and then every call that names it fails whole.
type fieldSet uint32

const (
	productIDs fieldSet = 1 << iota
	mfaEnabled
	teams

	allOptional = productIDs | mfaEnabled | teams
)

// optionalFields in the order of the bits above. mentions finds the field in an error's text or path.
var optionalFields = []struct {
	set      fieldSet
	name     string
	mentions *regexp.Regexp
}{
	{productIDs, "productIds", regexp.MustCompile(`\bproductIds\b`)},
	{mfaEnabled, "mfaEnabled", regexp.MustCompile(`\bmfaEnabled\b`)},
	{teams, "teams", regexp.MustCompile(`\b(teams|isDirect|TeamUserConnection|TeamUserEdge)\b`)},
}

func (s fieldSet) has(f fieldSet) bool { return s&f != 0 }

func (s fieldSet) names() []string {
	var out []string
	for _, f := range optionalFields {
		if s.has(f.set) {
			out = append(out, f.name)
		}
	}
	return out
}

// optional remembers which fields are closed to this client's key.
type optional struct {
	cut atomic.Uint32
	// probing is held, as its one element, by the caller that is finding out.
	probing chan struct{}
	// texts caches queries without fields: cutQuery → string.
	texts sync.Map
}

type cutQuery struct {
	query string
	cut   fieldSet
}

func (o *optional) fields() fieldSet { return fieldSet(o.cut.Load()) }

// without returns query with the fields of cut, and all that is below them, taken out. It goes through the syntax tree,
// since a text replacement would one day hit something else of that name.
func (o *optional) without(query string, cut fieldSet) (string, error) {
	if cut == 0 {
		return query, nil
	}
	key := cutQuery{query, cut}
	if text, ok := o.texts.Load(key); ok {
		return text.(string), nil
	}
	doc, err := parser.ParseQuery(&ast.Source{Input: query})
	if err != nil {
		return "", fault.New(fault.Permanent, "bad-query", "our own query cannot be parsed").Because(err)
	}
	names := cut.names()
	for _, op := range doc.Operations {
		op.SelectionSet = prune(op.SelectionSet, names)
	}
	for _, f := range doc.Fragments {
		f.SelectionSet = prune(f.SelectionSet, names)
	}
	var text strings.Builder
	formatter.NewFormatter(&text).FormatQueryDocument(doc)
	o.texts.Store(key, text.String())
	return text.String(), nil
}

func prune(set ast.SelectionSet, names []string) ast.SelectionSet {
	var kept ast.SelectionSet
	for _, s := range set {
		if f, ok := s.(*ast.Field); ok {
			if slices.Contains(names, f.Name) {
				continue
			}
			f.SelectionSet = prune(f.SelectionSet, names)
		}
		kept = append(kept, s)
	}
	return kept
}

// degrade finds out whether optional fields are to blame for err, which a call without the fields of cut met. It
// reports whether fewer fields are selected now, so that the call is worth another try.
//
// It costs calls only when one has failed with an error that may be about a field: then one question for one record
// with each optional field alone. A field is given up only when its question alone is refused and another one is
// answered; a question that fails in any other way (the network, a 503) proves nothing, and the first failure stands.
func (c *Client) degrade(ctx context.Context, cut fieldSet, err error) bool {
	suspects := allOptional &^ cut
	if !blames(err, suspects) {
		return false
	}
	select {
	case c.optional.probing <- struct{}{}:
		defer func() { <-c.optional.probing }()
	case <-ctx.Done():
		return false
	}
	if now := c.optional.fields(); now != cut {
		return true // another call found out while this one waited
	}
	guilty, ok := c.guilty(ctx, suspects)
	if !ok || guilty == 0 {
		return false
	}
	c.optional.cut.Store(uint32(cut | guilty))
	c.log.WarnContext(ctx, "optional Pluralsight fields are closed to this API key; going on without them", "fields", guilty.names())
	return true
}

// guilty returns the fields that are refused when asked for alone, and false when that could not be settled.
func (c *Client) guilty(ctx context.Context, suspects fieldSet) (fieldSet, bool) {
	var guilty fieldSet
	for _, f := range optionalFields {
		if !suspects.has(f.set) {
			continue
		}
		switch err := c.probe(ctx, allOptional&^f.set); {
		case err == nil:
		case refusal(err):
			guilty |= f.set
		default:
			return 0, false
		}
	}
	if guilty == suspects {
		// Everything is refused: the fields are to blame only if it goes without any of them.
		return guilty, c.probe(ctx, allOptional) == nil
	}
	return guilty, true
}

// probe asks for one record without the fields of cut.
func (c *Client) probe(ctx context.Context, cut fieldSet) error {
	_, err := c.askUsers(ctx, usersAsk{operation: "probe", first: 1, cut: cut})
	return err
}

// blames reports whether err may be about one of the suspected fields: it names one, it speaks of the schema or of
// release stages, or a value of one has a type that the schema does not allow.
func blames(err error, suspects fieldSet) bool {
	if fault.ReasonOf(err) == "cursor-refused" {
		return false
	}
	if e, ok := errors.AsType[*responseErrors](err); ok {
		return slices.ContainsFunc(e.list, func(r responseError) bool {
			return names(r.message, suspects) || names(strings.Join(r.path, " "), suspects) ||
				validationText.MatchString(r.message) || stageText.MatchString(r.message)
		})
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return names(e.Field, suspects)
	}
	return false
}

func names(text string, suspects fieldSet) bool {
	for _, f := range optionalFields {
		if suspects.has(f.set) && f.mentions.MatchString(text) {
			return true
		}
	}
	return false
}

// refusal reports whether err is Pluralsight's answer to the question itself.
func refusal(err error) bool {
	if e, ok := errors.AsType[*responseErrors](err); ok {
		return e.status != 401 && fault.ClassOf(err) != fault.Throttled && fault.ReasonOf(err) != "unauthorized"
	}
	return fault.ReasonOf(err) == "bad-shape"
}

// usersAsk is one question for a page of users.
type usersAsk struct {
	operation string
	first     int
	after     string
	emails    []string
	cut       fieldSet
}

// answered is a decoded answer and the warnings that came with it.
type answered[T any] struct {
	data     *T
	warnings []json.RawMessage
}

func (a usersAsk) filter() *wire.UsersFilter {
	if a.emails == nil {
		return nil
	}
	f := &wire.UsersFilter{Emails: make([]*string, 0, len(a.emails))}
	for _, e := range a.emails {
		f.Emails = append(f.Emails, new(e))
	}
	return f
}
