package pluralsightsim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator"
)

// problem is one entry of errors.
type problem struct {
	message string
	code    string
	path    string // a root field's key; "" when the whole call failed
}

// graphQLCall is one GraphQL request. It is parsed and validated at once, because the script wants to know what it is,
// and executed later.
type graphQLCall struct {
	*exchange
	sim        *Sim
	selections []selection
	mutation   bool
	vars       map[string]any
	problems   []problem
	notes      []note
	broken     bool // problems leave no data

	described call
	enc       encoder
}

// note is one entry of extensions.warnings.
type note struct{ code, message string }

// graphQL understands a request to /graphql.
func (s *Sim) graphQL(x *exchange) endpoint {
	g := &graphQLCall{exchange: x, sim: s, described: x.call()}
	g.enc.sw = &x.sw.Switches
	line := &GraphQLCall{}
	g.parse(line)
	g.described.operations = append(slices.Clone(line.Fields), line.Operation)
	g.described.page, g.described.filtered = line.Page, line.Emails != nil
	s.ledger.update(func() { x.line.GraphQL = line })
	return g
}

func (g *graphQLCall) describe() call { return g.described }

// parse fills the call and its line as far as the request allows; what does not, is a problem of the whole call.
func (g *graphQLCall) parse(line *GraphQLCall) {
	var body struct {
		Query         string         `json:"query"`
		OperationName string         `json:"operationName"`
		Variables     map[string]any `json:"variables"`
		Extensions    any            `json:"extensions"`
	}
	d := json.NewDecoder(bytes.NewReader(g.body))
	d.UseNumber()
	if err := d.Decode(&body); err != nil || body.Query == "" {
		g.refuse(problem{message: "Must provide query string.", code: "BAD_REQUEST"})
		return
	}
	if _, err := d.Token(); err != io.EOF {
		g.refuse(problem{message: "Unexpected data after the request.", code: "BAD_REQUEST"})
		return
	}
	doc := g.sw.variant.document(body.Query)
	if doc.errors != nil {
		g.refuse(doc.errors...)
		return
	}
	op, err := doc.operation(body.OperationName)
	if err != nil {
		g.refuse(problem{message: err.Error(), code: "OPERATION_RESOLUTION_FAILURE"})
		return
	}
	line.Operation, line.Mutation = op.Name, op.Operation == ast.Mutation
	if err := g.bind(op, body.Variables); err != nil {
		g.refuse(problem{message: err.Error(), code: "BAD_USER_INPUT"})
		return
	}
	g.compile(doc, op)
	g.summarise(line)
}

func (g *graphQLCall) refuse(p ...problem) {
	g.problems = append(g.problems, p...)
	g.broken = true
}

// bind checks the variables. A number in quotes is refused, which the validator alone would let pass.
func (g *graphQLCall) bind(op *ast.OperationDefinition, given map[string]any) error {
	for _, v := range op.VariableDefinitions {
		if text, isText := given[v.Variable].(string); isText && v.Type.NamedType == "Int" {
			return fmt.Errorf("Variable \"$%s\" got invalid value %q; Int cannot represent non-integer value", v.Variable, text) //nolint:staticcheck // the vendor's words
		}
	}
	vars, err := validator.VariableValues(g.sw.variant.schema, op, given)
	if err != nil {
		return fmt.Errorf("%s", cleanMessage(err))
	}
	g.vars = vars
	return nil
}

func (g *graphQLCall) compile(doc *document, op *ast.OperationDefinition) {
	g.mutation = op.Operation == ast.Mutation
	g.selections = doc.compiled[op]
	if !doc.fixed {
		g.selections = g.sw.variant.compile(op.SelectionSet, g.vars)
	}
	if g.mutation && g.sw.Auth.ReadOnly {
		g.forbid()
	}
	g.inspect(g.selections)
	for i := range g.selections {
		if name := g.selections[i].name; name == "__schema" || name == "__type" {
			g.refuse(problem{message: "GraphQL introspection is not allowed.", code: "INTROSPECTION_DISABLED"})
		}
	}
}

// inspect finds fields of Beta, one of which fails the whole call, and deprecated ones, which warn.
func (g *graphQLCall) inspect(sel []selection) {
	for i := range sel {
		s := &sel[i]
		path := s.typeName + "." + s.field.Name
		if !g.sw.Auth.Beta && slices.Contains(g.sw.GraphQL.BetaFields, path) {
			g.refuse(problem{message: "Field '" + path + "' is in Beta and not available to this API key", code: "FORBIDDEN"})
		}
		if s.deprecated != "" {
			g.warn("DEPRECATED_FIELD", "Field '"+path+"' is deprecated: "+s.deprecated)
		}
		g.inspect(s.sub)
	}
}

func (g *graphQLCall) warn(code, message string) { g.notes = append(g.notes, note{code, message}) }

// forbid refuses a mutation with a read-only key, in the plan's manner.
func (g *graphQLCall) forbid() {
	if g.sw.Auth.Forbidden == "status" {
		g.reply.fail(http.StatusForbidden, "json", "AuthorizationError: API Key lacks WRITE permission")
	}
	g.refuse(problem{message: "API Key lacks WRITE permission", code: "FORBIDDEN"})
}

// summarise notes what the ledger and the script want to know.
func (g *graphQLCall) summarise(line *GraphQLCall) {
	for i := range g.selections {
		s := &g.selections[i]
		line.Fields = append(line.Fields, s.name)
		if len(s.field.Definition.Arguments) == 0 || line.Page != 0 {
			continue
		}
		a := g.arguments(s)
		if !a.paged {
			continue
		}
		line.First, line.After, line.Emails, line.Page = a.first, a.after, a.emails, 1
		if c, ok := parseCursor(a.after); ok {
			line.Page = c.page
		}
	}
}

// work executes the call and writes the answer.
func (g *graphQLCall) work() {
	if g.reply.status != 0 {
		return // forbidden, by status
	}
	g.reply.status, g.reply.contentType = http.StatusOK, typeJSON
	if g.broken {
		g.reply.status = g.sw.GraphQL.ValidationStatus
	}
	g.scriptedErrors()
	g.enc.buf = make([]byte, 0, g.sizeHint())
	g.enc.raw(`{"data":`)
	g.data()
	g.appendErrors()
	g.appendWarnings()
	g.enc.byte('}')
	g.reply.body = g.enc.buf
	if n := len(g.problems); n > 0 {
		g.sim.ledger.update(func() { g.line.GraphQL.Errors = n })
	}
}

// sizeHint saves growing the buffer: a page is what is asked for most.
func (g *graphQLCall) sizeHint() int {
	if g.described.page == 0 {
		return 1 << 10
	}
	return 64 << 10
}

func (g *graphQLCall) data() {
	if g.broken {
		g.enc.null()
		return
	}
	run := g.plan.view
	if g.mutation {
		run = g.plan.change
	}
	run(g.now, func() {
		g.enc.byte('{')
		for i := range g.selections {
			if i > 0 {
				g.enc.byte(',')
			}
			g.enc.raw(g.selections[i].prefix)
			g.root(&g.selections[i])
		}
		g.enc.byte('}')
	})
}

// root writes the value of one root field. An error leaves null and a problem with the field's path, as the
// specification wants for a nullable field.
func (g *graphQLCall) root(s *selection) {
	if s.name == "__typename" {
		g.enc.string(s.typeName)
		return
	}
	table := queries
	if g.mutation {
		table = mutations
	}
	mark := len(g.enc.buf)
	if p := table[s.name](g, s); p != nil {
		p.path = s.field.Alias
		g.enc.buf = g.enc.buf[:mark]
		g.enc.null()
		g.problems = append(g.problems, *p)
	}
}

// scriptedErrors adds the script's errors.
func (g *graphQLCall) scriptedErrors() {
	for _, a := range errorActions {
		f := g.hits.find(a)
		if f == nil {
			continue
		}
		g.problems = append(g.problems, problem{message: f.Message, code: f.Code, path: g.firstKey()})
		g.broken = g.broken || a == ErrorsOnly
	}
}

func (g *graphQLCall) firstKey() string {
	if len(g.selections) == 0 {
		return ""
	}
	return g.selections[0].field.Alias
}

func (g *graphQLCall) appendErrors() {
	if len(g.problems) == 0 {
		return
	}
	g.enc.raw(`,"errors":[`)
	for i, p := range g.problems {
		if i > 0 {
			g.enc.byte(',')
		}
		g.enc.raw(`{"message":`)
		g.enc.string(p.message)
		if p.path != "" {
			g.enc.raw(`,"path":[`)
			g.enc.string(p.path)
			g.enc.byte(']')
		}
		g.appendCode(p.code)
		g.enc.byte('}')
	}
	g.enc.byte(']')
}

// appendCode writes extensions of an error. The vendor's troubleshooting page shows them as an array, against the
// GraphQL specification, so that is the default.
func (g *graphQLCall) appendCode(code string) {
	form := g.sw.GraphQL.ErrorExtensions
	if code == "" || form == "none" {
		return
	}
	open, shut := `,"extensions":{"code":`, `}`
	if form == "array" {
		open, shut = `,"extensions":[{"code":`, `}]`
	}
	g.enc.raw(open)
	g.enc.string(code)
	g.enc.raw(shut)
}

func (g *graphQLCall) appendWarnings() {
	if g.sw.Auth.Expired {
		g.warn("EXPIRED_KEY", "API key is expired. Create a new key.")
	}
	for _, w := range g.sw.GraphQL.Warnings {
		g.warn("NOTICE", w)
	}
	if len(g.notes) == 0 {
		return
	}
	g.enc.raw(`,"extensions":{"warnings":[`)
	for i, n := range g.notes {
		if i > 0 {
			g.enc.byte(',')
		}
		if g.sw.GraphQL.WarningForm == "string" {
			g.enc.string(n.message)
			continue
		}
		g.enc.raw(`{"code":`)
		g.enc.string(n.code)
		g.enc.raw(`,"message":`)
		g.enc.string(n.message)
		g.enc.byte('}')
	}
	g.enc.raw(`]}`)
}
