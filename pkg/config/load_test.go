package config

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// minimal is the shortest legal file.
const minimal = "connections: [{name: acme, pluralsight: {token: {value: " + hush + "}}}]\n"

var compareSecrets = cmp.Comparer(func(a, b Secret) bool {
	return a.IsZero() == b.IsZero() && (a.IsZero() || a.place() == b.place())
})

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoad_DefaultsAreTheContracts(t *testing.T) {
	t.Parallel()
	got := mustParse(t, minimal)
	want := &Config{
		NATS:        NATS{Listen: "127.0.0.1:4222", StoreDir: "./data", Replicas: 1},
		Limits:      Limits{FetchConcurrency: 4},
		Retry:       Retry{MaxAttempts: 3, InitialDelay: 250 * time.Millisecond, MaxDelay: 10 * time.Second, CallTimeout: 30 * time.Second},
		DeadLetters: DeadLetters{MaxDeliveries: 5},
		Connections: []Connection{{
			Name: "acme",
			Pluralsight: Pluralsight{
				GraphQLURL: "https://paas-api.pluralsight.com/graphql", DeprovisionURL: "https://integrations-api.pluralsight.com/deprovision",
				Token: SecretValue(hush), DeprovisionAuth: "bearer", PageSize: 100,
			},
			Sync:   Sync{Every: 6 * time.Hour},
			Guards: Guards{MaxRemovalPercent: 10, MaxRemovals: 100, MaxRemovalPercent24h: 20},
			Deprovision: Deprovision{
				Apply: "dry-run", BatchMaxUsers: 200, BatchMaxAge: 30 * time.Second, MaxUsersPerBatchAuto: 25, MaxUsers24hAuto: 100,
				MaxEventAge: 168 * time.Hour, VerifyWithin: 24 * time.Hour, VerifyEvery: time.Minute, ProtectAdmins: true,
			},
		}},
	}
	if diff := cmp.Diff(want, got, compareSecrets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLoad_Sample proves that the annotated sample loads, and that the defaults it prints are the defaults.
func TestLoad_Sample(t *testing.T) {
	t.Parallel()
	const sample = "../../deploy/config/seatwire.yaml"
	got, err := LoadWithoutFiles(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	acme := DefaultConnection("acme")
	acme.Pluralsight.Token = SecretFile("/run/secrets/acme-pluralsight")
	app := DefaultProductiv("0f3c2a9e-app")
	app.ClientID, app.ClientSecret = "acme-client", SecretEnv("ACME_PRODUCTIV_SECRET")
	app.Licenses = []License{}
	acme.Productiv, acme.Deprovision.Protect = &app, []string{}
	want.Connections = []Connection{acme}
	if diff := cmp.Diff(want, got, compareSecrets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestLoad_ContractSample loads section 3 of the contract as it is printed there.
func TestLoad_ContractSample(t *testing.T) {
	t.Parallel()
	if _, err := LoadWithoutFiles("testdata/contract.yaml"); err != nil {
		t.Error(err)
	}
}

func TestLoad_LiteralZeroSurvives(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, `
retry: {initialDelay: 0, maxDelay: 0s}
connections:
  - name: acme
    pluralsight: {token: {value: x}}
    sync: {every: 0}
    guards: {maxRemovalPercent: 0, maxRemovals: 0, maxRemovalPercent24h: 0}
    deprovision: {batchMaxAge: 0, maxUsersPerBatchAuto: 0, maxUsers24hAuto: 0, protectAdmins: false}
  - name: bolt
    pluralsight: {token: {value: y}}
    sync:
    productiv:
`)
	acme, bolt := cfg.Connections[0], cfg.Connections[1]
	if cfg.Retry.InitialDelay != 0 || cfg.Retry.MaxDelay != 0 || acme.Sync.Every != 0 || acme.Guards != (Guards{}) {
		t.Errorf("a zero was overridden: %+v %+v %+v", cfg.Retry, acme.Sync, acme.Guards)
	}
	if d := acme.Deprovision; d.BatchMaxAge != 0 || d.MaxUsersPerBatchAuto != 0 || d.MaxUsers24hAuto != 0 || d.ProtectAdmins {
		t.Errorf("a zero was overridden: %+v", d)
	}
	if bolt.Sync.Every != 6*time.Hour || bolt.Productiv != nil {
		t.Errorf("a key without a value is not its default: %+v", bolt)
	}
}

func TestLoad_ScalarsAndAliases(t *testing.T) {
	t.Parallel()
	cfg := mustParse(t, `
connections:
  - name: acme
    pluralsight: &shared {token: {env: HOME}, pageSize: 0x10}
    productiv: {appId: 0123, clientId: 1e3, clientSecret: {value: 007}}
  - {name: bolt, pluralsight: *shared}
`)
	p := cfg.Connections[0].Productiv
	if p.AppID != "0123" || p.ClientID != "1e3" {
		t.Errorf("an id was read as a number: %+v", p)
	}
	if got, err := p.ClientSecret.Read(); got != "007" || err != nil {
		t.Errorf("secret: got %q, %v", got, err)
	}
	if cfg.Connections[1].Pluralsight.PageSize != 16 {
		t.Errorf("an alias was not followed: %+v", cfg.Connections[1])
	}
}

func TestLoad_ReadsTheFileAndItsSecrets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, token := filepath.Join(dir, "seatwire.yaml"), filepath.Join(dir, "token")
	writeFile(t, path, "connections: [{name: acme, pluralsight: {token: {file: "+token+"}}}]")
	want := path + ":1: connections[acme].pluralsight.token: API token is missing: file " + token +
		": no such file or directory; put it there or name another place"
	if _, err := Load(path); err == nil || err.Error() != want {
		t.Errorf("missing token:\n got %v\nwant %s", err, want)
	}
	if _, err := LoadWithoutFiles(path); err != nil {
		t.Errorf("without secrets: %v", err)
	}
	writeFile(t, token, "\n")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "API token is missing: file "+token+" is empty") {
		t.Errorf("empty token: %v", err)
	}
	writeFile(t, token, hush)
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if acme, ok := cfg.Connection("acme"); !ok || acme.Name != "acme" {
		t.Errorf("Connection(acme) = %+v, %v", acme, ok)
	}
	if _, ok := cfg.Connection("other"); ok {
		t.Error("Connection(other) was found")
	}
}

func TestLoadWithoutFiles_ComposeSample(t *testing.T) {
	t.Parallel()
	const sample = "../../deploy/compose/seatwire.yaml"
	if cfg, err := LoadWithoutFiles(sample); err != nil || cfg.NATS.Replicas != 3 {
		t.Errorf("the sample is refused: %v", err)
	}
	if _, err := LoadFor(sample, 0); err == nil || !strings.Contains(err.Error(), "nats.credentials: cannot be read") {
		t.Errorf("a seed that only exists in containers: %v", err)
	}
}

func TestLoad_UnreadableFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir + "/none.yaml": "no such file or directory",
		dir:                "is a directory",
	} {
		if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+": cannot read the configuration: "+want+"; ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestConfig_BrokerURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, listen, want string }{
		{"nats://a:1,nats://b:2", "127.0.0.1:4222", "nats://a:1,nats://b:2"},
		{"", "127.0.0.1:4333", "nats://127.0.0.1:4333"},
		{"", "0.0.0.0:4222", "nats://127.0.0.1:4222"},
		{"", ":4222", "nats://127.0.0.1:4222"},
		{"", "[::]:4222", "nats://127.0.0.1:4222"},
		{"", "broker:4222", "nats://broker:4222"},
	} {
		cfg := &Config{NATS: NATS{URL: c.url, Listen: c.listen}}
		if got := cfg.BrokerURL(); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

func TestDeprovision_Protects(t *testing.T) {
	t.Parallel()
	d := Deprovision{Protect: []string{"*@Board.example.com", " ceo@example.com ", "svc-?@*"}}
	for email, want := range map[string]bool{
		"ada@board.example.com":    true,
		" ADA@BOARD.example.com\n": true,
		"a/b@board.example.com":    true, // a slash is legal in an address
		"Ceo@example.com":          true,
		"svc-1@example.org":        true,
		"svc-12@example.org":       false,
		"ada@example.com":          false,
		"ada@board.example.com.au": false,
		"":                         false,
	} {
		if got := d.Protects(email); got != want {
			t.Errorf("Protects(%q) = %v", email, got)
		}
	}
	if bad := (&Deprovision{Protect: []string{"[a@x"}}); !bad.Protects("ada@example.com") {
		t.Error("a malformed glob protects nobody; it must protect everybody")
	}
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := parse("seatwire.yaml", []byte(text), PluralsightSecrets|ProductivSecrets)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// FuzzLoad: whatever the file holds, loading ends, and its error is one line that names the file and does not quote what
// may be a secret. What is loaded says where NATS is.
func FuzzLoad(f *testing.F) {
	sample, err := os.ReadFile("../../deploy/config/seatwire.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sample))
	f.Add(minimal)
	f.Add(aliases(2, 3))
	f.Add("a: &a [*a]\nconnections: &c\n  - *c\n")
	for _, c := range refusals {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := parse("seatwire.yaml", []byte(text), noFiles)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "seatwire.yaml:") || strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("not one line about the file, or quoting a secret: %q", err)
			}
			return
		}
		if _, err := url.Parse(strings.Split(cfg.BrokerURL(), ",")[0]); err != nil || len(cfg.Connections) == 0 {
			t.Errorf("%d connections, broker at %q, %v", len(cfg.Connections), cfg.BrokerURL(), err)
		}
	})
}

func TestLoadFor_needsOnlyTheFilesThatAreRead(t *testing.T) {
	t.Parallel()
	if _, err := parse("f.yaml", []byte("connections: [{name: acme, pluralsight: {token: {env: SEATWIRE_UNSET}}}]\n"), 0); err == nil {
		t.Error("a variable is this program's own, and it is not set")
	}
	const text = "connections: [{name: acme, pluralsight: {token: {file: /none/p}}, productiv: {appId: a, accessToken: {file: /none/q}}}]\n"
	for secrets, want := range map[Secrets]string{0: "", PluralsightSecrets: "pluralsight.token", ProductivSecrets: "productiv.accessToken"} {
		_, err := parse("f.yaml", []byte(text), secrets)
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want one about %q", err, want)
		}
	}
}

// aliases is a file of so many connections with so many globs each, all of them one.
func aliases(connections, globs int) string {
	return "connections:\n- &c {name: a, deprovision: {protect: [" + strings.Repeat("a@b,", globs) + "]}}\n" + strings.Repeat("- *c\n", connections-1)
}

func TestLoad_AliasesAreCounted(t *testing.T) {
	t.Parallel()
	_, err := parse("f.yaml", []byte(aliases(300, 1000)), noFiles)
	if err == nil || err.Error() != "f.yaml: holds more than 262144 values, aliases counted; write fewer" {
		t.Error(err)
	}
}
