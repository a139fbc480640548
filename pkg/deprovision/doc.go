// Package deprovision is the ledger of taking licences back: its documents, how to read them, and how a person
// decides about a batch.
//
// The deprovisioner is the only one that writes requests, cancels and batches; see its package. Everybody else, the
// command line above all, reads them here and writes one thing only: a Decision. A decision is a document of its own,
// created once for each hold of a batch, so that deciding twice is refused by the broker and not by a convention.
//
// The ledger never forgets: ends are values. E-mail addresses are in the documents and never in a subject.
package deprovision
