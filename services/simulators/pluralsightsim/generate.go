package pluralsightsim

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// generator invents people on demand: person i of a seed is always the same, and costs nothing until somebody looks.
// E-mail addresses, SSO ids and psUserIds carry i, so that a lookup needs no index: a million people are a few numbers.
type generator struct {
	n      int
	seed   uint64
	domain string
	planID string
	sso    string
	teams  []string // ids
	bundle [][]string
}

// Of every 16 generated people the last is removed; of every 8 the first holds two products and of every 32 one holds none.
const (
	removedEvery   = 16
	twoProducts    = 8
	noProductEvery = 32
	adminCount     = 3 // the first generated people are plan admins with a licence
)

var (
	firstNames = strings.Fields("Ada Grace Alan Barbara Edsger Frances Donald Radia Ken Margaret Dennis Katherine Linus " +
		"Sophie Niklaus Annie Tony Karen Leslie Hedy Claude Mary Rob Jean Bjarne Adele John Shafi Guido Lynn Kurt Evelyn")
	lastNames = strings.Fields("Lovelace Hopper Turing Liskov Dijkstra Allen Knuth Perlman Thompson Hamilton Ritchie Johnson " +
		"Torvalds Wilson Wirth Easley Hoare Jones Lamport Lamarr Shannon Jackson Pike Bartik Stroustrup Goldberg McCarthy " +
		"Goldwasser Rossum Conway Godel Boyd")
	epoch = time.Date(2022, 1, 3, 8, 0, 0, 0, time.UTC)
)

func newGenerator(name, planID string, n int, seed uint64) *generator {
	return &generator{n: n, seed: seed, domain: name + ".example.com", planID: planID, sso: name + "-sso-"}
}

// mix is splitmix64: a cheap permutation whose output looks random for consecutive inputs.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// uuid puts i into the last four bytes, hidden by the seed; the rest is noise that a forged id will not match.
func (g *generator) uuid(i int, salt uint64) string {
	h := mix(mix(g.seed+salt) ^ uint64(i))
	var raw [16]byte
	for k := range 8 {
		raw[k] = byte(h >> (8 * k))
	}
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = 0x80 | byte(h>>17)&0x3f
	raw[9], raw[10], raw[11] = byte(h>>25), byte(h>>33), byte(h>>41)
	masked := uint32(i) ^ uint32(mix(g.seed))
	raw[12], raw[13], raw[14], raw[15] = byte(masked>>24), byte(masked>>16), byte(masked>>8), byte(masked)
	var out [36]byte
	hex.Encode(out[0:8], raw[0:4])
	hex.Encode(out[9:13], raw[4:6])
	hex.Encode(out[14:18], raw[6:8])
	hex.Encode(out[19:23], raw[8:10])
	hex.Encode(out[24:36], raw[10:16])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return string(out[:])
}

const (
	saltUser   = 1
	saltMember = 2
)

// person fills into with person i. Lists are shared with every other generated person: callers clone before keeping them.
func (g *generator) person(i int, into *Person) {
	h := mix(g.seed ^ uint64(i)*0x9e3779b97f4a7c15)
	first, last := firstNames[h%32], lastNames[h>>8%32]
	started := epoch.Add(time.Duration(h>>16%1_200) * 24 * time.Hour).Add(time.Duration(h>>32%36_000_000) * time.Millisecond)
	*into = Person{
		PsUserID: g.uuid(i, saltUser), PlanUserID: g.uuid(i, saltMember), LegacyID: "u" + strconv.Itoa(i),
		Email: g.email(i, first, last), FirstName: first, LastName: last,
		CurrentSsoIdentifier: g.sso + strconv.Itoa(i), SsoEnabled: true, MfaEnabled: h&1 == 0,
		StartedOn: started, CreatedOn: started.Add(-time.Duration(h>>24%500) * 24 * time.Hour),
		ProductIDs: g.products(i), Admin: i < adminCount,
	}
	if len(g.teams) > 0 {
		t := int(h >> 40 % uint64(len(g.teams)))
		into.Teams = g.teams[t : t+1 : t+1]
	}
	if h>>48%10 != 0 {
		into.LastLogin = started.Add(time.Duration(h>>50%300) * 24 * time.Hour)
	}
	if g.removed(i) {
		into.IsOnAccount, into.Teams = No, nil
		into.RemovedOn = started.Add(time.Duration(h>>52%700+1) * 24 * time.Hour)
	}
}

func (g *generator) email(i int, first, last string) string {
	return strings.ToLower(first) + "." + strings.ToLower(last) + "." + strconv.Itoa(i) + "@" + g.domain
}

func (g *generator) removed(i int) bool { return i%removedEvery == removedEvery-1 }

// products picks from bundle, which holds the plan's first product and then its first two.
func (g *generator) products(i int) []string {
	switch {
	case g.removed(i) || i%noProductEvery == noProductEvery-2 || len(g.bundle) == 0:
		return nil
	case i%twoProducts == 0:
		return g.bundle[len(g.bundle)-1]
	default:
		return g.bundle[0]
	}
}

// byID finds the index that an id carries, or -1.
func (g *generator) byID(id string) int {
	if g == nil || len(id) != 36 {
		return -1
	}
	masked, err := strconv.ParseUint(id[28:], 16, 32)
	if err != nil {
		return -1
	}
	i := int(uint32(masked) ^ uint32(mix(g.seed)))
	if i >= g.n || g.uuid(i, saltUser) != id {
		return -1
	}
	return i
}

// byEmail finds the index that a lower-case address carries, or -1.
func (g *generator) byEmail(email string) int {
	if g == nil {
		return -1
	}
	local, domain, _ := strings.Cut(email, "@")
	if domain != g.domain {
		return -1
	}
	i := g.index(local[strings.LastIndexByte(local, '.')+1:])
	if i < 0 {
		return -1
	}
	h := mix(g.seed ^ uint64(i)*0x9e3779b97f4a7c15)
	if g.email(i, firstNames[h%32], lastNames[h>>8%32]) != email {
		return -1
	}
	return i
}

// bySSO finds the index that an SSO id carries, or -1.
func (g *generator) bySSO(id string) int {
	if g == nil {
		return -1
	}
	rest, ok := strings.CutPrefix(id, g.sso)
	if !ok {
		return -1
	}
	return g.index(rest)
}

func (g *generator) index(digits string) int {
	i, err := strconv.Atoi(digits)
	if err != nil || i < 0 || i >= g.n || strconv.Itoa(i) != digits {
		return -1
	}
	return i
}
