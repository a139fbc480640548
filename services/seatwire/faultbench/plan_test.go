package faultbench

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// licensed is the truth of a plan: whom Productiv's list should hold, id to address.
func (b *Bench) licensed(connection string) map[string]string {
	b.t.Helper()
	people, err := b.pluralsight.People(connection, 0, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	holders := map[string]string{}
	for _, p := range people {
		if p.IsOnAccount == pluralsightsim.Yes && !p.NeverLicensed && p.Email != "" {
			holders[p.PsUserID] = strings.ToLower(strings.TrimSpace(p.Email))
		}
	}
	return holders
}

// listed is what Productiv holds of us, id to address.
func (b *Bench) listed(connection string) map[string]string {
	entries := map[string]string{}
	for _, u := range b.productiv.Users(appOf(connection)) {
		if !isForeign(u.AppUserID) {
			entries[u.AppUserID] = u.Email
		}
	}
	return entries
}

// Change lets n people leave, n join and n get another address. When most of those who were there at first have left,
// nobody leaves any more: maxRemovalPercent24h has no more than 100, and would hold the list. Some faults take people
// away too.
func (b *Bench) Change(rng *rand.Rand, connection string, n int) {
	b.t.Helper()
	ids := b.sample(rng, connection, 2*n)
	for i, id := range ids {
		var err error
		if leaves := b.gone[connection] < b.options.People*7/10; i < n && leaves {
			b.gone[connection]++
			err = b.pluralsight.RemovePerson(connection, id)
		} else {
			err = b.pluralsight.EditPerson(connection, id, func(p *pluralsightsim.Person) { p.Email = b.newAddress(rng, connection) })
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	for range n {
		person := pluralsightsim.Person{Email: b.newAddress(rng, connection), FirstName: "New", LastName: "Comer", ProductIDs: []string{"1"}}
		if _, err := b.pluralsight.AddPerson(connection, person); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *Bench) newAddress(rng *rand.Rand, connection string) string {
	return fmt.Sprintf("p%016x@%s.example.com", rng.Uint64(), connection)
}

// sample draws licensed people. The order of a map is chance too, but not the seed's: hence the plan's own order.
func (b *Bench) sample(rng *rand.Rand, connection string, n int) []string {
	b.t.Helper()
	people, err := b.pluralsight.People(connection, 0, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	var ids []string
	for _, i := range rng.Perm(len(people)) {
		if p := people[i]; len(ids) < n && p.IsOnAccount == pluralsightsim.Yes && !p.NeverLicensed && p.Email != "" {
			ids = append(ids, p.PsUserID)
		}
	}
	return ids
}
