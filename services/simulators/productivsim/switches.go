package productivsim

import (
	"fmt"
	"slices"
	"time"
)

// Semantics is what a POST does to people whom it does not name.
type Semantics string

const (
	SemanticsAdd     Semantics = "add"
	SemanticsReplace Semantics = "replace"
)

// Key is what makes two entries the same person.
type Key string

const (
	KeyID    Key = "id"
	KeyEmail Key = "email"
	KeyPair  Key = "pair"
)

// Existing is what a POST does to somebody who is on the list already.
type Existing string

const (
	ExistingUpdate Existing = "update"
	ExistingKeep   Existing = "keep"
)

// Strictness is what happens to input on which the documentation is silent.
type Strictness string

const (
	Reject Strictness = "reject"
	Accept Strictness = "accept"
)

// Success is what an answer says under "success".
type Success string

const (
	// SuccessTruth says what happened.
	SuccessTruth   Success = "truth"
	SuccessFalse   Success = "false"
	SuccessMissing Success = "missing"
	SuccessNull    Success = "null"
	// SuccessText is the string "true".
	SuccessText Success = "text"
)

// PageTokens is how sound the paging of GET is.
type PageTokens string

const (
	PageTokensSound PageTokens = "sound"
	// PageTokensLoop follows the last page with the first one again, for ever.
	PageTokensLoop PageTokens = "loop"
	// PageTokensRepeat answers a page token with itself, for ever.
	PageTokensRepeat PageTokens = "repeat"
)

// EndToken is how the last page says that there is no other.
type EndToken string

const (
	EndTokenNull    EndToken = "null"
	EndTokenMissing EndToken = "missing"
	EndTokenEmpty   EndToken = "empty"
)

// TokenAuth is where the token endpoint takes the client's credentials from.
type TokenAuth string

const (
	TokenAuthBody   TokenAuth = "body"
	TokenAuthBasic  TokenAuth = "basic"
	TokenAuthEither TokenAuth = "either"
)

// Duration is a time.Duration that JSON spells as Go does: "1m30s".
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.Std().String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Switches are the lasting behaviour of the vendor: one for each thing that the documentation leaves open. What goes
// wrong once, or for a while, is a Fault.
type Switches struct {
	Semantics Semantics `json:"semantics"`
	Key       Key       `json:"key"`
	Existing  Existing  `json:"existing"`
	// EmptyArray is about {"provisionedUsers": []}. Accepted in replace mode, it empties the list.
	EmptyArray Strictness `json:"emptyArray"`
	// UnknownMembers is about JSON members that the documentation does not name.
	UnknownMembers Strictness `json:"unknownMembers"`
	// AbsentDelete is about a DELETE that names somebody who is not on the list: "success" is documented as true when
	// all were deleted, so Reject answers success false (with status 200, having deleted the others).
	AbsentDelete Strictness `json:"absentDelete"`
	// MaxUsers is the largest number of people in a POST or DELETE; more is a 400.
	MaxUsers int `json:"maxUsers"`
	// PageSize is the number of people in a page of GET.
	PageSize int `json:"pageSize"`
	// MaxBodyBytes is the largest body; more is a 413.
	MaxBodyBytes int64 `json:"maxBodyBytes"`
	// Poison lists app user ids and e-mail addresses whose presence has the whole chunk refused with a 400.
	Poison []string `json:"poison"`
	// Success is what POST, GET and DELETE say; the effect is there all the same.
	Success    Success    `json:"success"`
	PageTokens PageTokens `json:"pageTokens"`
	EndToken   EndToken   `json:"endToken"`
	// StaleReads is how long GET does not see a write. Writes made while it was zero are visible at once.
	StaleReads Duration `json:"staleReads"`
	// Latency is the time that every call takes before it has an effect.
	Latency Duration `json:"latency"`

	TokenAuth TokenAuth `json:"tokenAuth"`
	// TokenLifetime is how long an issued token is good for.
	TokenLifetime Duration `json:"tokenLifetime"`
	// ExpiresIn is what the answer says instead, when it lies; zero says the truth.
	ExpiresIn Duration `json:"expiresIn"`
	// OmitExpiresIn leaves expires_in out.
	OmitExpiresIn bool `json:"omitExpiresIn"`
	// InvalidClientStatus is the status for wrong credentials: 400 or 401.
	InvalidClientStatus int `json:"invalidClientStatus"`
}

// DefaultSwitches is the vendor note's most probable reading of the documentation.
func DefaultSwitches() Switches {
	return Switches{
		Semantics: SemanticsAdd, Key: KeyID, Existing: ExistingUpdate,
		EmptyArray: Reject, UnknownMembers: Reject, AbsentDelete: Reject,
		MaxUsers: 1000, PageSize: 1000, MaxBodyBytes: 10 << 20, Poison: []string{},
		Success: SuccessTruth, PageTokens: PageTokensSound, EndToken: EndTokenNull,
		TokenAuth: TokenAuthBody, TokenLifetime: Duration(time.Hour), InvalidClientStatus: 401,
	}
}

func (s Switches) clone() Switches {
	s.Poison = slices.Clone(s.Poison)
	return s
}

// Validate says which switch has a value that means nothing.
func (s Switches) Validate() error {
	for _, err := range []error{
		oneOf("semantics", s.Semantics, SemanticsAdd, SemanticsReplace),
		oneOf("key", s.Key, KeyID, KeyEmail, KeyPair),
		oneOf("existing", s.Existing, ExistingUpdate, ExistingKeep),
		oneOf("emptyArray", s.EmptyArray, Reject, Accept),
		oneOf("unknownMembers", s.UnknownMembers, Reject, Accept),
		oneOf("absentDelete", s.AbsentDelete, Reject, Accept),
		oneOf("success", s.Success, SuccessTruth, SuccessFalse, SuccessMissing, SuccessNull, SuccessText),
		oneOf("pageTokens", s.PageTokens, PageTokensSound, PageTokensLoop, PageTokensRepeat),
		oneOf("endToken", s.EndToken, EndTokenNull, EndTokenMissing, EndTokenEmpty),
		oneOf("tokenAuth", s.TokenAuth, TokenAuthBody, TokenAuthBasic, TokenAuthEither),
		oneOf("invalidClientStatus", s.InvalidClientStatus, 400, 401),
		positive("maxUsers", int64(s.MaxUsers)),
		positive("pageSize", int64(s.PageSize)),
		positive("maxBodyBytes", s.MaxBodyBytes),
		positive("tokenLifetime", int64(s.TokenLifetime)),
		positive("staleReads", int64(s.StaleReads)+1),
		positive("latency", int64(s.Latency)+1),
		positive("expiresIn", int64(s.ExpiresIn)+1),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func oneOf[T comparable](name string, got T, allowed ...T) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	return fmt.Errorf("switch %s is %v, not one of %v", name, got, allowed)
}

func positive(name string, n int64) error {
	if n > 0 {
		return nil
	}
	return fmt.Errorf("switch %s is too small", name)
}

// settings is one unchanging state of the switches: a call reads it once and keeps it to its end.
type settings struct {
	Switches
	poison map[string]bool
}

func newSettings(s Switches) (*settings, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	set := &settings{Switches: s.clone(), poison: make(map[string]bool, len(s.Poison))}
	for _, p := range s.Poison {
		set.poison[foldEmail(p)] = true
	}
	return set, nil
}

// poisons reports whether u has the chunk refused.
func (s *settings) poisons(u User) bool {
	return len(s.poison) > 0 && (s.poison[foldEmail(u.Email)] || s.poison[foldEmail(u.AppUserID)])
}
