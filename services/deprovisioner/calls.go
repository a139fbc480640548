package deprovisioner

import (
	"time"

	"github.com/seatwire/seatwire/pkg/deprovision"
	"github.com/seatwire/seatwire/pkg/pluralsight"
)

// call is something to ask of Pluralsight. vendor.go makes it; its answer comes back as an input.
type call interface{ isCall() }

type (
	// callResolve looks up whom these requests mean, and the admins, right before sealing.
	callResolve struct {
		requests []deprovision.Request
		retain   bool
	}
	// callDryRun sends the sealed bytes with dryRun=true, and bisects them when they are refused.
	callDryRun struct{ batch deprovision.Batch }
	// callRecheck looks the people of an approved batch up again, right before sending.
	callRecheck struct {
		batch    deprovision.Batch
		requests []deprovision.Request
	}
	// callApply sends the sealed bytes with dryRun=false. It is the only call that removes anything.
	callApply struct {
		batch    deprovision.Batch
		approval deprovision.Approval
	}
	// callRead reads back the people whose rows are not over.
	callRead struct {
		batch deprovision.Batch
		rows  []deprovision.Row
	}
)

func (callResolve) isCall() {}
func (callDryRun) isCall()  {}
func (callRecheck) isCall() {}
func (callApply) isCall()   {}
func (callRead) isCall()    {}

// trouble is a call that brought no answer and may be made again.
type trouble struct {
	// reason is the fault's token; empty when there was no trouble.
	reason string
	// after is the wait that Pluralsight asked for.
	after time.Duration
}

type (
	// resolved answers callResolve.
	resolved struct {
		requests []deprovision.Request
		retain   bool
		people   *people
		trouble  trouble
	}
	// dryRan answers callDryRun. refused are the psUserIds of the rows at fault, when the file was refused.
	dryRan struct {
		batchID string
		answer  deprovision.Answer
		refused []string
		trouble trouble
	}
	// rechecked answers callRecheck. paused is true, too, when the switch could not be read.
	rechecked struct {
		batchID string
		people  *people
		paused  bool
		trouble trouble
	}
	// sent answers callApply. unsent means that surely nothing was processed; then trouble says why.
	sent struct {
		batchID string
		unsent  bool
		answer  deprovision.Answer
		trouble trouble
	}
	// readBack answers callRead. users are by psUserId.
	readBack struct {
		batchID string
		users   map[string]pluralsight.User
		readAt  time.Time
		trouble trouble
	}
)

func (in resolved) apply(b *book, now time.Time)  { b.calling = false; b.resolve(in, now) }
func (in dryRan) apply(b *book, now time.Time)    { b.calling = false; b.dryRan(in, now) }
func (in rechecked) apply(b *book, now time.Time) { b.calling = false; b.recheck(in, now) }
func (in sent) apply(b *book, now time.Time)      { b.calling = false; b.sent(in, now) }
func (in readBack) apply(b *book, now time.Time)  { b.calling = false; b.readBack(in, now) }
