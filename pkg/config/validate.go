package config

import (
	"fmt"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// checker collects what is wrong with a decoded configuration, in the order of the file.
type checker struct {
	cfg      *Config
	problems []*problem
}

func (c *checker) fail(path, format string, args ...any) {
	c.problems = append(c.problems, problemf(path, format, args...))
}

func (c *checker) all(secrets Secrets) {
	c.nats(&c.cfg.NATS)
	c.atLeast("limits.fetchConcurrency", c.cfg.Limits.FetchConcurrency, 1)
	c.retry(&c.cfg.Retry)
	c.atLeast("deadLetters.maxDeliveries", c.cfg.DeadLetters.MaxDeliveries, 1)
	if len(c.cfg.Connections) == 0 {
		c.fail("connections", "lists no connection; add one with a name and a pluralsight.token")
	}
	for i := range c.cfg.Connections {
		c.connection(&c.cfg.Connections[i], at(i))
	}
	c.uniqueNames()
	c.oneWriterPerApp()
	if secrets == noFiles {
		return
	}
	c.natsFiles(&c.cfg.NATS)
	for i := range c.cfg.Connections {
		c.secrets(&c.cfg.Connections[i], at(i), secrets)
	}
}

func at(i int) string { return "connections[" + strconv.Itoa(i) + "]" }

func (c *checker) nats(n *NATS) {
	for u := range strings.SplitSeq(n.URL, ",") {
		if n.URL != "" && !brokerURL(u) {
			c.fail("nats.url", "is not a list of broker addresses; write nats://host:4222, or more of them with commas between")
			break
		}
	}
	if _, ok := listenPort(n.Listen); !ok {
		c.fail("nats.listen", "is not host:port; write one such as 127.0.0.1:4222")
	}
	if n.StoreDir == "" {
		c.fail("nats.storeDir", "is empty; name the directory for the embedded server's data")
	}
	c.between("nats.replicas", n.Replicas, 1, 5)
	if n.URL == "" && n.Replicas > 1 {
		c.fail("nats.replicas", "is more than the embedded server has; write 1, or name a cluster in nats.url")
	}
	if (n.TLS.Cert == "") != (n.TLS.Key == "") {
		c.fail("nats.tls", "has a cert without its key, or a key without its cert; give both or neither")
	}
}

func (c *checker) natsFiles(n *NATS) {
	for _, f := range []struct{ path, file string }{
		{"nats.credentials", n.Credentials}, {"nats.tls.ca", n.TLS.CA}, {"nats.tls.cert", n.TLS.Cert}, {"nats.tls.key", n.TLS.Key},
	} {
		if f.file == "" {
			continue
		}
		if _, err := os.Stat(f.file); err != nil {
			c.fail(f.path, "cannot be read: %v; put the file there or name another", pathCause(err))
		}
	}
}

func brokerURL(text string) bool {
	u, err := url.Parse(strings.TrimSpace(text))
	return err == nil && u.Hostname() != "" && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme)
}

func (c *checker) retry(r *Retry) {
	c.atLeast("retry.maxAttempts", r.MaxAttempts, 1)
	c.notNegative("retry.initialDelay", r.InitialDelay)
	c.notNegative("retry.maxDelay", r.MaxDelay)
	c.positive("retry.callTimeout", r.CallTimeout)
}

func (c *checker) connection(k *Connection, at string) {
	switch {
	case k.Name == "":
		c.fail(at+".name", "is missing; give the connection a name such as acme")
	case !namePattern.MatchString(k.Name):
		c.fail(at+".name", "is not a legal name; use 1 to 32 lower-case letters, digits and hyphens, a letter or digit first")
	}
	c.pluralsight(&k.Pluralsight, at+".pluralsight")
	if k.Productiv != nil {
		c.productiv(k.Productiv, at+".productiv")
	}
	c.notNegative(at+".sync.every", k.Sync.Every)
	c.between(at+".guards.maxRemovalPercent", k.Guards.MaxRemovalPercent, 0, 100)
	c.atLeast(at+".guards.maxRemovals", k.Guards.MaxRemovals, 0)
	c.between(at+".guards.maxRemovalPercent24h", k.Guards.MaxRemovalPercent24h, 0, 100)
	c.deprovision(&k.Deprovision, at+".deprovision")
}

func (c *checker) pluralsight(p *Pluralsight, at string) {
	c.webURL(at+".graphqlUrl", p.GraphQLURL)
	c.webURL(at+".deprovisionUrl", p.DeprovisionURL)
	c.oneOf(at+".deprovisionAuth", p.DeprovisionAuth, "bearer", "basic")
	c.between(at+".pageSize", p.PageSize, 1, 1000)
	if p.Token.IsZero() {
		c.fail(at+".token", "API token is missing; write {file: PATH}, {env: NAME} or {value: TEXT}")
	}
}

func (c *checker) productiv(p *Productiv, at string) {
	c.webURL(at+".baseUrl", p.BaseURL)
	c.webURL(at+".tokenUrl", p.TokenURL)
	if !plainSegment(p.AppID) {
		c.fail(at+".appId", "is missing or not an id; copy it from Productiv's application page")
	}
	c.credentials(p, at)
	c.oneOf(at+".mode", p.Mode, "reconcile", "append", "replace-single")
	c.between(at+".batchSize", p.BatchSize, 1, 1000)
	c.oneOf(at+".include", p.Include, "on-account", "billable")
	c.oneOf(at+".username", p.Username, "none", "sso", "email")
	for i, l := range p.Licenses {
		if l.Product == "" || l.Label == "" {
			c.fail(fmt.Sprintf("%s.licenses[%d]", at, i), "lacks its product or its label; give both")
		}
	}
}

// plainSegment says whether an id can stand in a URL's path once escaped: dots alone would be resolved away.
func plainSegment(id string) bool {
	return id != "" && id != "." && id != ".." && strings.IndexFunc(id, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}

func (c *checker) credentials(p *Productiv, at string) {
	const mend = "give accessToken alone, or clientId with clientSecret"
	hasClient := p.ClientID != "" || !p.ClientSecret.IsZero()
	switch {
	case !p.AccessToken.IsZero() && hasClient:
		c.fail(at+".accessToken", "is given beside clientId or clientSecret; %s", mend)
	case !p.AccessToken.IsZero():
	case !hasClient:
		c.fail(at, "has no credentials; %s", mend)
	case p.ClientID == "":
		c.fail(at+".clientId", "is missing; %s", mend)
	case p.ClientSecret.IsZero():
		c.fail(at+".clientSecret", "client secret is missing; %s", mend)
	}
}

func (c *checker) deprovision(d *Deprovision, at string) {
	c.oneOf(at+".apply", d.Apply, "dry-run", "review", "auto")
	c.atLeast(at+".batchMaxUsers", d.BatchMaxUsers, 1)
	c.notNegative(at+".batchMaxAge", d.BatchMaxAge)
	c.atLeast(at+".maxUsersPerBatchAuto", d.MaxUsersPerBatchAuto, 0)
	c.atLeast(at+".maxUsers24hAuto", d.MaxUsers24hAuto, 0)
	c.positive(at+".maxEventAge", d.MaxEventAge)
	c.positive(at+".verifyWithin", d.VerifyWithin)
	c.positive(at+".verifyEvery", d.VerifyEvery)
	for i, glob := range d.Protect {
		c.protect(fmt.Sprintf("%s.protect[%d]", at, i), glob)
	}
}

// protect refuses globs that protect nobody: somebody wrote them to keep a person safe.
func (c *checker) protect(at, glob string) {
	if _, err := path.Match(glob, ""); err != nil {
		c.fail(at, "is not a valid glob; use * and ? and [a-z], and close every bracket")
		return
	}
	if !strings.ContainsAny(glob, "@*?[") {
		c.fail(at, "matches no e-mail address; write an address, or a glob such as *@example.com")
	}
}

// Protects says whether an e-mail address is one that is never deprovisioned. Case and outer spaces do not count. A
// glob's * also matches a slash, which is legal in an address; a malformed glob protects everybody.
func (d *Deprovision) Protects(email string) bool {
	email = globText(email)
	return slices.ContainsFunc(d.Protect, func(glob string) bool {
		matched, err := path.Match(globText(glob), email)
		return matched || err != nil
	})
}

// globText takes the meaning out of the slash, the one character that path.Match's * stops at.
func globText(s string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(s)), "/", "\x00")
}

func (c *checker) secrets(k *Connection, at string, needed Secrets) {
	c.secret(at+".pluralsight.token", "API token", k.Pluralsight.Token, needed&PluralsightSecrets != 0)
	if p := k.Productiv; p != nil {
		c.secret(at+".productiv.clientSecret", "client secret", p.ClientSecret, needed&ProductivSecrets != 0)
		c.secret(at+".productiv.accessToken", "access token", p.AccessToken, needed&ProductivSecrets != 0)
	}
}

func (c *checker) secret(at, what string, s Secret, needed bool) {
	if s.IsZero() || !needed && s.inFile() { // whether it had to be named is checked elsewhere
		return
	}
	if _, err := s.Read(); err != nil {
		c.fail(at, "%s is missing: %v; put it there or name another place", what, err)
	}
}

// uniqueNames: the name is a token of every subject and key, so two connections of one name would share state.
func (c *checker) uniqueNames() {
	first := make(map[string]int)
	for i, k := range c.cfg.Connections {
		if j, taken := first[k.Name]; taken && k.Name != "" {
			c.fail(at(i)+".name", "is the name of an earlier connection (number %d) too; give each its own", j+1)
			continue
		}
		first[k.Name] = i
	}
}

// oneWriterPerApp: two rosters in one app would each delete the other's people at every publication.
func (c *checker) oneWriterPerApp() {
	first := make(map[string]string)
	for i, k := range c.cfg.Connections {
		if k.Productiv == nil {
			continue
		}
		app := canonicalURL(k.Productiv.BaseURL) + " " + k.Productiv.AppID
		if other, taken := first[app]; taken {
			c.fail(at(i)+".productiv.appId", "is the Productiv app of connection %s too, and each would delete the other's people; give each connection its own app", other)
			continue
		}
		first[app] = displayName(k.Name)
	}
}

// displayName keeps an illegal name, which may be anything, out of the message.
func displayName(name string) string {
	if namePattern.MatchString(name) {
		return name
	}
	return "(unnamed)"
}

// canonicalURL makes two spellings of one base URL equal.
func canonicalURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	port := u.Port()
	if port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		port = ""
	}
	return strings.ToLower(u.Scheme+"://"+u.Hostname()) + ":" + port + strings.TrimRight(u.Path, "/")
}

func (c *checker) webURL(at, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https"):
		c.fail(at, "is not an absolute http or https address; write one such as https://host/path, or leave the key out")
	case u.User != nil || u.Fragment != "":
		c.fail(at, "carries a user, password or fragment; leave those out")
	}
}

func (c *checker) oneOf(at, got string, allowed ...string) {
	if !slices.Contains(allowed, got) {
		c.fail(at, "is not one of its values; write %s", strings.Join(allowed, ", "))
	}
}

func (c *checker) atLeast(at string, got, low int) {
	if got < low {
		c.fail(at, "is too small; write %d or more", low)
	}
}

func (c *checker) between(at string, got, low, high int) {
	if got < low || got > high {
		c.fail(at, "is out of range; write %d to %d", low, high)
	}
}

func (c *checker) notNegative(at string, d time.Duration) {
	if d < 0 {
		c.fail(at, "is negative; write 0 or more")
	}
}

func (c *checker) positive(at string, d time.Duration) {
	if d <= 0 {
		c.fail(at, "is not positive; write a duration such as 30s")
	}
}
