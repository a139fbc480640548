package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFileBytes bounds the file; a thousand connections take about one megabyte.
const maxFileBytes = 4 << 20

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// Secrets says which vendors' secrets a program reads, and so which must be there when it starts.
type Secrets uint8

// A program may need several.
const (
	PluralsightSecrets Secrets = 1 << iota
	ProductivSecrets

	noFiles
)

// Load reads the file at path, applies the defaults and checks everything, the secrets' presence included. Its error
// is one line that names the file, the line and key if known, and the mend; it never quotes a value.
func Load(path string) (*Config, error) { return LoadFor(path, PluralsightSecrets|ProductivSecrets) }

// LoadWithoutFiles is Load for whoever makes what the configuration names: neither secrets nor files need be there.
func LoadWithoutFiles(path string) (*Config, error) { return LoadFor(path, noFiles) }

// LoadFor is Load for a program that reads only some secrets: the others' files need not be there, so that nobody has to
// mount them where they are not read.
func LoadFor(path string, secrets Secrets) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, text, secrets)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read the configuration: %w; name it with -config FILE or SEATWIRE_CONFIG", path, pathCause(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: cannot read the configuration: %w; name it with -config FILE or SEATWIRE_CONFIG", path, pathCause(err))
	}
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("%s: the file is longer than %d bytes; is this the configuration?", path, maxFileBytes)
	}
	return text, nil
}

// parse is LoadFor without the file system.
func parse(file string, text []byte, secrets Secrets) (*Config, error) {
	doc := &document{file: file, lines: make(map[string]int), names: make(map[string]string)}
	root, err := doc.parseYAML(text)
	if err != nil {
		return nil, err
	}
	cfg := Default()
	if root != nil {
		err = doc.decode(root, reflect.ValueOf(cfg).Elem(), "")
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return nil, doc.render(p)
	}
	c := &checker{cfg: cfg}
	c.all(secrets)
	if len(c.problems) > 0 {
		return nil, doc.render(c.problems[0])
	}
	return cfg, nil
}

// parseYAML returns the one document of the file, or nil when it holds nothing.
func (d *document) parseYAML(text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	switch err := dec.Decode(&root); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, d.syntaxError(err)
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		return nil, d.render(problemf("", "holds more than one YAML document; keep one"))
	case !errors.Is(err, io.EOF):
		return nil, d.syntaxError(err)
	}
	return root.Content[0], nil
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

// syntaxError keeps the line and the kind of a YAML error. Of the library's messages only those about anchors quote
// the file, and a secret that begins with an asterisk looks like an anchor: those are replaced.
func (d *document) syntaxError(err error) error {
	where, text := d.file, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		where, text = d.file+":"+m[1], err.Error()[len(m[0]):]
	}
	if strings.Contains(text, "anchor") {
		text = "an alias (*name) has no anchor (&name)"
	}
	return fmt.Errorf("%s: is not YAML: %s; quote texts that hold special characters and check the indentation", where, oneLine(text))
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// Connection returns the connection of that name.
func (c *Config) Connection(name string) (Connection, bool) {
	i := slices.IndexFunc(c.Connections, func(k Connection) bool { return k.Name == name })
	if i < 0 {
		return Connection{}, false
	}
	return c.Connections[i], true
}

// BrokerURL is where NATS is: the configured URL, or where `seatwire up` listens when none is configured.
func (c *Config) BrokerURL() string {
	if c.NATS.URL != "" {
		return c.NATS.URL
	}
	host, port, err := net.SplitHostPort(c.NATS.Listen)
	if err != nil {
		return "nats://" + c.NATS.Listen
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1" // "every interface" is an address to listen on, not one to call
	}
	return "nats://" + net.JoinHostPort(host, port)
}

// listenPort returns the port of host:port if it is one to listen on.
func listenPort(addr string) (int, bool) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(port)
	return n, err == nil && n >= 1 && n <= 65535
}
