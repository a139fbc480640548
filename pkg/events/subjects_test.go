package events

import (
	"slices"
	"strings"
	"testing"
)

func TestLegalName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"a": true, "acme": true, "0": true, "a-b-": true, strings.Repeat("a", 32): true,
		"": false, "-a": false, "A": false, "a.b": false, "a b": false, "a*": false, ">": false, "ä": false, "a\n": false,
		strings.Repeat("a", 33): false,
	} {
		if LegalName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestConnectionOf(t *testing.T) {
	t.Parallel()
	for subject, want := range map[string]string{
		Subject(SyncRequestedSubject, "acme"):                  "acme",
		Subject(DeprovisionRequestedSubject, "acme", "hr"):     "acme",
		Subject(DeadLetterSubject, "fetcher", "acme"):          "acme",
		Subject(SyncRequestedSubject, "ACME"):                  "unknown",
		Subject(SyncRequestedSubject, strings.Repeat("a", 33)): "unknown",
		SyncRequestedSubject:                                   "unknown",
		"":                                                     "unknown",
		"a.b.c":                                                "unknown",
	} {
		if got := ConnectionOf(subject); got != want {
			t.Errorf("%q: %q, want %q", subject, got, want)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	if got := Tokens(DeprovisionRequestedSubject, Subject(DeprovisionRequestedSubject, "acme", "hr")); !slices.Equal(got, []string{"acme", "hr"}) {
		t.Errorf("%q", got)
	}
	for _, other := range []string{DeprovisionRequestedSubject, DeprovisionRequestedSubject + ".", DeprovisionRequestedSubject + "x.acme", SyncRequestedSubject + ".acme"} {
		if got := Tokens(DeprovisionRequestedSubject, other); got != nil {
			t.Errorf("%q: %q", other, got)
		}
	}
}
