// Package bus carries messages between programs: watermill's router and wire format over JetStream pull consumers.
//
// In: durables that package streams declared beforehand; nothing here creates or deletes one. Out: publishes with an
// id that follows from their content, alone or as one atomic batch, and dead letters.
//
//	Conn        two connections, one to publish and one to consume, and their health
//	Subscriber  watermill's message.Subscriber over a durable; a subscription holds its messages until settled
//	Delivery    where a message came from, and whether it is still ours
//	Publisher   watermill's message.Publisher, and the same with a context for services
//	Group       the same for many callers at once, who share one atomic batch
//	DeadLetters where a message goes that a stage gave up on
//	Router      handlers with their middleware, in one visible order
//	isolation   a process of its own for a message that may kill one; see crashsuspect.go
//	watched     durables whose messages the broker may give up on; see exhausted.go
//
// What a caller may rely on. A message is acknowledged after its handler returned nil, or after its dead letter is
// stored, and never otherwise: whatever happens in between, it comes back. While it is held nobody else gets it,
// however long the handler takes, up to MaxHold. A clean stop gives back at once what was not begun and lets finish
// what was.
//
// What a caller must do. Handlers are idempotent: after a crash of the process, the network or the broker a message
// comes again although it was handled. A handler that has written something outside calls Delivery.Renew before it
// writes the next thing, because a frozen process may have lost its message without knowing.
package bus
