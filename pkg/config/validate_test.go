package config

import (
	"strings"
	"testing"
)

// acme is a legal connection up to its pluralsight section's last key; tests append to it.
const acme = "connections:\n  - name: acme\n    pluralsight:\n      token: {value: " + hush + "}\n"

const app = acme + "    productiv:\n      appId: app-1\n"

const credentials = "      clientId: id\n      clientSecret: {value: " + hush + "}\n"

// refusals is the golden table: a file, and the one line that an operator reads.
var refusals = []struct{ text, want string }{
	// Shape.
	{"", "f.yaml: connections: lists no connection; add one with a name and a pluralsight.token"},
	{"connections: []", "f.yaml:1: connections: lists no connection; add one with a name and a pluralsight.token"},
	{"- a", "f.yaml: has the wrong shape; write a map of keys"},
	{"connections: {}", "f.yaml:1: connections: has the wrong shape; write a list"},
	{"connections: [a]", "f.yaml:1: connections[0]: has the wrong shape; write a map of keys"},
	{"a: [", "f.yaml:1: is not YAML: did not find expected node content; quote texts that hold special characters and check the indentation"},
	{minimal + "---\n" + minimal, "f.yaml: holds more than one YAML document; keep one"},
	{minimal + "nats:\n  urll: x\n", "f.yaml:3: nats.urll: is not a known key; use one of credentials, listen, replicas, storeDir, tls, url"},
	{minimal + "limits: {fetchConcurrency: 1, fetchConcurrency: 2}\n", "f.yaml:2: limits.fetchConcurrency: is given twice; keep one"},
	{acme + "    guards: {maxRemovals: [1]}\n", "f.yaml:5: connections[acme].guards.maxRemovals: has the wrong shape; write a single value"},
	{acme + "    guards: {maxRemovals: " + hush + "}\n", "f.yaml:5: connections[acme].guards.maxRemovals: is not a whole number; write one such as 10"},
	{acme + "    guards: {maxRemovals: 99999999999999999999}\n", "f.yaml:5: connections[acme].guards.maxRemovals: is not a whole number; write one such as 10"},
	{acme + "    guards: {allowEmpty: " + hush + "}\n", "f.yaml:5: connections[acme].guards.allowEmpty: is not a yes or no; write true or false"},
	{acme + "    sync: {every: 6}\n", "f.yaml:5: connections[acme].sync.every: is not a duration; write a number with a unit, such as 30s or 6h"},

	// Secrets.
	{"connections: [{name: acme}]", "f.yaml:1: connections[acme].pluralsight.token: API token is missing; write {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections: [{name: acme, pluralsight: {token: {}}}]", "f.yaml:1: connections[acme].pluralsight.token: API token is missing; write {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections:\n- pluralsight:\n    token: " + hush + "\n  name: acme\n", "f.yaml:3: connections[acme].pluralsight.token: is not a map; write exactly one of {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections: [{name: acme, pluralsight: {token: {" + hush + "}}}]", "f.yaml:1: connections[acme].pluralsight.token: has other keys than it may; write exactly one of {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections: [{name: acme, pluralsight: {token: {file: a, env: B}}}]", "f.yaml:1: connections[acme].pluralsight.token: has other keys than it may; write exactly one of {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections: [{name: acme, pluralsight: {token: {file: }}}]", "f.yaml:1: connections[acme].pluralsight.token: has an empty file; write exactly one of {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections: [{name: acme, pluralsight: {token: {value: [" + hush + "]}}}]", "f.yaml:1: connections[acme].pluralsight.token: has a value that is not text; write exactly one of {file: PATH}, {env: NAME} or {value: TEXT}"},
	{"connections: [{name: acme, pluralsight: {token: {value: *" + hush + "}}}]", "f.yaml: is not YAML: an alias (*name) has no anchor (&name); quote texts that hold special characters and check the indentation"},
	{"connections: [{name: acme, pluralsight: {token: {value: ''}}}]", "f.yaml:1: connections[acme].pluralsight.token: API token is missing: value is empty; put it there or name another place"},
	{"connections: [{name: acme, pluralsight: {token: {env: SEATWIRE_TEST_UNSET}}}]", "f.yaml:1: connections[acme].pluralsight.token: API token is missing: environment variable SEATWIRE_TEST_UNSET is not set; put it there or name another place"},
	{app + "      clientId: id\n      clientSecret: {env: SEATWIRE_TEST_UNSET}\n", "f.yaml:8: connections[acme].productiv.clientSecret: client secret is missing: environment variable SEATWIRE_TEST_UNSET is not set; put it there or name another place"},
	{minimal + hush + ": x\n", "f.yaml:2: (not a plain word): is not a known key; use one of connections, deadLetters, limits, nats, retry"},

	// Broker and limits.
	{minimal + "nats: {url: 'localhost:4222'}", "f.yaml:2: nats.url: is not a list of broker addresses; write nats://host:4222, or more of them with commas between"},
	{minimal + "nats: {url: 'nats://a,'}", "f.yaml:2: nats.url: is not a list of broker addresses; write nats://host:4222, or more of them with commas between"},
	{minimal + "nats: {listen: 4222}", "f.yaml:2: nats.listen: is not host:port; write one such as 127.0.0.1:4222"},
	{minimal + "nats: {storeDir: ''}", "f.yaml:2: nats.storeDir: is empty; name the directory for the embedded server's data"},
	{minimal + "nats: {replicas: 6, url: 'nats://a'}", "f.yaml:2: nats.replicas: is out of range; write 1 to 5"},
	{minimal + "nats: {replicas: 3}", "f.yaml:2: nats.replicas: is more than the embedded server has; write 1, or name a cluster in nats.url"},
	{minimal + "nats: {credentials: /nowhere/x.creds}", "f.yaml:2: nats.credentials: cannot be read: no such file or directory; put the file there or name another"},
	{minimal + "nats: {tls: {cert: a.pem}}", "f.yaml:2: nats.tls: has a cert without its key, or a key without its cert; give both or neither"},
	{minimal + "limits: {fetchConcurrency: 0}", "f.yaml:2: limits.fetchConcurrency: is too small; write 1 or more"},
	{minimal + "retry: {maxAttempts: 0}", "f.yaml:2: retry.maxAttempts: is too small; write 1 or more"},
	{minimal + "retry: {initialDelay: -1s}", "f.yaml:2: retry.initialDelay: is negative; write 0 or more"},
	{minimal + "retry: {callTimeout: 0}", "f.yaml:2: retry.callTimeout: is not positive; write a duration such as 30s"},
	{minimal + "deadLetters: {maxDeliveries: 0}", "f.yaml:2: deadLetters.maxDeliveries: is too small; write 1 or more"},

	// Connections.
	{"connections: [{pluralsight: {token: {value: x}}}]", "f.yaml:1: connections[0].name: is missing; give the connection a name such as acme"},
	{"connections: [{name: Acme, pluralsight: {token: {value: x}}}]", "f.yaml:1: connections[0].name: is not a legal name; use 1 to 32 lower-case letters, digits and hyphens, a letter or digit first"},
	{acme + "  - name: acme\n    pluralsight: {token: {value: x}}\n", "f.yaml:5: connections[acme].name: is the name of an earlier connection (number 1) too; give each its own"},
	{acme + "      graphqlUrl: example.com/graphql\n", "f.yaml:5: connections[acme].pluralsight.graphqlUrl: is not an absolute http or https address; write one such as https://host/path, or leave the key out"},
	{acme + "      deprovisionUrl: https://user:" + hush + "@example.com/\n", "f.yaml:5: connections[acme].pluralsight.deprovisionUrl: carries a user, password or fragment; leave those out"},
	{acme + "      deprovisionAuth: digest\n", "f.yaml:5: connections[acme].pluralsight.deprovisionAuth: is not one of its values; write bearer, basic"},
	{acme + "      pageSize: 1001\n", "f.yaml:5: connections[acme].pluralsight.pageSize: is out of range; write 1 to 1000"},
	{acme + "    sync: {every: -1s}\n", "f.yaml:5: connections[acme].sync.every: is negative; write 0 or more"},
	{acme + "    guards: {maxRemovalPercent: 101}\n", "f.yaml:5: connections[acme].guards.maxRemovalPercent: is out of range; write 0 to 100"},
	{acme + "    guards: {maxRemovals: -1}\n", "f.yaml:5: connections[acme].guards.maxRemovals: is too small; write 0 or more"},
	{acme + "    guards: {maxRemovalPercent24h: -1}\n", "f.yaml:5: connections[acme].guards.maxRemovalPercent24h: is out of range; write 0 to 100"},

	// Productiv.
	{acme + "    productiv: {}\n", "f.yaml:5: connections[acme].productiv.appId: is missing or not an id; copy it from Productiv's application page"},
	{acme + "    productiv: {appId: '..'}\n", "f.yaml:5: connections[acme].productiv.appId: is missing or not an id; copy it from Productiv's application page"},
	{app, "f.yaml:5: connections[acme].productiv: has no credentials; give accessToken alone, or clientId with clientSecret"},
	{app + credentials + "      accessToken: {value: x}\n", "f.yaml:9: connections[acme].productiv.accessToken: is given beside clientId or clientSecret; give accessToken alone, or clientId with clientSecret"},
	{app + "      clientId: id\n", "f.yaml:5: connections[acme].productiv.clientSecret: client secret is missing; give accessToken alone, or clientId with clientSecret"},
	{app + "      clientSecret: {value: x}\n", "f.yaml:5: connections[acme].productiv.clientId: is missing; give accessToken alone, or clientId with clientSecret"},
	{app + credentials + "      baseUrl: ''\n", "f.yaml:9: connections[acme].productiv.baseUrl: is not an absolute http or https address; write one such as https://host/path, or leave the key out"},
	{app + credentials + "      tokenUrl: ftp://a/b\n", "f.yaml:9: connections[acme].productiv.tokenUrl: is not an absolute http or https address; write one such as https://host/path, or leave the key out"},
	{app + credentials + "      mode: replace\n", "f.yaml:9: connections[acme].productiv.mode: is not one of its values; write reconcile, append, replace-single"},
	{app + credentials + "      batchSize: 0\n", "f.yaml:9: connections[acme].productiv.batchSize: is out of range; write 1 to 1000"},
	{app + credentials + "      include: all\n", "f.yaml:9: connections[acme].productiv.include: is not one of its values; write on-account, billable"},
	{app + credentials + "      username: id\n", "f.yaml:9: connections[acme].productiv.username: is not one of its values; write none, sso, email"},
	{app + credentials + "      licenses: [{product: a, label: b}, {product: c}]\n", "f.yaml:9: connections[acme].productiv.licenses[1]: lacks its product or its label; give both"},
	{
		app + credentials + "      baseUrl: https://Host.example/api/\n  - name: bolt\n    pluralsight: {token: {value: x}}\n    productiv: {baseUrl: 'https://host.example:443/api', appId: app-1, accessToken: {value: x}}\n",
		"f.yaml:12: connections[bolt].productiv.appId: is the Productiv app of connection acme too, and each would delete the other's people; give each connection its own app",
	},

	// Deprovision.
	{acme + "    deprovision: {apply: yes}\n", "f.yaml:5: connections[acme].deprovision.apply: is not one of its values; write dry-run, review, auto"},
	{acme + "    deprovision: {batchMaxUsers: 0}\n", "f.yaml:5: connections[acme].deprovision.batchMaxUsers: is too small; write 1 or more"},
	{acme + "    deprovision: {batchMaxAge: -1s}\n", "f.yaml:5: connections[acme].deprovision.batchMaxAge: is negative; write 0 or more"},
	{acme + "    deprovision: {maxUsersPerBatchAuto: -1}\n", "f.yaml:5: connections[acme].deprovision.maxUsersPerBatchAuto: is too small; write 0 or more"},
	{acme + "    deprovision: {maxUsers24hAuto: -1}\n", "f.yaml:5: connections[acme].deprovision.maxUsers24hAuto: is too small; write 0 or more"},
	{acme + "    deprovision: {maxEventAge: 0}\n", "f.yaml:5: connections[acme].deprovision.maxEventAge: is not positive; write a duration such as 30s"},
	{acme + "    deprovision: {verifyWithin: 0}\n", "f.yaml:5: connections[acme].deprovision.verifyWithin: is not positive; write a duration such as 30s"},
	{acme + "    deprovision: {verifyEvery: 0}\n", "f.yaml:5: connections[acme].deprovision.verifyEvery: is not positive; write a duration such as 30s"},
	{acme + "    deprovision:\n      protect:\n        - '*@example.com'\n        - '[a'\n", "f.yaml:8: connections[acme].deprovision.protect[1]: is not a valid glob; use * and ? and [a-z], and close every bracket"},
	{acme + "    deprovision: {protect: [example.com]}\n", "f.yaml:5: connections[acme].deprovision.protect[0]: matches no e-mail address; write an address, or a glob such as *@example.com"},
}

func TestLoad_Refusals(t *testing.T) {
	t.Parallel()
	for _, c := range refusals {
		_, err := parse("f.yaml", []byte(c.text), PluralsightSecrets|ProductivSecrets)
		if err == nil {
			t.Errorf("accepted:\n%s", c.text)
			continue
		}
		if err.Error() != c.want {
			t.Errorf("for:\n%s\n got %s\nwant %s", c.text, err, c.want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("quotes a secret: %s", err)
		}
	}
}
