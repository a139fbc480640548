package pluralsightsim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Duration is a time.Duration that reads and writes as text ("90s") in JSON.
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a Go duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Switches choose, for one plan, among the readings that the vendor's documents leave open. They are the dialect that
// the plan speaks all the time; what goes wrong now and then is a Fault. Lists and maps are never changed in place.
type Switches struct {
	Auth        AuthSwitches        `json:"auth"`
	GraphQL     GraphQLSwitches     `json:"graphql"`
	Paging      PagingSwitches      `json:"paging"`
	Users       UsersSwitches       `json:"users"`
	Plan        PlanSwitches        `json:"plan"`
	Deprovision DeprovisionSwitches `json:"deprovision"`
	// Latency is waited before every answer, in real time.
	Latency Duration `json:"latency"`
}

// AuthSwitches describe the plan's keys.
type AuthSwitches struct {
	Expired  bool `json:"expired"`  // works, with a warning in every GraphQL answer
	Deleted  bool `json:"deleted"`  // 401
	ReadOnly bool `json:"readOnly"` // mutations and /deprovision are refused
	Beta     bool `json:"beta"`     // may select GraphQL.BetaFields
	// Unauthorized is the body of the 401 for a deleted key: json, html or empty.
	Unauthorized string `json:"unauthorized"`
	// Forbidden is the answer to a read-only key's mutation: status (403) or errors (200 with errors).
	Forbidden string `json:"forbidden"`
}

// GraphQLSwitches bend the schema and the envelope.
type GraphQLSwitches struct {
	// Paths that are served: both, lower (/graphql) or upper (/GraphQL).
	Paths string `json:"paths"`
	// Hidden fields do not exist: "User.productIds", "Query.planInfo".
	Hidden []string `json:"hidden"`
	// Renamed fields exist under another name: {"User.email": "primaryEmail"}.
	Renamed map[string]string `json:"renamed"`
	// BetaFields fail the whole call of a key without Auth.Beta.
	BetaFields []string `json:"betaFields"`
	// LegacyIDs serves User.id and PlanAdmin.userId, removed on 2025-11-10.
	LegacyIDs bool `json:"legacyIds"`
	// ValidationStatus is the HTTP status of a query that does not validate: 200 or 400.
	ValidationStatus int `json:"validationStatus"`
	// ErrorExtensions is the form of errors[].extensions: object, array (as documented) or none.
	ErrorExtensions string `json:"errorExtensions"`
	// WarningForm is the form of extensions.warnings[]: string or object.
	WarningForm string `json:"warningForm"`
	// Warnings are added to every answer.
	Warnings []string `json:"warnings"`
}

// PagingSwitches shape connections.
type PagingSwitches struct {
	// Cursors are keyset (stable while people come and go) or offset (shift with them).
	Cursors string `json:"cursors"`
	// DefaultFirst is the page size of a query without first, in people.
	DefaultFirst int `json:"defaultFirst"`
	// Cap is the largest page, in people; 0 for none.
	Cap int `json:"cap"`
	// CapWarning tells about a reduced page in extensions.warnings.
	CapWarning bool `json:"capWarning"`
	// BadCursor is what an unknown or expired cursor meets: error or restart (from page 1, silently).
	BadCursor string `json:"badCursor"`
	// CursorTTL expires cursors, on the simulator's clock; 0 for never.
	CursorTTL Duration `json:"cursorTtl"`
	// TotalOffset is added to totalCount, to lie.
	TotalOffset int `json:"totalOffset"`
	// TotalOffsetOn says on which pages: all or last.
	TotalOffsetOn string `json:"totalOffsetOn"`
}

// UsersSwitches shape users and their values.
type UsersSwitches struct {
	// Removed people are kept (as documented) or dropped.
	Removed string `json:"removed"`
	// NumericIDs writes ids of products and teams as JSON numbers where they are digits.
	NumericIDs bool `json:"numericIds"`
	// NoProducts writes an empty productIds as empty ([]) or null.
	NoProducts string `json:"noProducts"`
	// DateForm of every DateTime: millis, seconds, nanos, offset, date. A null one is null, or "" with EmptyDates.
	DateForm   string `json:"dateForm"`
	EmptyDates bool   `json:"emptyDates"`
	// EmailFilter matches exact or fold (letters' case aside).
	EmailFilter string `json:"emailFilter"`
	// FilterAdditional lets filter.emails match additional addresses too.
	FilterAdditional bool `json:"filterAdditional"`
	// NullTeams answers User.teams with null; ExtraTeams adds that many made-up teams; AncestorTeams adds parents with
	// isDirect false.
	NullTeams     bool `json:"nullTeams"`
	ExtraTeams    int  `json:"extraTeams"`
	AncestorTeams bool `json:"ancestorTeams"`
}

// PlanSwitches shape planInfo.
type PlanSwitches struct {
	// Info is object, connection or missing.
	Info string `json:"info"`
	// PendingCounted counts pending invites as assigned licences of the first product.
	PendingCounted bool `json:"pendingCounted"`
	NullCounters   bool `json:"nullCounters"`
	// RemainingOffset is added to remainingLicenseCount, to lie.
	RemainingOffset int `json:"remainingOffset"`
}

// DeprovisionSwitches shape POST /deprovision.
type DeprovisionSwitches struct {
	// Privileges is the spelling that the flag answers to: misspelt (reatinPrivileges), correct (retainPrivileges) or both.
	Privileges string `json:"privileges"`
	// UnknownFlags in the URL are ignored or rejected (400).
	UnknownFlags string `json:"unknownFlags"`
	// Removes says what a row takes: user (off the plan and its teams) or licence (off the account, products gone).
	Removes string `json:"removes"`
	// RemoveUsersFlag honours removeUsers=false of the newer documents, which takes the licence only.
	RemoveUsersFlag bool `json:"removeUsersFlag"`
	// KeepProducts leaves productIds on removed people.
	KeepProducts bool `json:"keepProducts"`
	// GoodRows of a file with errors and exitOnError=false are applied or skipped.
	GoodRows string `json:"goodRows"`
	// UnknownRows and RemovedRows are ignored or errors; AdminRows are ignored, errors, or stripped (removed like others).
	UnknownRows string `json:"unknownRows"`
	RemovedRows string `json:"removedRows"`
	AdminRows   string `json:"adminRows"`
	// RefuseRows are ids or addresses whose rows never validate.
	RefuseRows []string `json:"refuseRows"`
	// Collisions, when an id or address fits several people, take the first, all, or are an error.
	Collisions string `json:"collisions"`
	// Parser is rfc4180 or naive (splits on commas and knows no quotes).
	Parser string `json:"parser"`
	// Duplicates of an id or address: drop-one keeps the first row, drop-both keeps none, reject refuses the file.
	Duplicates string `json:"duplicates"`
	// Answer is final, or processing ("Processing", 200); DryRuns answer processing only with ProcessingDryRuns.
	Answer            string `json:"answer"`
	ProcessingDryRuns bool   `json:"processingDryRuns"`
	// EffectDelay is how long after the answer the effect comes, on the simulator's clock.
	EffectDelay Duration `json:"effectDelay"`
	// Effect is full, partial (each row by the toss of a seeded coin) or none.
	Effect string `json:"effect"`
	// Concurrent jobs, while one of the plan has its effect to come: accept, queue (one after another) or conflict (409).
	Concurrent string `json:"concurrent"`
	// BodyForm of the answer: plain, typographic (as printed in the documents), extra (more members), text or html.
	BodyForm string `json:"bodyForm"`
	// StatusText replaces the documented status text; StatusCode the HTTP status.
	StatusText string `json:"statusText"`
	StatusCode int    `json:"statusCode"`
}

// DefaultSwitches speak as the documents do, and where these are silent as the public client code suggests.
func DefaultSwitches() Switches {
	return Switches{
		Auth: AuthSwitches{Unauthorized: "json", Forbidden: "status"},
		GraphQL: GraphQLSwitches{
			Paths: "both", ValidationStatus: 200, ErrorExtensions: "array", WarningForm: "string",
		},
		Paging: PagingSwitches{
			Cursors: "keyset", DefaultFirst: 100, Cap: 1000, CapWarning: true, BadCursor: "error", TotalOffsetOn: "all",
		},
		Users: UsersSwitches{Removed: "kept", NoProducts: "empty", DateForm: "millis", EmailFilter: "fold", AncestorTeams: true},
		Plan:  PlanSwitches{Info: "object", PendingCounted: true},
		Deprovision: DeprovisionSwitches{
			Privileges: "misspelt", UnknownFlags: "ignore", Removes: "user", GoodRows: "apply", UnknownRows: "ignore",
			RemovedRows: "ignore", AdminRows: "strip", Collisions: "first", Parser: "rfc4180", Duplicates: "reject",
			Answer: "final", Effect: "full", Concurrent: "accept", BodyForm: "plain",
		},
	}
}

// Validate refuses values that no switch knows, because a misspelt switch would silently test nothing.
func (s *Switches) Validate() error {
	d := &s.Deprovision
	oneOf := []struct {
		name, value string
		allowed     []string
	}{
		{"auth.unauthorized", s.Auth.Unauthorized, []string{"json", "html", "empty"}},
		{"auth.forbidden", s.Auth.Forbidden, []string{"status", "errors"}},
		{"graphql.paths", s.GraphQL.Paths, []string{"both", "lower", "upper"}},
		{"graphql.errorExtensions", s.GraphQL.ErrorExtensions, []string{"object", "array", "none"}},
		{"graphql.warningForm", s.GraphQL.WarningForm, []string{"string", "object"}},
		{"paging.cursors", s.Paging.Cursors, []string{"keyset", "offset"}},
		{"paging.badCursor", s.Paging.BadCursor, []string{"error", "restart"}},
		{"paging.totalOffsetOn", s.Paging.TotalOffsetOn, []string{"all", "last"}},
		{"users.removed", s.Users.Removed, []string{"kept", "dropped"}},
		{"users.noProducts", s.Users.NoProducts, []string{"empty", "null"}},
		{"users.dateForm", s.Users.DateForm, []string{"millis", "seconds", "nanos", "offset", "date"}},
		{"users.emailFilter", s.Users.EmailFilter, []string{"fold", "exact"}},
		{"plan.info", s.Plan.Info, []string{"object", "connection", "missing"}},
		{"deprovision.privileges", d.Privileges, []string{"misspelt", "correct", "both"}},
		{"deprovision.unknownFlags", d.UnknownFlags, []string{"ignore", "reject"}},
		{"deprovision.removes", d.Removes, []string{"user", "licence"}},
		{"deprovision.goodRows", d.GoodRows, []string{"apply", "skip"}},
		{"deprovision.unknownRows", d.UnknownRows, []string{"ignore", "error"}},
		{"deprovision.removedRows", d.RemovedRows, []string{"ignore", "error"}},
		{"deprovision.adminRows", d.AdminRows, []string{"ignore", "error", "strip"}},
		{"deprovision.collisions", d.Collisions, []string{"first", "all", "error"}},
		{"deprovision.parser", d.Parser, []string{"rfc4180", "naive"}},
		{"deprovision.duplicates", d.Duplicates, []string{"drop-one", "drop-both", "reject"}},
		{"deprovision.answer", d.Answer, []string{"final", "processing"}},
		{"deprovision.effect", d.Effect, []string{"full", "partial", "none"}},
		{"deprovision.concurrent", d.Concurrent, []string{"accept", "queue", "conflict"}},
		{"deprovision.bodyForm", d.BodyForm, []string{"plain", "typographic", "extra", "text", "html"}},
	}
	var errs []error
	for _, o := range oneOf {
		if !slices.Contains(o.allowed, o.value) {
			errs = append(errs, fmt.Errorf("switch %s is %q, want one of %q", o.name, o.value, o.allowed))
		}
	}
	return errors.Join(append(errs, s.validateNumbers()...)...)
}

func (s *Switches) validateNumbers() []error {
	var errs []error
	if v := s.GraphQL.ValidationStatus; v != 200 && v != 400 {
		errs = append(errs, fmt.Errorf("switch graphql.validationStatus is %d, want 200 or 400", v))
	}
	if s.Paging.DefaultFirst < 1 || s.Paging.Cap < 0 {
		errs = append(errs, errors.New("switch paging.defaultFirst must be 1 or more and paging.cap 0 or more"))
	}
	if v := s.Deprovision.StatusCode; v != 0 && (v < 200 || v > 599) {
		errs = append(errs, fmt.Errorf("switch deprovision.statusCode is %d, want 0 or an HTTP status of an answer", v))
	}
	if s.Users.ExtraTeams < 0 || s.Users.ExtraTeams > 10_000 {
		errs = append(errs, errors.New("switch users.extraTeams must be between 0 and 10000"))
	}
	return errs
}
