package pluralsightsim

import (
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
)

//go:embed schema.graphql
var schemaSource string

// connectionOfPlans is the other shape that planInfo may have.
const connectionOfPlans = `
type PlanInfoConnection { totalCount: Int! edges: [PlanInfoEdge] nodes: [PlanInfo] pageInfo: PageInfo! }
type PlanInfoEdge { cursor: String node: PlanInfo }
`

// schemas makes each variant of the schema once.
type schemas struct {
	mu       sync.Mutex
	variants map[string]*variant
}

func newSchemas() *schemas { return &schemas{variants: map[string]*variant{}} }

// variant is the schema as one setting of the switches has it, with the queries that were validated against it.
type variant struct {
	schema   *ast.Schema
	original map[string]string // "User.primaryEmail" → "email", for renamed fields

	mu        sync.RWMutex
	documents map[string]*document
}

// name is the field's name before any renaming: what the executor knows it by.
func (v *variant) name(typeName, field string) string {
	if was, ok := v.original[typeName+"."+field]; ok {
		return was
	}
	return field
}

func (c *schemas) variant(sw *Switches) (*variant, error) {
	hidden := slices.Clone(sw.GraphQL.Hidden)
	if !sw.GraphQL.LegacyIDs {
		hidden = append(hidden, "User.id", "PlanAdmin.userId")
	}
	if sw.Plan.Info == "missing" {
		hidden = append(hidden, "Query.planInfo")
	}
	key := fmt.Sprint(hidden, sw.GraphQL.Renamed, sw.Plan.Info)
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.variants[key]
	if v == nil {
		var err error
		if v, err = newVariant(hidden, sw.GraphQL.Renamed, sw.Plan.Info == "connection"); err != nil {
			return nil, err
		}
		c.variants[key] = v
	}
	return v, v.knows(sw.GraphQL.BetaFields)
}

func newVariant(hidden []string, renamed map[string]string, planConnection bool) (*variant, error) {
	sources := []*ast.Source{validator.Prelude, {Name: "pluralsight.graphql", Input: schemaSource}}
	if planConnection {
		sources = append(sources, &ast.Source{Name: "plan-connection", Input: connectionOfPlans})
	}
	doc, err := parser.ParseSchemas(sources...)
	if err != nil {
		return nil, err
	}
	v := &variant{original: map[string]string{}, documents: map[string]*document{}}
	if planConnection {
		doc.Definitions.ForName("Query").Fields.ForName("planInfo").Type = ast.NamedType("PlanInfoConnection", nil)
	}
	for field, name := range renamed {
		if err := v.rename(doc, field, name); err != nil {
			return nil, err
		}
	}
	for _, field := range hidden {
		if err := hide(doc, field); err != nil {
			return nil, err
		}
	}
	if v.schema, err = validator.ValidateSchemaDocument(doc); err != nil {
		return nil, err
	}
	return v, nil
}

// locate finds "Type.field".
func locate(doc *ast.SchemaDocument, path string) (*ast.Definition, *ast.FieldDefinition, error) {
	typeName, name, _ := strings.Cut(path, ".")
	def := doc.Definitions.ForName(typeName)
	if def == nil || def.Fields.ForName(name) == nil {
		return nil, nil, fmt.Errorf("the schema has no field %q (want Type.field)", path)
	}
	return def, def.Fields.ForName(name), nil
}

func (v *variant) rename(doc *ast.SchemaDocument, path, name string) error {
	def, field, err := locate(doc, path)
	if err != nil {
		return err
	}
	if name == "" || def.Fields.ForName(name) != nil {
		return fmt.Errorf("field %q cannot be renamed to %q", path, name)
	}
	v.original[def.Name+"."+name] = field.Name
	field.Name = name
	return nil
}

func hide(doc *ast.SchemaDocument, path string) error {
	def, field, err := locate(doc, path)
	if err != nil {
		return err
	}
	def.Fields = slices.DeleteFunc(def.Fields, func(f *ast.FieldDefinition) bool { return f == field })
	return nil
}

func (v *variant) knows(paths []string) error {
	for _, path := range paths {
		typeName, name, _ := strings.Cut(path, ".")
		if def := v.schema.Types[typeName]; def == nil || def.Fields.ForName(name) == nil {
			return fmt.Errorf("the schema has no field %q (want Type.field)", path)
		}
	}
	return nil
}

// document is a query that was parsed, validated and, where its shape does not depend on variables, compiled.
type document struct {
	ast      *ast.QueryDocument
	fixed    bool // no @skip and no @include: compiled once for each operation
	compiled map[*ast.OperationDefinition][]selection
	errors   []problem
}

// maxDocuments bounds the cache; a client has a handful of queries, and one that builds texts gets no better than parsing.
const maxDocuments = 512

// document returns the query's parsed form, from the cache where it can.
func (v *variant) document(query string) *document {
	v.mu.RLock()
	d := v.documents[query]
	v.mu.RUnlock()
	if d != nil {
		return d
	}
	d = v.parse(query)
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.documents) >= maxDocuments {
		clear(v.documents)
	}
	v.documents[query] = d
	return d
}

func (v *variant) parse(query string) *document {
	doc, err := parser.ParseQuery(&ast.Source{Input: query})
	if err != nil {
		return &document{errors: []problem{{message: cleanMessage(err), code: "GRAPHQL_PARSE_FAILED"}}}
	}
	if list := validator.ValidateWithRules(v.schema, doc, nil); len(list) > 0 {
		d := &document{}
		for _, e := range list {
			d.errors = append(d.errors, problem{message: e.Message, code: "GRAPHQL_VALIDATION_FAILED"})
		}
		return d
	}
	d := &document{ast: doc, fixed: !conditional(doc), compiled: map[*ast.OperationDefinition][]selection{}}
	if d.fixed {
		for _, op := range doc.Operations {
			d.compiled[op] = v.compile(op.SelectionSet, nil)
		}
	}
	return d
}

// operation chooses the operation to run, as the specification says.
func (d *document) operation(name string) (*ast.OperationDefinition, error) {
	if name == "" && len(d.ast.Operations) != 1 {
		return nil, errors.New("Must provide operation name if query contains multiple operations.") //nolint:staticcheck // the vendor's words
	}
	op := d.ast.Operations.ForName(name)
	if op == nil {
		return nil, fmt.Errorf("Unknown operation named %q.", name) //nolint:staticcheck // the vendor's words
	}
	return op, nil
}
