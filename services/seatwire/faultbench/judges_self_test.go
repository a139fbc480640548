package faultbench

import (
	"testing"
	"time"

	"github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

// A judge that never finds anything proves nothing: these find what they should.
func TestJudges_findLeaks(t *testing.T) {
	t.Parallel()
	sim := pluralsightsim.New(pluralsightsim.Options{Plans: []pluralsightsim.Plan{pluralsightsim.Plan{Name: "acme", Key: "k"}.Generate(50, 1)}})
	defer sim.Close()
	people, err := sim.People("acme", 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people {
		if line := `{"msg":"about ` + p.Email + `"}`; p.Email != "" && !leak.MatchString(line) {
			t.Errorf("an address is not found in %s", line)
		}
	}
	for _, line := range []string{`"Bearer ` + keyPrefix + `acme"`, tokenPrefix + "acme", "canary@people.example.com"} {
		if !leak.MatchString(line) {
			t.Errorf("nothing is found in %s", line)
		}
	}
	if line := `{"msg":"sweep finished","connection":"acme","listen":"127.0.0.1:80"}`; leak.MatchString(line) {
		t.Errorf("something is found in %s", line)
	}
}

func TestJudges_knowWhoWasGone(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	key := [2]string{"acme", "ada"}
	gone := absences{key: {{At: at(10), Kind: "edited"}, {At: at(20), Kind: "removed"}, {At: at(30), Kind: "readded"}}}
	for s, want := range map[int]bool{5: false, 15: false, 20: true, 25: true, 35: false} {
		if got := gone.at("acme", "ada", at(s)); got != want {
			t.Errorf("gone at %d: %v", s, got)
		}
	}
	if gone.at("acme", "grace", at(25)) {
		t.Error("somebody without a history is gone")
	}
}
