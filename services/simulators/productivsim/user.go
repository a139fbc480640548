package productivsim

import (
	"encoding/binary"
	"strings"
)

// User is one entry of an app's list, as Productiv spells it.
type User struct {
	AppUserID string `json:"appUserId"`
	Email     string `json:"email"`
	Username  string `json:"username,omitempty"`
	License   string `json:"license,omitempty"`
}

// record is a User in one string: each member as its length and its bytes. A list of a million people then costs one
// allocation and sixteen bytes of header for each, and the history and the index share the same bytes. The empty
// record is a free slot; a packed one is never empty.
type record string

func pack(u User) record {
	var b strings.Builder
	b.Grow(len(u.AppUserID) + len(u.Email) + len(u.Username) + len(u.License) + 8)
	for _, member := range [...]string{u.AppUserID, u.Email, u.Username, u.License} {
		var size [binary.MaxVarintLen64]byte
		b.Write(size[:binary.PutUvarint(size[:], uint64(len(member)))])
		b.WriteString(member)
	}
	return record(b.String())
}

// user unpacks; the members are parts of the record's own bytes.
func (r record) user() User {
	var u User
	rest := string(r)
	for _, member := range [...]*string{&u.AppUserID, &u.Email, &u.Username, &u.License} {
		*member, rest = firstMember(rest)
	}
	return u
}

func firstMember(s string) (member, rest string) {
	var size, shift uint64
	for i := range len(s) {
		size |= uint64(s[i]&0x7f) << shift
		shift += 7
		if s[i] < 0x80 {
			return s[i+1 : i+1+int(size)], s[i+1+int(size):]
		}
	}
	return "", ""
}

// foldEmail is how addresses are compared wherever they are compared.
func foldEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }
