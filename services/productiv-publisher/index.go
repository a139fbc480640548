package publisher

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"

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

// personKey stands for an id.
type personKey = roster.Key

func keyOf(id string) personKey { return roster.KeyOf(id) }

// row is one person of the roster, without any string, so that the garbage collector has nothing to follow.
type row struct {
	id      personKey
	content uint64
	// email is the hash of the folded address.
	email uint64
	disp  roster.Code
	// exact: Productiv holds this person just so. differs: it holds the id with other content. sent: in a chunk
	// of this publication. refused: Productiv does not take this person. before: was exact at the first comparison.
	exact, differs, sent, refused, before bool
}

func rowOf(e roster.Entry) row {
	return row{id: e.Key, content: e.Content, email: e.Email, disp: e.Is}
}

// entry is e in short, as the normalizer writes it.
func (e entry) entry() roster.Entry {
	return roster.EntryOf(roster.Person{
		PsUserID: e.PsUserID, Email: e.Email, Disposition: e.Disposition, Username: e.Username, License: e.License,
	})
}

// index holds the people of a roster, or of one part of it, sorted by key.
type index struct {
	rows []row
	// conflict is set when one id stands for two different people; repeats are ids that were read more than once.
	conflict bool
	repeats  []personKey
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
		ix.repeats = append(ix.repeats, a.id)
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
