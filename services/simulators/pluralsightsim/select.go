package pluralsightsim

import (
	"errors"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// selection is one field of an answer: fragments are spread, repeated fields merged, renamed fields named as before.
type selection struct {
	prefix     string // `"key":`
	typeName   string // that the field is selected on
	name       string
	field      *ast.Field
	sub        []selection
	deprecated string // reason; "" when the field is not
}

// compile flattens a selection set. The schema has no interfaces and no unions, so every fragment applies.
func (v *variant) compile(set ast.SelectionSet, vars map[string]any) []selection {
	var keys []string
	groups := map[string][]*ast.Field{}
	collect(set, vars, func(f *ast.Field) {
		if !slices.Contains(keys, f.Alias) {
			keys = append(keys, f.Alias)
		}
		groups[f.Alias] = append(groups[f.Alias], f)
	})
	out := make([]selection, 0, len(keys))
	for _, key := range keys {
		f := groups[key][0]
		var sub ast.SelectionSet
		for _, same := range groups[key] {
			sub = append(sub, same.SelectionSet...)
		}
		out = append(out, selection{
			prefix: string(append(appendString(nil, key), ':')), typeName: f.ObjectDefinition.Name,
			name: v.name(f.ObjectDefinition.Name, f.Name), field: f, sub: v.compile(sub, vars), deprecated: deprecation(f),
		})
	}
	return out
}

func deprecation(f *ast.Field) string {
	if f.Definition == nil {
		return ""
	}
	d := f.Definition.Directives.ForName("deprecated")
	if d == nil {
		return ""
	}
	if reason := d.Arguments.ForName("reason"); reason != nil {
		return reason.Value.Raw
	}
	return "No longer supported"
}

// collect visits the fields that apply, in order.
func collect(set ast.SelectionSet, vars map[string]any, visit func(*ast.Field)) {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if applies(s.Directives, vars) {
				visit(s)
			}
		case *ast.InlineFragment:
			if applies(s.Directives, vars) {
				collect(s.SelectionSet, vars, visit)
			}
		case *ast.FragmentSpread:
			if applies(s.Directives, vars) {
				collect(s.Definition.SelectionSet, vars, visit)
			}
		}
	}
}

// applies judges @skip and @include.
func applies(list ast.DirectiveList, vars map[string]any) bool {
	for _, d := range list {
		cond := d.Arguments.ForName("if")
		if cond == nil {
			continue
		}
		value, err := cond.Value.Value(vars)
		on, isBool := value.(bool)
		if err != nil || !isBool {
			continue
		}
		if d.Name == "skip" && on || d.Name == "include" && !on {
			return false
		}
	}
	return true
}

// conditional tells whether a document's shape depends on variables.
func conditional(doc *ast.QueryDocument) bool {
	sets := []ast.SelectionSet{}
	for _, op := range doc.Operations {
		sets = append(sets, op.SelectionSet)
	}
	for _, f := range doc.Fragments {
		sets = append(sets, f.SelectionSet)
	}
	return slices.ContainsFunc(sets, anyDirective)
}

func anyDirective(set ast.SelectionSet) bool {
	return slices.ContainsFunc(set, func(s ast.Selection) bool {
		switch s := s.(type) {
		case *ast.Field:
			return len(s.Directives) > 0 || anyDirective(s.SelectionSet)
		case *ast.InlineFragment:
			return len(s.Directives) > 0 || anyDirective(s.SelectionSet)
		case *ast.FragmentSpread:
			return len(s.Directives) > 0
		}
		return false
	})
}

// cleanMessage is the parser's sentence without the position in front.
func cleanMessage(err error) string {
	if e, ok := errors.AsType[*gqlerror.Error](err); ok {
		return e.Message
	}
	return err.Error()
}
