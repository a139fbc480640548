package deprovisioner

import (
	"context"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// movedPlan is a plan whose only person is not found by the address that a file was sealed with.
type movedPlan struct{ Pluralsight }

func (movedPlan) Lookup(context.Context, []string) ([]pluralsight.User, error) { return nil, nil }

func (movedPlan) Users(context.Context, string) (page pluralsight.UserPage, err error) {
	page.Users = []pluralsight.User{{PsUserID: "u1", Email: "new@corp.example"}, {PsUserID: "u2"}}
	return page, nil
}

// Somebody who got another address between the file and the read-back is still there: not found is not gone.
func TestReadBackFindsWhoChangedTheAddress(t *testing.T) {
	t.Parallel()
	v := vendor{plan: movedPlan{}, now: time.Now}
	in := v.readBack(t.Context(), callRead{rows: []deprovision.Row{{PsUserID: "u1", Email: "old@corp.example"}, {PsUserID: "u3", Email: "gone@corp.example"}}})
	got := in.(readBack)
	if _, found := got.users["u1"]; !found || len(got.users) != 1 || got.trouble.reason != "" {
		t.Errorf("%+v", got)
	}
}
