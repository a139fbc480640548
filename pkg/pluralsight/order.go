package pluralsight

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/seatwire/seatwire/pkg/fault"
)

// Options are what a batch decides beside its rows. Both go into every request, whatever their value.
type Options struct {
	// ExitOnError makes Pluralsight attempt nothing when any row is wrong. Otherwise it drops that row and goes on.
	ExitOnError bool
	// RetainPrivileges leaves people their manager privileges.
	RetainPrivileges bool
}

// Approval is somebody's word that exactly these bytes may take licences back. The zero Approval approves nothing.
type Approval struct {
	// SHA256 of the CSV, in hexadecimal.
	SHA256 string
	// By names the person, or the rule, that approved.
	By string
}

// Order is one file for Pluralsight and what to do with it. Only Apply makes one that changes anything; the zero Order
// is refused.
type Order struct {
	csv  []byte
	opts Options
	// armed orders, and no others, are sent with dryRun=false.
	armed bool
}

// DryRun orders Pluralsight to say what it would do, and to do nothing.
func DryRun(csv []byte, opts Options) Order {
	return Order{csv: bytes.Clone(csv), opts: opts}
}

// Apply orders Pluralsight to take the licences back. It needs an approval of these very bytes.
func Apply(csv []byte, opts Options, approval Approval) (Order, error) {
	o := Order{csv: bytes.Clone(csv), opts: opts}
	switch {
	case approval.SHA256 == "" || approval.By == "":
		return Order{}, fault.New(fault.Permanent, "not-approved", "nobody approved this file")
	case !strings.EqualFold(approval.SHA256, o.SHA256()):
		return Order{}, fault.New(fault.Permanent, "not-approved", "the approval is for another file")
	}
	if _, err := ReadCSV(o.csv); err != nil {
		return Order{}, err
	}
	o.armed = true
	return o, nil
}

// SHA256 is the file's hash, in lower-case hexadecimal.
func (o Order) SHA256() string {
	sum := sha256.Sum256(o.csv)
	return hex.EncodeToString(sum[:])
}

// CSV is a copy of the file.
func (o Order) CSV() []byte { return bytes.Clone(o.csv) }

// Armed reports whether the order changes anything.
func (o Order) Armed() bool { return o.armed }
