// Package mutants tests the tests: it plants one bug at a time and expects a named test to fail.
//
//	table_test.go    the bugs: where, what stands there, what takes its place, which invariant it breaks, who must notice
//	mutants_test.go  plants each by `go test -overlay`, so that production code holds no trace of them
//
// In go test it only proves that every bug can still be planted: its old text stands exactly once, and what takes its
// place is Go. With -mutants it runs them all and prints the table (make mutants). A bug that nobody notices is a
// failure, and so is one that the compiler notices, or another test than the one named, or a named test that fails
// without the bug. See deploy/decisions/0009-mutants-by-overlay.md for why this is no set of build tags.
//
// The invariants are those of shared/research/reliability.md, section 3.1.
package mutants
