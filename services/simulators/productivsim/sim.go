package productivsim

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Options are what a simulator is made of. The zero value has no app, so every call is refused.
type Options struct {
	// Apps are the application instances, each with its own credentials. Two of one ID make New panic.
	Apps []App
	// Seed feeds the faults that fire by chance, and the page tokens. Equal seeds repeat a run.
	Seed uint64
	// Switches are the behaviour to start with, and to come back to on Reset; nil means DefaultSwitches.
	Switches *Switches
	// CountsOnly keeps counters and drops single requests and changes, so that a benchmark of millions of people
	// measures the client and not this ledger.
	CountsOnly bool
	// OwnerHeader is the request header whose value is recorded as Request.Owner: which replica was calling.
	// Empty means "X-Owner".
	OwnerHeader string
}

// App is one application instance of one customer. Apps with the same ClientID belong to one customer: a token
// for one is good for all of them.
type App struct {
	ID string
	// InstanceID is the id in the workflow paths, which differs from the app id at some customers. Empty means ID.
	InstanceID string
	// ClientID and ClientSecret are the credential for the token endpoint. Empty: no token is ever issued.
	ClientID, ClientSecret string
	// Scopes are granted to the credential, in full (see ScopeConnectorWrite). Empty means all known scopes.
	Scopes []string
	// AccessTokens are ready bearer tokens that never expire and hold every scope in Scopes.
	AccessTokens []string
	// Users are on the list from the start: foreign users, from the client's point of view.
	Users []User
	// WorkflowUsers are what the latest workflow execution found.
	WorkflowUsers []WorkflowUser
}

// Sim is one Productiv. All methods are safe for concurrent use.
type Sim struct {
	options  Options
	apps     map[string]*app
	settings atomic.Pointer[settings]
	// changing serialises SetSwitches and Reset, which touch every app.
	changing sync.Mutex

	tokens    *tokens
	callbacks *callbacks
	script    *script
	ledger    *ledger
	history   *history
	changes   broadcast
}

// New makes a simulator. It panics on options that no run could mean: an app without ID, two apps with one ID, switches
// that do not validate, or initial users who collide under the key.
func New(o Options) *Sim {
	o.OwnerHeader = cmp.Or(o.OwnerHeader, "X-Owner")
	if o.Switches == nil {
		o.Switches = new(DefaultSwitches())
	}
	s := &Sim{
		options:   o,
		apps:      map[string]*app{},
		tokens:    newTokens(),
		callbacks: newCallbacks(),
		script:    newScript(o.Seed),
		ledger:    &ledger{countsOnly: o.CountsOnly},
		history:   &history{countsOnly: o.CountsOnly},
	}
	for _, a := range o.Apps {
		if a.ID == "" || s.apps[a.ID] != nil {
			panic(fmt.Sprintf("productivsim: app id %q is empty or used twice", a.ID))
		}
		s.apps[a.ID] = newApp(a)
	}
	if err := s.Reset(); err != nil {
		panic(fmt.Sprintf("productivsim: %v", err))
	}
	return s
}

// Reset brings back the state that New made: initial users, switches, no faults, no issued tokens, empty records.
// Calls that are under way finish against the new state.
func (s *Sim) Reset() error {
	s.changing.Lock()
	defer s.changing.Unlock()
	set, err := newSettings(*s.options.Switches)
	if err != nil {
		return err
	}
	s.settings.Store(set)
	s.script.clear()
	s.ledger.reset()
	s.history.reset()
	s.callbacks.reset()
	s.tokens.reset(s.options.Apps)
	for _, a := range s.options.Apps {
		if err := s.apps[a.ID].reset(a, set); err != nil {
			return err
		}
	}
	s.changes.announce()
	return nil
}

// Apps returns the app ids in order.
func (s *Sim) Apps() []string {
	ids := make([]string, 0, len(s.apps))
	for id := range s.apps {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Users returns the truth: who is on the app's list now, whatever GET says. Nil for an unknown app.
func (s *Sim) Users(appID string) []User {
	a := s.apps[appID]
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.roster.users()
}

// Seed makes users the app's whole list, as if people at Productiv had done it by hand. It is in the History with
// request 0, and counts as nothing lost.
func (s *Sim) Seed(appID string, users []User) error {
	a := s.apps[appID]
	if a == nil {
		return fmt.Errorf("no app %q", appID)
	}
	for i, u := range users {
		if strings.TrimSpace(u.AppUserID) == "" || strings.TrimSpace(u.Email) == "" {
			return fmt.Errorf("user %d lacks appUserId or email", i)
		}
	}
	a.seed(users, s.settings.Load(), s.history)
	s.changes.announce()
	return nil
}

// Switches returns the behaviour in force.
func (s *Sim) Switches() Switches { return s.settings.Load().clone() }

// SetSwitches changes the behaviour for the calls that start from now on. It changes nothing when it returns an error: an
// unknown value, or a key under which people who are on a list now would collide.
func (s *Sim) SetSwitches(sw Switches) error {
	set, err := newSettings(sw)
	if err != nil {
		return err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := s.rekey(set); err != nil {
		return err
	}
	s.settings.Store(set)
	s.changes.announce()
	return nil
}

// rekey prepares every list before it changes any, so that a collision in the last app leaves the first alone.
func (s *Sim) rekey(set *settings) error {
	indexes := make(map[*app]map[string]int32, len(s.apps))
	for _, id := range s.Apps() {
		a := s.apps[id]
		a.mu.Lock()
		defer a.mu.Unlock()
		index, err := a.roster.indexBy(set.Key)
		if err != nil {
			return fmt.Errorf("app %q: %w", id, err)
		}
		indexes[a] = index
	}
	for a, index := range indexes {
		a.roster.key, a.roster.index = set.Key, index
		a.roster.setLag(set.StaleReads.Std())
	}
	return nil
}

// RevokeTokens makes every issued token of the app's customer worthless at once; ready tokens too. New ones can be
// asked for.
func (s *Sim) RevokeTokens(appID string) error {
	a := s.apps[appID]
	if a == nil {
		return fmt.Errorf("no app %q", appID)
	}
	s.tokens.revoke(a)
	return nil
}

// Inject adds faults to the script, after those that are there. It adds none of them when one does not validate.
func (s *Sim) Inject(faults ...Fault) error { return s.script.add(faults) }

// Faults returns the script with what came of each fault so far.
func (s *Sim) Faults() []FaultState { return s.script.states() }

// ClearFaults empties the script.
func (s *Sim) ClearFaults() { s.script.clear() }

// Requests returns the ledger in the order in which the calls began. A call that is still under way has a zero End.
// It is empty with Options.CountsOnly.
func (s *Sim) Requests() []Request { return s.ledger.requests() }

// History returns every change of every list, in order; empty with Options.CountsOnly.
func (s *Sim) History() []Change { return s.history.changes() }

// Counts returns the counters of everything together, calls to unknown apps and paths included.
func (s *Sim) Counts() Counts {
	total := s.ledger.strays()
	for _, a := range s.apps {
		total.add(a.snapshot())
	}
	return total
}

// AppCounts returns the counters of one app; zero for an unknown one.
func (s *Sim) AppCounts(appID string) Counts {
	if a := s.apps[appID]; a != nil {
		return a.snapshot()
	}
	return Counts{}
}

// Handler serves the vendor's paths and the admin paths under /_sim/.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/oauth2/token", s.serve(EndpointToken, s.appOfClient, s.issueToken))
	mux.Handle("/services/push/v1/customer/apps/{appId}/users", s.serve(EndpointUsers, s.appOfPath, s.users))
	mux.Handle("/pull/v1/provisioning-workflows/application-instances/{instanceId}/executions/{execution}/users",
		s.serve(EndpointWorkflows, s.appOfInstance, s.workflowUsers))
	mux.Handle("/workflows/resume", s.serve(EndpointResume, noApp, s.resume))
	mux.Handle("/", s.serve(EndpointOther, noApp, func(*call) answer {
		return refusal(http.StatusNotFound, "no such resource")
	}))
	mux.Handle("/_sim/", s.admin())
	return mux
}
