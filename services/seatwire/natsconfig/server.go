package natsconfig

import (
	"fmt"
	"path"
	"strings"
)

const written = "# Written by seatwire nats config: run it again instead of editing.\n"

// server is the configuration of one node.
func (c Config) server(node string) string {
	var b strings.Builder
	b.WriteString(written)
	fmt.Fprintf(&b, "server_name: %q\nport: 4222\nhttp: 8222 # monitoring, without credentials: keep it inside\nmax_payload: 1MB\n", node)
	fmt.Fprintf(&b, "tls {%s min_version: \"1.3\", timeout: 5 }\n", c.files(node))
	// A single node acknowledges only what is on its disk; several may share one power supply.
	fmt.Fprintf(&b, "jetstream {\n  store_dir: %q\n  max_file_store: 16GB\n  max_memory_store: 64MB\n  sync_interval: always\n  limits { default_max_consumers: 10000 } # a stream of lanes has one for each connection\n  cipher: chachapoly\n  include %q\n}\n",
		c.Store, "./jetstream-key.conf")
	if len(c.Nodes) > 1 {
		// Nodes tell each other, and clients, of nodes by the names that are in their certificates, not by addresses.
		fmt.Fprintf(&b, "client_advertise: \"%s:4222\"\n", node)
		fmt.Fprintf(&b, "cluster {\n  name: seatwire\n  port: 6222\n  advertise: \"%s:6222\"\n  routes: [%s]\n  tls {%s verify: true, timeout: 5 }\n}\n", node, c.routes(node), c.files(node))
	}
	b.WriteString("include \"./accounts.conf\"\n")
	return b.String()
}

func (c Config) files(node string) string {
	at := path.Join(c.At, "tls")
	return fmt.Sprintf(" cert_file: %q, key_file: %q, ca_file: %q,", path.Join(at, node+".pem"), path.Join(at, node+".key"), path.Join(at, "ca.pem"))
}

func (c Config) routes(node string) string {
	var others []string
	for _, other := range c.Nodes {
		if other != node {
			others = append(others, fmt.Sprintf("%q", "tls://"+other+":6222"))
		}
	}
	return strings.Join(others, ", ")
}
