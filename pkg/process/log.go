package process

import (
	"io"
	"log/slog"
	"regexp"
)

// NewLogger returns a logger that writes JSON lines to w, scrubbed.
//
// Nothing of ours logs an address or a credential. The scrubbing is the net below that: a foreign error's text, a
// library's or the broker's, may quote what it was given.
func NewLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(scrubber{w}, nil))
}

var (
	// userInfo is the user:password part of a URL.
	userInfo = regexp.MustCompile(`://[^/?#@\s"]+@`)
	// address is an e-mail address, in JSON's escaping too.
	address = regexp.MustCompile(`[^\s"<>()\[\]{},;:=\\/@]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*`)
	// bearer is a token as it stands in a header.
	bearer = regexp.MustCompile(`(?i)\b(bearer|basic) [A-Za-z0-9._~+/=-]{16,}`)
)

// scrubber replaces what must not be in a log. slog writes each record with one call, so nothing is split.
type scrubber struct{ w io.Writer }

func (s scrubber) Write(line []byte) (int, error) {
	clean := userInfo.ReplaceAll(line, []byte("://[redacted]@"))
	clean = address.ReplaceAll(clean, []byte("[address]"))
	clean = bearer.ReplaceAll(clean, []byte("$1 [redacted]"))
	if _, err := s.w.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}
