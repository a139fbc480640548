package roster

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// EmailRule is the version of the rule below. It travels with every page: a change of the rule must show as such,
// not as everybody leaving and joining.
const EmailRule = 1

// maxEmail is RFC 5321's longest path without its brackets, in bytes.
const maxEmail = 254

// CanonicalEmail is the form that is published: trimmed and lower-cased, nothing else. ok is false for what is no
// usable address. Plus tags and dots stay: folding them would merge people.
func CanonicalEmail(raw string) (email string, ok bool) {
	email = strings.ToLower(strings.TrimSpace(raw))
	local, domain, found := strings.Cut(email, "@")
	usable := found && local != "" && domain != "" && len(email) <= maxEmail && utf8.ValidString(email) &&
		!strings.Contains(domain, "@") && !strings.ContainsFunc(email, unprintable)
	return email, usable
}

func unprintable(r rune) bool {
	if r < utf8.RuneSelf {
		return r <= ' ' || r == 0x7f
	}
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError
}

// FoldEmail is the form under which addresses are compared, never sent: canonical, NFC, and the domain in its ASCII
// form, so that "ä.example" in either spelling is one domain.
func FoldEmail(raw string) string {
	email, _ := CanonicalEmail(raw)
	if isASCII(email) {
		return email // both forms are the same, as they are for nearly everybody
	}
	email = norm.NFC.String(email)
	local, domain, found := strings.Cut(email, "@")
	if !found {
		return email
	}
	if ascii, err := idna.Lookup.ToASCII(domain); err == nil {
		domain = ascii
	}
	return local + "@" + domain
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
