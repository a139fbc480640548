package natsconfig

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/streams"
)

func cluster(t *testing.T) Config {
	t.Helper()
	return Config{
		Dir: t.TempDir(), At: "/etc/nats", Store: "/data", Nodes: []string{"nats-1", "nats-2", "nats-3"}, Topology: streams.For(config.Default()),
		Systems: []streams.PublishingSystem{{Name: "hr"}},
	}
}

func write(t *testing.T, c Config) Result {
	t.Helper()
	r, err := Write(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// files are all files below a directory with their contents.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, pattern := range []string{"*", "*/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if content, err := os.ReadFile(path); err == nil {
				all[strings.TrimPrefix(path, dir)] = string(content)
			}
		}
	}
	return all
}

func TestWrite_againChangesNothing(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	if r := write(t, c); len(r.Made) == 0 {
		t.Error("made nothing")
	}
	first := files(t, c.Dir)
	if r := write(t, c); len(r.Made) != 0 {
		t.Errorf("made %v again", r.Made)
	}
	if diff := cmp.Diff(first, files(t, c.Dir)); diff != "" {
		t.Error(diff)
	}
}

func TestWrite_addsASystemAndANodeAndKeepsEveryKey(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	write(t, c)
	first := files(t, c.Dir)
	c.Nodes = append(c.Nodes, "nats-4")
	c.Systems = append(c.Systems, streams.PublishingSystem{Name: "idp"})
	if r := write(t, c); !cmp.Equal(r.Made, []string{"users/idp.nk", "tls/nats-4.key"}) {
		t.Errorf("made %v", r.Made)
	}
	now := files(t, c.Dir)
	for name, content := range first {
		if strings.HasSuffix(name, ".nk") || strings.HasPrefix(name, "/tls/") || strings.HasSuffix(name, "-key.conf") {
			if now[name] != content {
				t.Errorf("%s changed", name)
			}
		}
	}
	if !strings.Contains(now["/nats-1.conf"], "tls://nats-4:6222") || !strings.Contains(now["/accounts.conf"], "SYSTEM_idp") {
		t.Error("the servers do not know the new ones")
	}
}

func TestWrite_makesARotatedKeyAnew(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	write(t, c)
	before := files(t, c.Dir)
	for _, name := range []string{"users/hr.nk", "tls/nats-2.key"} {
		if err := os.Remove(filepath.Join(c.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, c)
	after := files(t, c.Dir)
	for _, name := range []string{"/users/hr.nk", "/tls/nats-2.key", "/tls/nats-2.pem", "/accounts.conf"} {
		if before[name] == after[name] {
			t.Errorf("%s is as before", name)
		}
	}
}

func TestWrite_keepsSecretsToTheirOwner(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	for _, name := range write(t, c).Made {
		info, err := os.Stat(filepath.Join(c.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if want := os.FileMode(secret); name != "tls/ca.pem" && info.Mode().Perm() != want {
			t.Errorf("%s has mode %s, want %s", name, info.Mode(), want)
		}
	}
}

func TestWrite_certificatesAreGoodForTheirHost(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Nodes = []string{"nats-1", "127.0.0.2"}
	write(t, c)
	all := files(t, c.Dir)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(all["/tls/ca.pem"])) {
		t.Fatal("no authority")
	}
	for _, node := range c.Nodes {
		cert, err := parse([]byte(all["/tls/"+node+".pem"]))
		if err != nil {
			t.Fatal(err)
		}
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			if _, err := cert.Verify(x509.VerifyOptions{DNSName: node, Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
				t.Errorf("%s: %v", node, err)
			}
		}
	}
}

func TestWrite_refuses(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"no node":                 func(c *Config) { c.Nodes = nil },
		"a node that is a path":   func(c *Config) { c.Nodes = []string{"../x"} },
		"a system named fetcher":  func(c *Config) { c.Systems[0].Name = streams.Fetcher },
		"a system named monitor":  func(c *Config) { c.Systems[0].Name = Monitor },
		"a system with a dot":     func(c *Config) { c.Systems[0].Name = "hr.acme" },
		"a system twice":          func(c *Config) { c.Systems = append(c.Systems, c.Systems[0]) },
		"a directory that is not": func(c *Config) { c.Dir = "/dev/null/x" },
		"a seed that is none": func(c *Config) {
			write(t, *c)
			file := filepath.Join(c.Dir, "users", "hr.nk")
			if err := os.Chmod(file, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		c := cluster(t)
		change(&c)
		if _, err := Write(c); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}
