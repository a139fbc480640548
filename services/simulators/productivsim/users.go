package productivsim

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"
)

// writeAnswer is what POST says.
type writeAnswer struct {
	Success json.RawMessage `json:"success,omitempty"`
}

// deleteAnswer is what DELETE says.
type deleteAnswer struct {
	NumUsersDeleted int             `json:"numUsersDeleted"`
	Success         json.RawMessage `json:"success,omitempty"`
}

// pageAnswer is what GET says.
type pageAnswer struct {
	Success          json.RawMessage `json:"success,omitempty"`
	ProvisionedUsers []User          `json:"provisionedUsers"`
	NumUsers         int             `json:"numUsers"`
	NextPageToken    json.RawMessage `json:"nextPageToken,omitempty"`
}

// users is the provisioned-users endpoint.
func (s *Sim) users(c *call) answer {
	if c.Method != http.MethodGet && c.Method != http.MethodPost && c.Method != http.MethodDelete {
		a := refusal(http.StatusMethodNotAllowed, "method not allowed")
		a.header.Set("Allow", "GET, POST, DELETE")
		return a
	}
	if refused := s.authorize(c, ScopeConnectorWrite); refused != nil {
		return *refused
	}
	if c.Method == http.MethodGet {
		return s.list(c)
	}
	users, refused := c.people()
	if refused != nil {
		return *refused
	}
	if c.Method == http.MethodPost {
		return c.post(users)
	}
	return c.remove(users)
}

func (c *call) post(users []User) answer {
	c.effect(c.app.post(users, c.set, c.log))
	return ok(writeAnswer{Success: c.success(true)})
}

func (c *call) remove(users []User) answer {
	asked, hidden := len(users), 0
	if f := c.fault; f != nil {
		switch f.Kind {
		case FaultPartialDelete:
			users = users[:max(0, asked-f.Count)]
		case FaultShortCount:
			hidden = f.Count
		}
	}
	did := c.app.remove(users, c.log)
	c.effect(did)
	all := did.deleted == asked || (c.set.AbsentDelete == Accept && len(users) == asked)
	return ok(deleteAnswer{NumUsersDeleted: max(0, did.deleted-hidden), Success: c.success(all)})
}

// effect notes in the ledger what the call did.
func (c *call) effect(did effect) {
	e := &c.entry
	e.Applied = true
	e.Added, e.Changed, e.Unchanged = did.added, did.changed, did.unchanged
	e.Deleted, e.Absent, e.Lost = did.deleted, did.absent, did.lost
}

// success is the value of "success" for an outcome: what the fault says, else the switch, else the truth.
func (c *call) success(truth bool) json.RawMessage {
	if f := c.fault; f != nil && f.Kind == FaultSuccess {
		return successLiteral(f.Success, truth)
	}
	return successLiteral(c.set.Success, truth)
}

// successLiteral is empty for a member that is left out.
func successLiteral(s Success, truth bool) json.RawMessage {
	switch s {
	case SuccessFalse:
		return json.RawMessage("false")
	case SuccessMissing:
		return nil
	case SuccessNull:
		return json.RawMessage("null")
	case SuccessText:
		return json.RawMessage(`"true"`)
	default:
		return json.RawMessage(fmt.Sprint(truth))
	}
}

// people reads who the body names, or the refusal that the body earns.
func (c *call) people() ([]User, *answer) {
	if status, message := checkContentType(c.Header); status != 0 {
		return nil, refuse(status, message)
	}
	users, err := decodeUsers(c.body, c.set.UnknownMembers == Reject)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, err.Error())
	}
	c.note(users)
	if len(users) > c.set.MaxUsers {
		return nil, refuse(http.StatusBadRequest, fmt.Sprintf("provisionedUsers holds more than %d users", c.set.MaxUsers))
	}
	if len(users) == 0 && c.set.EmptyArray == Reject {
		return nil, refuse(http.StatusBadRequest, "provisionedUsers is empty")
	}
	for i, u := range users {
		if strings.TrimSpace(u.AppUserID) == "" || strings.TrimSpace(u.Email) == "" {
			return nil, refuse(http.StatusBadRequest, fmt.Sprintf("provisionedUsers[%d]: appUserId and email are required", i))
		}
		if c.set.poisons(u) {
			// The address is quoted on purpose: a vendor may, and a client that logs this text leaks.
			return nil, refuse(http.StatusBadRequest, fmt.Sprintf("provisionedUsers[%d]: invalid user %s", i, u.Email))
		}
	}
	return users, nil
}

func refuse(status int, message string) *answer { return new(refusal(status, message)) }

// note enters in the ledger whom the body names, refused or not.
func (c *call) note(users []User) {
	c.entry.Users = len(users)
	if c.log.history.countsOnly {
		return
	}
	for _, u := range users {
		c.entry.AppUserIDs = append(c.entry.AppUserIDs, u.AppUserID)
		c.entry.Emails = append(c.entry.Emails, u.Email)
	}
}

func checkContentType(h http.Header) (status int, message string) {
	if h.Get("Content-Encoding") != "" {
		return http.StatusUnsupportedMediaType, "content encoding is not supported"
	}
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return http.StatusUnsupportedMediaType, "Content-Type must be application/json"
	}
	return 0, ""
}

// decodeUsers reads {"provisionedUsers": [...]} and nothing else. Not strict, it skips other members, and takes the known ones
// in any case, as encoding/json does.
func decodeUsers(body []byte, strict bool) ([]User, error) {
	switch {
	case len(body) == 0:
		return nil, fmt.Errorf("a JSON body is required")
	case !utf8.Valid(body):
		return nil, fmt.Errorf("body is not UTF-8")
	}
	var request struct {
		ProvisionedUsers []User `json:"provisionedUsers"`
	}
	if json.Unmarshal(body, &request) != nil {
		return nil, fmt.Errorf("body is not valid JSON of the documented shape")
	}
	if request.ProvisionedUsers == nil {
		return nil, fmt.Errorf("provisionedUsers is missing")
	}
	if strict {
		if err := checkMembers(body); err != nil {
			return nil, err
		}
	}
	return request.ProvisionedUsers, nil
}
