package pluralsight

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"go.uber.org/goleak"

	"github.com/seatwire/seatwire/pkg/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testToken = "secret-token-of-the-plan"

// reply is one answer of the test server.
type reply struct {
	status  int    // 0 is 200
	kind    string // content type; "" is application/json
	headers map[string]string
	body    string
	serve   http.HandlerFunc // instead of all the above
}

func (r reply) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if r.serve != nil {
		r.serve(w, req)
		return
	}
	kind := r.kind
	if kind == "" {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	for k, v := range r.headers {
		w.Header().Set(k, v)
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
	}
	_, _ = io.WriteString(w, r.body)
}

// question is one GraphQL request as the server saw it.
type question struct {
	Query         string
	OperationName string
	Variables     struct {
		First  int
		After  *string
		Filter *struct{ Emails []string }
	}
}

func (q question) after() string { return value(q.Variables.After) }

// asks reports whether the query selects the field.
func (q question) asks(field string) bool {
	for word := range strings.FieldsSeq(q.Query) {
		if word == field {
			return true
		}
	}
	return false
}

// bench is a client, the server that it talks to, and what both left behind.
type bench struct {
	*Client
	server   *httptest.Server
	registry *prometheus.Registry
	logs     *syncBuffer

	mu        sync.Mutex
	questions []question
}

// newBench starts a server that answers questions with answer.
func newBench(t *testing.T, answer func(n int, q question) reply, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{registry: prometheus.NewRegistry(), logs: &syncBuffer{}}
	schema := loadSchema(t)
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q question
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Errorf("the request is not JSON: %v", err)
		}
		if _, err := gqlparser.LoadQueryWithRules(schema, q.Query, nil); err != nil {
			t.Errorf("the query does not fit the schema: %v\n%s", err, q.Query)
		}
		if got := r.Header.Get("Authorization"); got != "Bearer "+testToken || r.Method != http.MethodPost {
			t.Errorf("%s with Authorization %q", r.Method, got)
		}
		b.mu.Lock()
		b.questions = append(b.questions, q)
		n := len(b.questions)
		b.mu.Unlock()
		answer(n, q).ServeHTTP(w, r)
	}))
	b.start(t, b.server.URL, change...)
	return b
}

func (b *bench) start(t *testing.T, url string, change ...func(*Config)) {
	cfg := Config{
		URL:       url,
		Token:     func() (string, error) { return testToken, nil },
		PageSize:  100,
		Retry:     config.Retry{MaxAttempts: 3, InitialDelay: time.Millisecond, MaxDelay: time.Millisecond, CallTimeout: 10 * time.Second},
		UserAgent: "seatwire/test",
	}
	for _, f := range change {
		f(&cfg)
	}
	b.Client = New(cfg, Deps{Log: slog.New(slog.NewJSONHandler(b.logs, nil)), Registry: b.registry, Connection: "acme"})
	t.Cleanup(func() {
		b.Close()
		b.server.Close()
		if log := b.logs.String(); strings.Contains(log, "@") || strings.Contains(log, testToken) {
			t.Errorf("the log holds an address or the token: %s", log)
		}
	})
}

func (b *bench) asked() []question {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]question(nil), b.questions...)
}

func loadSchema(t *testing.T) *ast.Schema {
	t.Helper()
	text, err := os.ReadFile("schema.graphql")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := gqlparser.LoadSchema(&ast.Source{Input: string(text)})
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// usersBody is a page of users; nodes and info are JSON.
func usersBody(nodes, info string) string {
	return fmt.Sprintf(`{"data":{"users":{"totalCount":7,"nodes":%s,"pageInfo":%s}}}`, nodes, info)
}

const (
	lastPage  = `{"hasNextPage":false,"endCursor":null}`
	morePages = `{"hasNextPage":true,"endCursor":"c1"}`
	oneUser   = `[{"psUserId":"u1","email":"ada@example.com","isOnAccount":true,"productIds":["p1"]}]`
)

// graphqlError is an answer with one error and no data.
func graphqlError(message, code string) string {
	m, _ := json.Marshal(message)
	ext := ""
	if code != "" {
		ext = fmt.Sprintf(`,"extensions":{"code":%q}`, code)
	}
	return fmt.Sprintf(`{"data":null,"errors":[{"message":%s%s}]}`, m, ext)
}

// hang keeps the request open until the client goes away.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // the server notices a lost client only once the body is read
	<-r.Context().Done()
}

// cut sends the beginning of body and breaks the connection.
func cut(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(body)+10))
		_, _ = io.WriteString(w, body)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// syncBuffer is a bytes.Buffer for several writers.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func checkQuery(t *testing.T, schema *ast.Schema, text string) {
	t.Helper()
	if _, err := gqlparser.LoadQueryWithRules(schema, text, nil); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}
