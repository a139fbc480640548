package productivsim

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// WorkflowUser is somebody whom a provisioning workflow found, with what it did or suggests. The vendor's page is only partly
// readable: the names are those that it shows, and the nesting is our reading.
type WorkflowUser struct {
	Email   string          `json:"Email"`
	Outcome WorkflowOutcome `json:"Outcome"`
}

// WorkflowOutcome says what a workflow did, or would do.
type WorkflowOutcome struct {
	// Action is "deprovisioned", for example.
	Action string `json:"Action"`
	// IsSuggest says that nothing was done yet.
	IsSuggest bool `json:"IsSuggest"`
}

// SetWorkflowUsers sets what the latest execution of the app's workflow found.
func (s *Sim) SetWorkflowUsers(appID string, users []WorkflowUser) error {
	a := s.apps[appID]
	if a == nil {
		return fmt.Errorf("no app %q", appID)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.workflow = slices.Clone(users)
	return nil
}

func (s *Sim) appOfInstance(c *call) *app {
	for _, id := range s.Apps() {
		if a := s.apps[id]; a.instance == c.PathValue("instanceId") {
			return a
		}
	}
	return nil
}

// workflowUsers answers who the latest execution found, page by page.
func (s *Sim) workflowUsers(c *call) answer {
	if c.Method != http.MethodGet {
		return refusal(http.StatusMethodNotAllowed, "method not allowed")
	}
	if refused := s.authorize(c, ScopeResultsRead); refused != nil {
		return *refused
	}
	if c.PathValue("execution") != "latest" {
		return refusal(http.StatusBadRequest, "only the latest execution is supported")
	}
	from, valid := 0, true
	if token := c.URL.Query().Get("pageToken"); token != "" {
		from, valid = s.slotOf(c.app.instance+"/workflow", token)
	}
	c.app.mu.Lock()
	users := c.app.workflow
	c.app.mu.Unlock()
	if !valid || from > len(users) {
		return refusal(http.StatusBadRequest, "invalid pageToken")
	}
	end := min(len(users), from+c.set.PageSize)
	page := workflowPage{Users: append([]WorkflowUser{}, users[from:end]...)}
	if end < len(users) {
		page.NextPageToken = s.tokenFor(c.app.instance+"/workflow", end)
	}
	c.entry.Applied, c.entry.Returned = true, len(page.Users)
	return ok(page)
}

type workflowPage struct {
	Users         []WorkflowUser `json:"Users"`
	NextPageToken string         `json:"nextPageToken,omitempty"`
}

// callbacks are the workflows that wait to be resumed.
type callbacks struct {
	mu      sync.Mutex
	waiting map[string]*callback
}

type callback struct {
	app     *app
	resumed bool
}

func newCallbacks() *callbacks { return &callbacks{waiting: map[string]*callback{}} }

func (cs *callbacks) reset() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	clear(cs.waiting)
}

// IssueCallback starts a workflow of the app that waits, and returns the CallbackToken that resumes it.
func (s *Sim) IssueCallback(appID string) (string, error) {
	a := s.apps[appID]
	if a == nil {
		return "", fmt.Errorf("no app %q", appID)
	}
	s.callbacks.mu.Lock()
	defer s.callbacks.mu.Unlock()
	token := rand.Text()
	s.callbacks.waiting[token] = &callback{app: a}
	return token, nil
}

// Resumed reports whether the workflow behind a CallbackToken goes on.
func (s *Sim) Resumed(callbackToken string) bool {
	s.callbacks.mu.Lock()
	defer s.callbacks.mu.Unlock()
	w := s.callbacks.waiting[callbackToken]
	return w != nil && w.resumed
}

// resume lets a waiting workflow go on: "success" the first time, "duplicate" ever after.
func (s *Sim) resume(c *call) answer {
	if c.Method != http.MethodPost {
		return refusal(http.StatusMethodNotAllowed, "method not allowed")
	}
	if _, valid := s.bearer(c); !valid {
		return *s.authorize(c, ScopeWorkflowWrite)
	}
	if status, message := checkContentType(c.Header); status != 0 {
		return refusal(status, message)
	}
	var request struct {
		CallbackToken string `json:"CallbackToken"`
	}
	if json.Unmarshal(c.body, &request) != nil || request.CallbackToken == "" {
		return refusal(http.StatusBadRequest, "CallbackToken is required")
	}
	s.callbacks.mu.Lock()
	defer s.callbacks.mu.Unlock()
	w := s.callbacks.waiting[request.CallbackToken]
	if w == nil {
		return refusal(http.StatusBadRequest, "unknown CallbackToken")
	}
	return s.resumeOne(c, w)
}

func (s *Sim) resumeOne(c *call, w *callback) answer {
	// The token alone says whose workflow it is; from here on the call counts as one of that app.
	c.app, c.entry.App = w.app, w.app.id
	if refused := s.authorize(c, ScopeWorkflowWrite); refused != nil {
		return *refused
	}
	result := "success"
	if w.resumed {
		result = "duplicate"
	}
	w.resumed, c.entry.Applied = true, true
	return ok(struct {
		Result string `json:"result"`
	}{result})
}
