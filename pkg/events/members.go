package events

import (
	"encoding/json"

	"github.com/seatwire/seatwire/pkg/fault"
)

// members decodes members of a JSON object by their exact names: encoding/json would also take "EMAIL" for email, and
// whoever else reads the event would not. All are filled that can be, so that one of a wrong type hides no other; the
// error names it.
func members(object []byte, targets map[string]any) (err error) {
	var found map[string]json.RawMessage
	if json.Unmarshal(object, &found) != nil {
		return fault.New(fault.Permanent, "invalid", "the data is no JSON object")
	}
	for name, target := range targets {
		if raw, ok := found[name]; ok && json.Unmarshal(raw, target) != nil {
			err = fault.New(fault.Permanent, "invalid", "the member %s has a wrong type", name)
		}
	}
	return err
}

// ReadSyncRequested decodes the data of a sync request.
func ReadSyncRequested(data json.RawMessage) (out SyncRequested, err error) {
	err = members(data, map[string]any{"connection": &out.Connection, "reason": &out.Reason})
	return out, err
}

// ReadDeprovisionRequested decodes the data of a deprovision request. What could be read is returned with the error too:
// the connection is judged before everything else.
func ReadDeprovisionRequested(data json.RawMessage) (out DeprovisionRequested, err error) {
	err = members(data, map[string]any{
		"connection": &out.Connection, "email": &out.Email, "psUserId": &out.PsUserID, "employeeId": &out.EmployeeID,
		"firstName": &out.FirstName, "lastName": &out.LastName, "reason": &out.Reason,
		"effectiveAt": &out.EffectiveAt, "retainPrivileges": &out.RetainPrivileges,
	})
	return out, err
}

// ReadDeprovisionCancelled decodes the data of a cancel.
func ReadDeprovisionCancelled(data json.RawMessage) (out DeprovisionCancelled, err error) {
	err = members(data, map[string]any{
		"connection": &out.Connection, "source": &out.Source, "id": &out.ID, "reason": &out.Reason,
	})
	return out, err
}
