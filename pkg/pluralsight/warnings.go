package pluralsight

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
)

// maxWarning is how many runes of a vendor's warning are kept.
const maxWarning = 200

var (
	addressText = regexp.MustCompile(`[^\s"'<>(),;:]+@[^\s"'<>(),;:]+`)
	// secretText is anything as long as a key or an id of a person.
	secretText = regexp.MustCompile(`[A-Za-z0-9_\-+/=.]{24,}`)

	expiredText    = regexp.MustCompile(`(?i)expir`)
	deprecatedText = regexp.MustCompile(`(?i)deprecat|will be removed|no longer supported`)
	reducedText    = regexp.MustCompile(`(?i)page[ _-]?size|reduc|\bfirst\b|(record|result|row|item)s? per|too many (records|results)|maximum`)
)

// parseWarnings finds the warnings in an answer's extensions. The shape of one is not documented, so both the list
// and the single value are taken, of texts or of objects.
func parseWarnings(extensions json.RawMessage) []json.RawMessage {
	var out []json.RawMessage
	for _, item := range list(extensions) {
		var ext struct{ Warnings json.RawMessage }
		if json.Unmarshal(item, &ext) == nil {
			out = append(out, list(ext.Warnings)...)
		}
	}
	return out
}

// warning turns a vendor's warning into ours: a token that programs compare, and the text that people read, without
// anybody's address in it.
func warning(raw json.RawMessage) string {
	text := redact(warningText(raw))
	switch {
	case expiredText.MatchString(text):
		return WarnKeyExpired + ": " + text
	case deprecatedText.MatchString(text):
		return WarnDeprecated + ": " + text
	case reducedText.MatchString(text):
		return WarnPageReduced + ": " + text
	default:
		return WarnVendor + ": " + text
	}
}

// warningText is the text itself, the message of an object that has one, or else the whole JSON.
func warningText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct{ Message, Code string }
	if json.Unmarshal(raw, &object) == nil && object.Message != "" {
		return strings.TrimSpace(object.Code + " " + object.Message)
	}
	var compact bytes.Buffer
	if json.Compact(&compact, raw) != nil {
		return ""
	}
	return compact.String()
}

func redact(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = addressText.ReplaceAllString(s, "[address]")
	s = secretText.ReplaceAllString(s, "[redacted]")
	if runes := []rune(s); len(runes) > maxWarning {
		s = string(runes[:maxWarning]) + "…"
	}
	return s
}
