package streams

import (
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/events"
)

// Streams of the way back: from another system's event to the proof that a licence is free.
const (
	// Deprovision holds what other systems said: deprovision.requested and .cancelled.<connection>.<source>.
	Deprovision = "SEATWIRE_DEPROVISION"
	// Ledger holds what became of it: one document per request, cancel, batch and decision, the newest one each.
	// It is written under expectations only, and nothing in it is ever deleted or aged out: a request that is
	// forgotten could be obeyed twice.
	Ledger = "SEATWIRE_LEDGER"
)

// Subjects of the ledger. Their tokens are listed behind the names.
const (
	LedgerSubject         = events.Prefix + "ledger"
	LedgerRequestSubject  = LedgerSubject + ".request"  // connection, request key
	LedgerCancelSubject   = LedgerSubject + ".cancel"   // connection, cancel key
	LedgerBatchSubject    = LedgerSubject + ".batch"    // connection, batch
	LedgerDecisionSubject = LedgerSubject + ".decision" // connection, batch, hold
	LedgerSpentSubject    = LedgerSubject + ".spent"    // connection
	LedgerToldSubject     = LedgerSubject + ".told"     // connection
	LedgerLaneSubject     = LedgerSubject + ".lane"     // connection; and "mark" for the mark of who has the lane
)

// BeatSubject is where the deprovisioner's replicas say that they are alive. No stream holds it: a beat is only worth
// something at the moment it is heard.
const BeatSubject = events.Prefix + "beat.deprovisioner" // replica

// DeprovisionerIntake is the durable through which any number of replicas accept requests and cancels.
const DeprovisionerIntake = "deprovisioner-intake"

// intakePending bounds what all replicas together hold unacknowledged: four groups of 256.
const intakePending = 1024

// addDeprovision declares what takes licences back.
func (t *Topology) addDeprovision(*config.Config) {
	intake := []string{events.DeprovisionRequestedSubject + ".*.*", events.DeprovisionCancelledSubject + ".*.*"}
	t.Streams = append(t.Streams,
		jetstream.StreamConfig{
			Name: Deprovision, Subjects: intake,
			MaxBytes: 512 * mib, MaxAge: 30 * day, MaxMsgSize: maxMessage, Duplicates: intakeDuplicates,
		},
		// One message per subject, the newest: a key-value store whose writes may be one atomic batch and may
		// expect another subject's sequence, which is how a lane keeps out who lost it.
		jetstream.StreamConfig{
			Name: Ledger, Subjects: []string{LedgerSubject + ".>"},
			MaxMsgsPerSubject: 1, MaxBytes: 2 * gib, MaxMsgSize: maxMessage,
			Duplicates: intakeDuplicates, AllowAtomicPublish: true,
		},
	)
	t.Consumers = append(t.Consumers, filtered(durable(Deprovisioner, Deprovision, DeprovisionerIntake, "", intakePending), intake...))
}
