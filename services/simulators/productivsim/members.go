package productivsim

import (
	"errors"
	"fmt"
)

// The members of a request's body by their depth in braces and brackets. encoding/json alone would accept
// "ProvisionedUsers" and a repeated member, and a client that relied on it would fail on the day it meets the vendor.
var (
	bodyMembers = []string{"provisionedUsers"}
	userMembers = []string{"appUserId", "email", "username", "license"}
)

// checkMembers walks valid JSON and refuses member names that are not documented, spelt otherwise, or repeated within one user.
// Names with escapes count as spelt otherwise.
func checkMembers(body []byte) error {
	var depth int
	var seen [4]uint // by depth: 1 is the body, 3 a user
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '{', '[':
			if depth++; depth >= len(seen) {
				return errors.New("body is nested too deep")
			}
			seen[depth] = 0
		case '}', ']':
			depth--
		case '"':
			end := stringEnd(body, i)
			if isName(body, end) {
				bit, err := memberBit(string(body[i+1:end]), depth)
				if err != nil {
					return err
				}
				if seen[depth]&bit != 0 {
					return errors.New("a member is repeated")
				}
				seen[depth] |= bit
			}
			i = end
		}
	}
	return nil
}

// stringEnd returns the index of the closing quote of the string that opens at start.
func stringEnd(body []byte, start int) int {
	for i := start + 1; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(body) - 1
}

// isName reports whether the string that closes at end is a member's name: a colon follows.
func isName(body []byte, end int) bool {
	for _, b := range body[end+1:] {
		if b != ' ' && b != '\t' && b != '\n' && b != '\r' {
			return b == ':'
		}
	}
	return false
}

func memberBit(name string, depth int) (uint, error) {
	allowed := userMembers
	if depth == 1 {
		allowed = bodyMembers
	}
	for i, known := range allowed {
		if name == known {
			return 1 << i, nil
		}
	}
	return 0, fmt.Errorf("unknown member %q", firstBytes(name, 40))
}
