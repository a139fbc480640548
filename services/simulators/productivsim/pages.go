package productivsim

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"net/http"
)

// list answers one page of GET.
func (s *Sim) list(c *call) answer {
	if len(c.body) > 0 {
		return refusal(http.StatusBadRequest, "GET takes no body")
	}
	from, token, refused := s.pageStart(c)
	if refused != nil {
		return *refused
	}
	users, next := c.app.page(from, c.set.PageSize)
	c.entry.Applied, c.entry.Returned = true, len(users)
	return ok(pageAnswer{
		Success:          c.success(true),
		ProvisionedUsers: users,
		NumUsers:         len(users),
		NextPageToken:    s.nextToken(c, token, next),
	})
}

// pageStart reads the query, strictly: nextPageToken once, as we issued it for this app, and nothing else.
func (s *Sim) pageStart(c *call) (from int, token string, refused *answer) {
	query := c.URL.Query()
	for name, values := range query {
		if name != "nextPageToken" || len(values) != 1 {
			return 0, "", refuse(http.StatusBadRequest, "unknown or repeated query parameter")
		}
	}
	if !query.Has("nextPageToken") {
		return 0, "", nil
	}
	token = query.Get("nextPageToken")
	from, valid := s.slotOf(c.app.id, token)
	if !valid {
		return 0, "", refuse(http.StatusBadRequest, "invalid nextPageToken")
	}
	return from, token, nil
}

// nextToken is the JSON of nextPageToken after a page that was asked for with token.
func (s *Sim) nextToken(c *call, token string, next int) json.RawMessage {
	switch {
	case c.set.PageTokens == PageTokensRepeat && token != "":
		return json.RawMessage(`"` + token + `"`)
	case next < 0 && c.set.PageTokens == PageTokensLoop:
		next = 0
	case next < 0:
		return map[EndToken]json.RawMessage{
			EndTokenNull: json.RawMessage("null"), EndTokenEmpty: json.RawMessage(`""`),
		}[c.set.EndToken]
	}
	return json.RawMessage(`"` + s.tokenFor(c.app.id, next) + `"`)
}

// tokenFor makes a page token: the slot where the page begins, with a seal, so that a token that we did not issue,
// or issued for another app, is refused as the real vendor would.
func (s *Sim) tokenFor(appID string, slot int) string {
	place := binary.BigEndian.AppendUint32(nil, uint32(slot))
	return base64.RawURLEncoding.EncodeToString(append(place, s.seal(appID, place)...))
}

func (s *Sim) slotOf(appID, token string) (slot int, valid bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 4 || !hmac.Equal(raw[4:], s.seal(appID, raw[:4])) {
		return 0, false
	}
	return int(binary.BigEndian.Uint32(raw)), true
}

func (s *Sim) seal(appID string, place []byte) []byte {
	mac := hmac.New(sha256.New, binary.BigEndian.AppendUint64(nil, s.options.Seed))
	mac.Write(place)
	mac.Write([]byte(appID))
	return mac.Sum(nil)[:12]
}
