package roster

import (
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestCanonicalEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", maxEmail-len("@example.com")) + "@example.com"
	tests := map[string]struct {
		raw, want string
		ok        bool
	}{
		"as it is":                    {"ada@example.com", "ada@example.com", true},
		"capitals":                    {"Ada.Lovelace@Example.COM", "ada.lovelace@example.com", true},
		"capitals beyond ASCII":       {"ÄRZTE@Example.com", "ärzte@example.com", true},
		"space around":                {" \t ada@example.com\r\n", "ada@example.com", true},
		"no-break space around":       {"\u00a0ada@example.com\u3000", "ada@example.com", true},
		"plus tags stay":              {"ada+tag@example.com", "ada+tag@example.com", true},
		"dots stay":                   {"a.d.a@gmail.com", "a.d.a@gmail.com", true},
		"decomposed stays decomposed": {"jose\u0301@example.com", "jose\u0301@example.com", true},
		"domain in its own script":    {"ada@bücher.example", "ada@bücher.example", true},
		"domain in punycode":          {"ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example", true},
		"one label":                   {"ada@localhost", "ada@localhost", true},
		"apostrophe":                  {"o'hara@example.com", "o'hara@example.com", true},
		"the longest":                 {long, long, true},
		"one longer":                  {"a" + long, "a" + long, false},
		"empty":                       {"", "", false},
		"white space only":            {" \n", "", false},
		"no at":                       {"ada.example.com", "ada.example.com", false},
		"no local part":               {"@example.com", "@example.com", false},
		"no domain":                   {"ada@", "ada@", false},
		"two ats":                     {"ada@b@example.com", "ada@b@example.com", false},
		"space inside":                {"ada love@example.com", "ada love@example.com", false},
		"line break inside":           {"ada@example.com\nbob@example.com", "ada@example.com\nbob@example.com", false},
		"control character":           {"a\x00da@example.com", "a\x00da@example.com", false},
		"delete character":            {"a\x7fda@example.com", "a\x7fda@example.com", false},
		"C1 control":                  {"a\u009bda@example.com", "a\u009bda@example.com", false},
		"right-to-left override":      {"a\u202eda@example.com", "a\u202eda@example.com", false},
		"bidi isolate":                {"a\u2066da@example.com", "a\u2066da@example.com", false},
		"zero-width space":            {"a\u200bda@example.com", "a\u200bda@example.com", false},
		"zero-width joiner":           {"a\u200dda@example.com", "a\u200dda@example.com", false},
		"byte order mark in front":    {"\ufeffada@example.com", "\ufeffada@example.com", false},
		"soft hyphen":                 {"a\u00adda@example.com", "a\u00adda@example.com", false},
		"replacement character":       {"a\ufffdda@example.com", "a\ufffdda@example.com", false},
		"line separator":              {"a\u2028da@example.com", "a\u2028da@example.com", false},
		"display name":                {"Ada <ada@example.com>", "ada <ada@example.com>", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := CanonicalEmail(tt.raw)
			if got != tt.want || ok != tt.ok {
				t.Errorf("%q: %q, %v; want %q, %v", tt.raw, got, ok, tt.want, tt.ok)
			}
		})
	}
	if _, ok := CanonicalEmail("a\xff@example.com"); ok {
		t.Error("invalid UTF-8 is usable")
	}
}

func TestFoldEmail(t *testing.T) {
	t.Parallel()
	for name, same := range map[string][]string{
		"case":              {"ada@example.com", "ADA@Example.Com", " ada@example.com "},
		"normal forms":      {"jos\u00e9@example.com", "jose\u0301@example.com", "JOSE\u0301@EXAMPLE.com"},
		"spellings of IDNs": {"ada@bücher.example", "ada@xn--bcher-kva.example", "ada@BÜCHER.example", "ada@bu\u0308cher.example"},
		"IDN full stops":    {"ada@bücher.example", "ada@bücher。example"},
	} {
		for _, other := range same[1:] {
			if FoldEmail(same[0]) != FoldEmail(other) {
				t.Errorf("%s: %q and %q are two", name, same[0], other)
			}
		}
	}
	for name, two := range map[string][2]string{
		"plus tags":                 {"ada+a@example.com", "ada@example.com"},
		"dots":                      {"a.da@example.com", "ada@example.com"},
		"domains":                   {"ada@example.com", "ada@example.org"},
		"punycode is no local part": {"xn--bcher-kva@example.com", "bücher@example.com"},
		"compatibility forms":       {"ﬁn@example.com", "fin@example.com"},
		"full width local part":     {"ａda@example.com", "ada@example.com"},
		"sharp s":                   {"stra\u00dfe@example.com", "strasse@example.com"},
		"sharp s in the domain":     {"ada@stra\u00dfe.example", "ada@strasse.example"},
		"dotless i":                 {"\u0131lker@example.com", "ilker@example.com"},
		"look-alikes":               {"\u0430da@example.com", "ada@example.com"},
	} {
		if FoldEmail(two[0]) == FoldEmail(two[1]) {
			t.Errorf("%s: %q and %q are one", name, two[0], two[1])
		}
	}
}

// emails draws addresses near each other: the interesting ones are almost the same.
var emails = rapid.Custom(func(t *rapid.T) string {
	local := rapid.StringOfN(rapid.SampledFrom([]rune("aAbzZ.+-'ßéeE\u0301\u0130\u0131\u212aKkäÄσςΣ")), 1, 5, -1).Draw(t, "local")
	domain := rapid.SampledFrom([]string{
		"example.com", "EXAMPLE.com", "bücher.example", "bu\u0308cher.example", "xn--bcher-kva.example", "a.b", "-.-", "xn--0", "straße.de",
	}).Draw(t, "domain")
	return local + "@" + domain
})

func TestCanonicalEmail_isIdempotent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		checkCanonical(t, rapid.OneOf(emails, rapid.String()).Draw(t, "raw"))
	})
}

func checkCanonical(t rapid.TB, raw string) {
	t.Helper()
	once, ok := CanonicalEmail(raw)
	twice, again := CanonicalEmail(once)
	if once != twice || ok != again {
		t.Fatalf("%q, %v, then %q, %v", once, ok, twice, again)
	}
	if ok && !utf8.ValidString(once) {
		t.Fatalf("%q is not UTF-8", once)
	}
	if fold := FoldEmail(raw); fold != FoldEmail(once) || fold != FoldEmail(fold) {
		t.Fatalf("%q folds to %q and %q", raw, fold, FoldEmail(fold))
	}
}

// Two people have two canonical local parts; the fold may only join spellings of one, which is what NFC says.
func TestFoldEmail_neverMergesTwoLocalParts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := emails.Draw(t, "a"), emails.Draw(t, "b")
		localA, localB := localPart(a), localPart(b)
		if FoldEmail(a) == FoldEmail(b) && norm.NFC.String(localA) != norm.NFC.String(localB) {
			t.Fatalf("%q and %q are one", a, b)
		}
		if localA == localB && strings.EqualFold(a, b) && FoldEmail(a) != FoldEmail(b) {
			t.Fatalf("%q and %q are two", a, b)
		}
	})
}

// FuzzEmail says the same of any two texts.
func FuzzEmail(f *testing.F) {
	for _, pair := range [][2]string{
		{"ada@example.com", "ADA+x@example.com"}, {"jos\u00e9@example.com", "jose\u0301@example.com"}, {"ada@bücher.example", "ada@xn--bcher-kva.example"},
		{"\u0130lker@example.com", "ilker@example.com"}, {"a\u0345\u0301@b", "a\xff@b"}, {"\u212a@b", "k@b"}, {"a@b", "a@b。c"}, {" a@b@c ", "a@\u00ad"},
	} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, raw := range []string{a, b} {
			checkCanonical(t, raw)
		}
		_, okA := CanonicalEmail(a)
		_, okB := CanonicalEmail(b)
		if okA && okB && FoldEmail(a) == FoldEmail(b) && norm.NFC.String(localPart(a)) != norm.NFC.String(localPart(b)) {
			t.Fatalf("%q and %q are one", a, b)
		}
	})
}

func localPart(raw string) string {
	email, _ := CanonicalEmail(raw)
	local, _, _ := strings.Cut(email, "@")
	return local
}
