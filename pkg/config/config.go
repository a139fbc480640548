// Package config is the one YAML file that every program reads: its shape, its defaults, its checks.
//
// Load refuses unknown keys and impossible values with one plain line that names the file, the key and the mend.
// Nothing here reads a secret's content until it is asked for: see Secret.
package config

import "time"

// Config is the whole file.
type Config struct {
	NATS        NATS         `yaml:"nats"`
	Limits      Limits       `yaml:"limits"`
	Retry       Retry        `yaml:"retry"`
	DeadLetters DeadLetters  `yaml:"deadLetters"`
	Connections []Connection `yaml:"connections"`
}

// NATS says where the broker is.
type NATS struct {
	// URL is nats://host:port[,…]. Empty: `seatwire up` embeds a server at Listen, and the other programs look for it there.
	URL string `yaml:"url"`
	// Listen is the embedded server's client address, host:port.
	Listen string `yaml:"listen"`
	// StoreDir holds the embedded server's streams. One server at a time: it is locked.
	StoreDir string `yaml:"storeDir"`
	// Credentials is a NATS credentials file.
	Credentials string `yaml:"credentials"`
	TLS         TLS    `yaml:"tls"`
	// Replicas of every stream and bucket: 1 on a single node, 3 on a cluster.
	Replicas int `yaml:"replicas"`
}

// TLS names PEM files.
type TLS struct {
	CA   string `yaml:"ca"`
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// Limits bound what one replica takes on.
type Limits struct {
	// FetchConcurrency is how many sweeps one fetcher replica runs at once.
	FetchConcurrency int `yaml:"fetchConcurrency"`
}

// Retry is for vendor calls that are safe to repeat.
type Retry struct {
	// MaxAttempts counts the first call.
	MaxAttempts int `yaml:"maxAttempts"`
	// InitialDelay before the second attempt; doubles from there, with 20 % jitter either way.
	InitialDelay time.Duration `yaml:"initialDelay"`
	// MaxDelay caps the exponential delay.
	MaxDelay time.Duration `yaml:"maxDelay"`
	// CallTimeout bounds one attempt, its body included, and the longest Retry-After that is obeyed.
	CallTimeout time.Duration `yaml:"callTimeout"`
}

// DeadLetters says when a stage gives up on a message.
type DeadLetters struct {
	// MaxDeliveries per stage; then the message is dead-lettered.
	MaxDeliveries int `yaml:"maxDeliveries"`
}

// Connection is one Pluralsight plan and the Productiv app that mirrors it: the unit of isolation.
type Connection struct {
	// Name is [a-z0-9][a-z0-9-]{0,31} and a token of every subject.
	Name        string      `yaml:"name"`
	Pluralsight Pluralsight `yaml:"pluralsight"`
	// Productiv is nil when the connection only reads.
	Productiv   *Productiv  `yaml:"productiv"`
	Sync        Sync        `yaml:"sync"`
	Guards      Guards      `yaml:"guards"`
	Deprovision Deprovision `yaml:"deprovision"`
}

// Pluralsight is the vendor whose licences are read and taken back.
type Pluralsight struct {
	GraphQLURL     string `yaml:"graphqlUrl"`
	DeprovisionURL string `yaml:"deprovisionUrl"`
	Token          Secret `yaml:"token"`
	// DeprovisionAuth is "bearer", or "basic" with user "pluralsight" and the token as password.
	DeprovisionAuth string `yaml:"deprovisionAuth"`
	// PageSize asked for, 1..1000.
	PageSize int `yaml:"pageSize"`
}

// Productiv is where the list of licence holders is kept true.
type Productiv struct {
	BaseURL      string `yaml:"baseUrl"`
	TokenURL     string `yaml:"tokenUrl"`
	AppID        string `yaml:"appId"`
	ClientID     string `yaml:"clientId"`
	ClientSecret Secret `yaml:"clientSecret"`
	// AccessToken is a ready bearer token, instead of ClientID and ClientSecret.
	AccessToken Secret `yaml:"accessToken"`
	// Mode is reconcile, append or replace-single.
	Mode string `yaml:"mode"`
	// BatchSize is people per call, 1..1000.
	BatchSize int `yaml:"batchSize"`
	// Include is on-account, or billable (on the account and at least one product id).
	Include string `yaml:"include"`
	// Username sent: none, sso or email.
	Username string `yaml:"username"`
	// Licenses map product ids to Productiv's labels; the first match is sent.
	Licenses []License `yaml:"licenses"`
	// Adopt counts people found at Productiv before our first publication as ours.
	Adopt bool `yaml:"adopt"`
}

// License maps one product id to a label.
type License struct {
	Product string `yaml:"product"`
	Label   string `yaml:"label"`
}

// Sync is the schedule.
type Sync struct {
	// Every is the period; 0 means only on request.
	Every time.Duration `yaml:"every"`
}

// Guards stop a publication that would remove too many people. Any one strictly exceeded holds it.
type Guards struct {
	// MaxRemovalPercent of the last published list, per publication, rounded up, at least 1 person.
	MaxRemovalPercent int `yaml:"maxRemovalPercent"`
	// MaxRemovals is people per publication.
	MaxRemovals int `yaml:"maxRemovals"`
	// MaxRemovalPercent24h is like MaxRemovalPercent, over the last 24 hours.
	MaxRemovalPercent24h int `yaml:"maxRemovalPercent24h"`
	// AllowEmpty lets an empty roster through.
	AllowEmpty bool `yaml:"allowEmpty"`
}

// Deprovision says how licences are taken back.
type Deprovision struct {
	// Apply is dry-run, review or auto.
	Apply string `yaml:"apply"`
	// Strict sends exitOnError=true.
	Strict bool `yaml:"strict"`
	// RetainPrivileges is for requests that do not say.
	RetainPrivileges bool          `yaml:"retainPrivileges"`
	BatchMaxUsers    int           `yaml:"batchMaxUsers"`
	BatchMaxAge      time.Duration `yaml:"batchMaxAge"`
	// MaxUsersPerBatchAuto holds a larger batch for a person, in auto.
	MaxUsersPerBatchAuto int `yaml:"maxUsersPerBatchAuto"`
	MaxUsers24hAuto      int `yaml:"maxUsers24hAuto"`
	// MaxEventAge: older requests are refused as stale.
	MaxEventAge time.Duration `yaml:"maxEventAge"`
	// VerifyWithin this time, or the outcome is "unverified".
	VerifyWithin time.Duration `yaml:"verifyWithin"`
	// VerifyEvery is what the read-back backs off to.
	VerifyEvery time.Duration `yaml:"verifyEvery"`
	// Protect lists e-mail globs that are never deprovisioned.
	Protect []string `yaml:"protect"`
	// ProtectAdmins refuses requests for plan admins.
	ProtectAdmins bool `yaml:"protectAdmins"`
}
