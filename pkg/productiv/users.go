package productiv

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/seatwire/seatwire/pkg/fault"
)

// MaxUsers is how many people Productiv takes in one call.
const MaxUsers = 1000

// User is one person on Productiv's list.
type User struct {
	// AppUserID is the person's id in the app: Pluralsight's psUserId.
	AppUserID string `json:"appUserId"`
	Email     string `json:"email"`
	// Username and License are left out when empty.
	Username string `json:"username,omitempty"`
	License  string `json:"license,omitempty"`
}

// EncodeUsers returns the body for Add and Remove: the same bytes for the same people in the same order, so that a
// retry, and a person's approval, are of exactly these. What Productiv would refuse, or might take for an order that
// nobody gave, is refused here: nobody at all, more than MaxUsers, or a person without id or address.
func EncodeUsers(users []User) ([]byte, error) {
	if len(users) == 0 || len(users) > MaxUsers {
		return nil, fault.New(fault.Permanent, "bad-batch", "a call takes 1 to %d people, not %d", MaxUsers, len(users))
	}
	for i, u := range users {
		if !u.sendable() {
			return nil, fault.New(fault.Permanent, "bad-user", "person %d of %d lacks an id or an address, or holds text that is not UTF-8", i+1, len(users))
		}
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // for people who read the sealed body
	if err := enc.Encode(map[string][]User{"provisionedUsers": users}); err != nil {
		return nil, fault.New(fault.Permanent, "bad-batch", "the people cannot be encoded").Because(err)
	}
	return bytes.TrimSuffix(body.Bytes(), []byte("\n")), nil
}

// sendable: JSON would replace invalid bytes and so, silently, name another person.
func (u User) sendable() bool {
	return u.AppUserID != "" && u.Email != "" && utf8.ValidString(u.AppUserID+u.Email+u.Username+u.License)
}
