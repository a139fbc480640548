package publisher

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"strings"

	"github.com/seatwire/seatwire/pkg/roster"
)

// entry is what the publisher needs of a person on a page.
type entry struct {
	PsUserID    string `json:"id"`
	Email       string `json:"email"`
	Disposition string `json:"disp"`
	Username    string `json:"username"`
	License     string `json:"license"`
}

// personKey stands for an id: 16 bytes instead of a string, which is what lets a million people fit.
type personKey [16]byte

func keyOf(id string) personKey {
	sum := sha256.Sum256([]byte(id))
	return personKey(sum[:16])
}

// part says which of parts equal ranges the key falls into.
func (k personKey) part(parts int) int { return partOf(binary.BigEndian.Uint32(k[:4]), parts) }

func partOf(hash uint32, parts int) int { return int(uint64(hash) * uint64(parts) >> 32) }

// hash64 stands for strings that are only compared for equality.
func hash64(parts ...string) uint64 {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return binary.BigEndian.Uint64(sum[:8])
}

// content is everything about a person that Productiv is told besides the id.
func content(email, username, license string) uint64 { return hash64(email, username, license) }

// Dispositions in one byte.
const (
	rowActive = iota
	rowRemoved
	rowExcluded
	rowRejected
)

var dispositions = map[string]uint8{
	roster.Active: rowActive, roster.Removed: rowRemoved, roster.Excluded: rowExcluded, roster.Rejected: rowRejected,
}

// row is one person of the roster, without any string, so that the garbage collector has nothing to follow.
type row struct {
	id      personKey
	content uint64
	// email is the hash of the folded address.
	email uint64
	disp  uint8
	// exact: Productiv holds this person just so. differs: it holds the id with other content. sent: in a chunk
	// of this publication. refused: Productiv does not take this person. before: was exact at the first comparison.
	exact, differs, sent, refused, before bool
}

func rowOf(e entry) row {
	r := row{id: keyOf(e.PsUserID), content: content(e.Email, e.Username, e.License), disp: rowRejected}
	if disp, known := dispositions[e.Disposition]; known {
		r.disp = disp
	}
	if e.Email != "" {
		r.email = hash64(roster.FoldEmail(e.Email))
	}
	return r
}

// index holds the people of a roster, or of one part of it, sorted by key.
type index struct {
	rows []row
	// conflict is set when one id stands for two different people.
	conflict bool
}

// newIndex makes room for one of parts of a roster of n people.
func newIndex(n, parts int) *index {
	return &index{rows: make([]row, 0, n/parts+n/parts/8+16)}
}

// fingerprint mixes the id and the content of a row.
func (r *row) fingerprint() [16]byte {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(slices.Clone(r.id[:]), r.content))
	return [16]byte(sum[:16])
}

// seal sorts the rows, merges identical repeats and notices conflicting ones.
func (ix *index) seal() {
	slices.SortFunc(ix.rows, func(a, b row) int { return bytes.Compare(a.id[:], b.id[:]) })
	ix.rows = slices.CompactFunc(ix.rows, func(a, b row) bool {
		if a.id != b.id {
			return false
		}
		ix.conflict = ix.conflict || a != b
		return true
	})
}

// find returns the row of a key, nil when the roster has none.
func (ix *index) find(k personKey) *row {
	i := sort.Search(len(ix.rows), func(i int) bool { return bytes.Compare(ix.rows[i].id[:], k[:]) >= 0 })
	if i < len(ix.rows) && ix.rows[i].id == k {
		return &ix.rows[i]
	}
	return nil
}

// addressed pairs an active person with the address, to find addresses that two people share.
type addressed struct {
	email uint64
	id    personKey
}

// shared returns the addresses that more than one of the people has, each with how many have it.
func shared(people []addressed) map[uint64]int {
	slices.SortFunc(people, func(a, b addressed) int {
		return cmp.Or(cmp.Compare(a.email, b.email), bytes.Compare(a.id[:], b.id[:]))
	})
	people = slices.Compact(people)
	found := map[uint64]int{}
	for start, i := 0, 1; i <= len(people); i++ {
		if i == len(people) || people[i].email != people[start].email {
			if i-start > 1 {
				found[people[start].email] = i - start
			}
			start = i
		}
	}
	return found
}
