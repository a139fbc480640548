package productiv

import (
	"testing"

	"github.com/seatwire/seatwire/pkg/fault"
)

func TestEncodeUsers(t *testing.T) {
	t.Parallel()
	users := []User{
		{AppUserID: "2", Email: "b<&>@example.com", Username: "b", License: "Enterprise"},
		{AppUserID: "1", Email: ada},
	}
	const want = `{"provisionedUsers":[{"appUserId":"2","email":"b<&>@example.com","username":"b","license":"Enterprise"},{"appUserId":"1","email":"ada@example.com"}]}`
	for range 3 {
		if got := encode(t, users...); string(got) != want {
			t.Errorf("got %s", got)
		}
	}
	for name, c := range map[string]struct {
		users  []User
		reason string
	}{
		"nobody":     {nil, "bad-batch"},
		"too many":   {make([]User, MaxUsers+1), "bad-batch"},
		"no id":      {[]User{{Email: ada}}, "bad-user"},
		"no address": {[]User{{AppUserID: "1"}}, "bad-user"},
		"not UTF-8":  {[]User{{AppUserID: "1", Email: ada, License: "\xff"}}, "bad-user"},
	} {
		body, err := EncodeUsers(c.users)
		checkFault(t, name, err, fault.Permanent, c.reason)
		if body != nil {
			t.Errorf("%s: got a body", name)
		}
	}
}
