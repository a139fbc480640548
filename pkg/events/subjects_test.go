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

// Whatever a subject's tokens are, what is taken for a name is one, and a subject made of names gives them back.
func FuzzSubject(f *testing.F) {
	f.Add("acme", "hr")
	f.Add("a.b", "*")
	f.Add("", ">")
	f.Add("A\n", strings.Repeat("a", 33))
	f.Fuzz(func(t *testing.T, connection, source string) {
		subject := Subject(DeprovisionRequestedSubject, connection, source)
		name := ConnectionOf(subject)
		if !LegalName(name) || strings.ContainsAny(name, ".*> \t\r\n") {
			t.Fatalf("%q is of connection %q", subject, name)
		}
		if !LegalName(connection) || !LegalName(source) {
			return
		}
		if got := Tokens(DeprovisionRequestedSubject, subject); name != connection || !slices.Equal(got, []string{connection, source}) {
			t.Fatalf("%q has tokens %q and is of %q", subject, got, name)
		}
	})
}
