package fetcher

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/seatwire/seatwire/pkg/fault"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/roster"
)

// Nothing is lost or put out of order, no message is beyond the bounds, and none is smaller than it has to be.
func TestSplit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ people, bytesEach, messages int }{
		{0, 0, 0}, {1, 0, 1}, {roster.MaxPageUsers, 0, 1}, {roster.MaxPageUsers + 1, 0, 2}, {350, 0, 4},
		{100, 4 << 10, 2}, {30, 20 << 10, 3}, {5, 100 << 10, 3}, {3, 200 << 10, 3},
	} {
		t.Run(fmt.Sprintf("%d people of %d bytes", tt.people, tt.bytesEach), func(t *testing.T) {
			t.Parallel()
			p := vendorPage{kind: roster.Users}
			for i := range tt.people {
				p.users = append(p.users, roster.FetchedUser{PsUserID: fmt.Sprint(i), FirstName: strings.Repeat("x", tt.bytesEach)})
			}
			bodies, err := split(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(bodies) != tt.messages {
				t.Errorf("%d messages, want %d", len(bodies), tt.messages)
			}
			next := 0
			for _, body := range bodies {
				next = inOrder(t, body, next)
			}
			if next != tt.people {
				t.Errorf("%d of %d people", next, tt.people)
			}
		})
	}
}

// inOrder checks one message, whose people are numbered from next on, and returns the number that follows.
func inOrder(t *testing.T, body []byte, next int) int {
	t.Helper()
	var got roster.FetchedPage
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if len(body) > roster.MaxPageBytes || got.Kind != roster.Users || len(got.Users) == 0 || len(got.Users) > roster.MaxPageUsers {
		t.Fatalf("%d people of kind %s in %d bytes", len(got.Users), got.Kind, len(body))
	}
	for _, u := range got.Users {
		if u.PsUserID != fmt.Sprint(next) {
			t.Fatalf("person %s in place %d", u.PsUserID, next)
		}
		next++
	}
	return next
}

func TestSplit_atTheLimit(t *testing.T) {
	t.Parallel()
	empty, _, err := encode(roster.Users, []roster.FetchedUser{{PsUserID: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	room := roster.MaxPageBytes - len(empty) - len(`,"email":""`)
	for size, fits := range map[int]bool{room: true, room + 1: false} {
		_, err := split(vendorPage{kind: roster.Users, users: []roster.FetchedUser{{PsUserID: "a", Email: strings.Repeat("x", size)}}})
		if fits != (err == nil) || !fits && fault.ReasonOf(err) != "too-large" {
			t.Errorf("%d bytes of room %d: %v", size, room, err)
		}
	}
}

// People are read as they are given; only teams that somebody sits in are kept.
func TestFetched(t *testing.T) {
	t.Parallel()
	got := fetched(pluralsight.User{
		PsUserID: "u", Email: "A@x", OnAccount: new(false), ProductIDs: []string{"p"}, CurrentSSOIdentifier: "sso",
		Teams: []pluralsight.Team{{Name: "direct", Direct: true}, {Name: "above"}},
	})
	if got.Email != "A@x" || *got.OnAccount || got.SSOID != "sso" || len(got.Teams) != 1 || got.Teams[0] != "direct" || got.Products[0] != "p" {
		t.Errorf("%+v", got)
	}
}

// blind is a vendor that does not give this key product ids.
type blind struct{ Plans }

func (b blind) Users(ctx context.Context, after string) (pluralsight.UserPage, error) {
	page, err := b.Plans.Users(ctx, after)
	for i := range page.Users {
		page.Users[i].ProductsKnown = false
	}
	return page, err
}

// Without product ids nobody is billable: to go on would drop everybody.
func TestUserPage_refusesBillableWithoutProducts(t *testing.T) {
	t.Parallel()
	for include, refused := range map[string]bool{"billable": true, "on-account": false} {
		g := newGround(t)
		l := g.process(blind{&vendor{users: 2, pageSize: 2}}, nil)
		p := productivOf(include)
		l.connection.Productiv = &p
		if err := deliver(t.Context(), l, g.ask("r1")); err != nil {
			t.Fatal(err)
		}
		if m := g.only(); (m.Failure == "products-unknown") != refused {
			t.Errorf("include %s: %q", include, m.Failure)
		}
	}
}

func TestWarn_isBounded(t *testing.T) {
	t.Parallel()
	var known []string
	for i := range 100 {
		known = warn(known, []string{fmt.Sprint(i % 50), "same"})
	}
	if len(known) != maxWarnings {
		t.Errorf("%d warnings", len(known))
	}
}
