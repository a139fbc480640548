package roster

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"strings"
)

// Index is a page's people in short: what is needed to count, compare and find them, 33 bytes each. It stands first in
// a page, so that whoever only compares never decodes a person.
type Index []byte

// Entry is one person of an index.
type Entry struct {
	Key Key
	// Content is a hash of everything that Productiv is told besides the id.
	Content uint64
	// Email is the hash of the folded address, 0 when there is none.
	Email uint64
	Is    Code
}

const entrySize = 16 + 8 + 8 + 1

// Key stands for a psUserId: 16 bytes instead of a string.
type Key [16]byte

// KeyOf returns the key of an id.
func KeyOf(id string) Key {
	sum := sha256.Sum256([]byte(id))
	return Key(sum[:16])
}

// Part says which of parts equal ranges the key falls into.
func (k Key) Part(parts int) int { return PartOf(binary.BigEndian.Uint32(k[:4]), parts) }

// PartOf says which of parts equal ranges the hash falls into.
func PartOf(hash uint32, parts int) int { return int(uint64(hash) * uint64(parts) >> 32) }

// Code is a disposition in one byte. What this version does not know is rejected.
type Code uint8

// Dispositions as codes.
const (
	IsRejected Code = iota
	IsActive
	IsRemoved
	IsExcluded
)

func codeOf(disposition string) Code {
	switch disposition {
	case Active:
		return IsActive
	case Removed:
		return IsRemoved
	case Excluded:
		return IsExcluded
	default:
		return IsRejected
	}
}

// EntryOf returns a person's entry.
func EntryOf(p Person) Entry {
	e := Entry{Key: KeyOf(p.PsUserID), Content: ContentHash(p.Email, p.Username, p.License), Is: codeOf(p.Disposition)}
	if p.Email != "" {
		e.Email = AddressHash(p.Email)
	}
	return e
}

// ContentHash is a hash of what Productiv is told of a person besides the id.
func ContentHash(email, username, license string) uint64 { return hash64(email, username, license) }

// AddressHash is a hash of an address under the folding rule.
func AddressHash(email string) uint64 { return hash64(FoldEmail(email)) }

func hash64(parts ...string) uint64 {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:8])
}

func indexOf(people []Person) Index {
	x := make(Index, 0, len(people)*entrySize)
	for _, p := range people {
		e := EntryOf(p)
		x = append(x, e.Key[:]...)
		x = binary.BigEndian.AppendUint64(x, e.Content)
		x = binary.BigEndian.AppendUint64(x, e.Email)
		x = append(x, byte(e.Is))
	}
	return x
}

// Len is how many people the index has.
func (x Index) Len() int { return len(x) / entrySize }

// At returns entry i.
func (x Index) At(i int) Entry {
	b := x[i*entrySize:]
	return Entry{
		Key: Key(b[:16]), Content: binary.BigEndian.Uint64(b[16:]), Email: binary.BigEndian.Uint64(b[24:]), Is: Code(b[32]),
	}
}

// MarshalJSON writes the page with the index of its people.
func (p Page) MarshalJSON() ([]byte, error) {
	type wire Page
	p.Index = indexOf(p.People)
	return json.Marshal(wire(p))
}

// pageHead is a page without its people.
type pageHead struct {
	Kind   string `json:"kind"`
	Source string `json:"source"`
	Index  Index  `json:"index"`
}

// headOf decodes what stands before the people.
func headOf(page []byte) (h pageHead, err error) {
	if end := bytes.Index(page, []byte(`,"people":`)); end >= 0 {
		page = append(page[:end:end], '}')
	}
	return h, json.Unmarshal(page, &h)
}
