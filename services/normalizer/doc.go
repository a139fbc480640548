// Package normalizer turns pages as Pluralsight gave them into pages that the rest of Seatwire acts on.
//
//	users.fetched.<connection>.<sweep>.<page>  →  normalize.go  →  users.normalized.<connection>.<sweep>.<page>
//
// It has no state: any number of replicas share one durable, and a page is the same whoever normalises it. The
// subject of the output is its key, so a page that is normalised twice is stored once. A bad record never stops its
// page: it is marked rejected, with the reason, and counted.
package normalizer
