package pluralsightsim_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sim "github.com/seatwire/seatwire/services/simulators/pluralsightsim"
)

const wideQuery = `query U($first: Int, $after: String) { users(first: $first, after: $after) { totalCount nodes {
	psUserId email additionalEmails firstName lastName startedOn createdOn note isOnAccount removedOn lastLogin currentSsoIdentifier
	ssoEnabled planId mfaEnabled productIds teams { edges { isDirect node { id name parentTeamId } } }
	} pageInfo { hasNextPage endCursor } } }`

// BenchmarkUsersPage is one page of 100 people out of a million, without the socket.
func BenchmarkUsersPage(b *testing.B) {
	s := sim.New(sim.Options{LedgerLimit: sim.CountsOnly, Plans: []sim.Plan{sim.Plan{Name: "acme", Key: key}.Generate(1_000_000, 1)}})
	h := s.Handler()
	body, err := json.Marshal(map[string]any{"query": wideQuery, "variables": map[string]any{"first": 100}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		req := httptest.NewRequest(http.MethodPost, "/graphql", strings.NewReader(string(body)))
		req.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code != http.StatusOK || w.Body.Len() < 10_000 {
			b.Fatalf("%d %.300s", w.Code, w.Body)
		}
		b.SetBytes(int64(w.Body.Len()))
	}
}

// BenchmarkGenerate is how long a plan of a million takes to be there.
func BenchmarkGenerate(b *testing.B) {
	for b.Loop() {
		sim.New(sim.Options{Plans: []sim.Plan{sim.Plan{Name: "acme", Key: key}.Generate(1_000_000, 1)}})
	}
}
