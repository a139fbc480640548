// Package natsconfig writes what NATS servers need to run Seatwire with least privilege: a configuration for each node,
// the accounts with every user's permissions, users' nkey seeds, certificates, and the key that encrypts what is stored.
//
// Everything follows from the topology and the list of publishing systems. What is secret is made once and kept: writing
// again into the same directory changes permissions and nodes, never a key. To rotate a key, delete its file first.
package natsconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seatwire/seatwire/pkg/events"
	"github.com/seatwire/seatwire/pkg/streams"
)

// Monitor is the user of the system account: for NATS's own reports, never for messages.
const Monitor = "monitor"

// Config says for whom and for which servers.
type Config struct {
	// Dir receives the files. It is created with 0700 when missing.
	Dir string
	// At is the path under which the servers see Dir.
	At string
	// Store is the servers' data directory.
	Store string
	// Nodes are the servers' host names, in their certificates too. Several form a cluster.
	Nodes []string
	// Topology is what the users' permissions follow from.
	Topology streams.Topology
	// Systems are the other systems that publish events.
	Systems []streams.PublishingSystem
}

// Result names what was made, for the operator.
type Result struct {
	// Users have a seed in users/NAME.nk each.
	Users []string
	// Made are the files that are made once and were not there before.
	Made []string
}

// Write makes the files. It can be repeated; a file that cannot be written ends it with an error that names the path.
func Write(c Config) (Result, error) {
	if err := c.check(); err != nil {
		return Result{}, err
	}
	d := &directory{root: c.Dir}
	users, err := c.users(d)
	if err != nil {
		return Result{}, err
	}
	if err := d.certificates(c.Nodes); err != nil {
		return Result{}, err
	}
	if err := d.storeKey(); err != nil {
		return Result{}, err
	}
	if err := d.replace("accounts.conf", c.accounts(users)); err != nil {
		return Result{}, err
	}
	for _, node := range c.Nodes {
		if err := d.replace(node+".conf", c.server(node)); err != nil {
			return Result{}, err
		}
	}
	result := Result{Made: d.made}
	for _, u := range users {
		result.Users = append(result.Users, u.name)
	}
	return result, nil
}

func (c Config) check() error {
	if len(c.Nodes) == 0 {
		return errors.New("there is no node: name at least one host")
	}
	for _, node := range c.Nodes {
		if node == "" || strings.ContainsAny(node, "/\\\" \t\r\n") {
			return fmt.Errorf("%q is no host name", node)
		}
	}
	taken := append(streams.Users(), Monitor)
	for _, s := range c.Systems {
		switch {
		case !events.LegalName(s.Name):
			return fmt.Errorf("%q cannot name a publishing system: use 1 to 32 lower-case letters, digits and hyphens", s.Name)
		case slices.Contains(taken, s.Name):
			return fmt.Errorf("the name %s is taken; give the publishing system another", s.Name)
		}
		taken = append(taken, s.Name)
	}
	return nil
}

// user is one user of the broker.
type user struct {
	name, public string
	may          streams.Permissions
}

// users makes the seeds that are missing. The result has our programs first, then the systems, the monitor last.
func (c Config) users(d *directory) (users []user, err error) {
	names, may := streams.Users(), []streams.Permissions{}
	for _, name := range names {
		may = append(may, c.Topology.Permissions(name))
	}
	for _, s := range c.Systems {
		names, may = append(names, s.Name), append(may, streams.SystemPermissions(s))
	}
	for i, name := range append(names, Monitor) {
		u := user{name: name}
		if u.public, err = d.seed(name); err != nil {
			return nil, err
		}
		if name != Monitor {
			u.may = may[i]
		}
		users = append(users, u)
	}
	return users, nil
}

// directory is where the files go.
type directory struct {
	root string
	made []string
}

// replace writes a file that holds no secret, in one step, so that a server which reads it meanwhile sees a whole one.
func (d *directory) replace(name, content string) error {
	path := filepath.Join(d.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", []byte(content), public); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// secret is the mode of files that only their owner may read, public of the others.
const (
	secret = 0o400
	public = 0o644
)

// keep returns a file's content, and makes it when it is not there.
func (d *directory) keep(name string, mode os.FileMode, make func() ([]byte, error)) ([]byte, error) {
	path := filepath.Join(d.root, name)
	content, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return content, err
	}
	if content, err = make(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	d.made = append(d.made, name)
	return content, os.WriteFile(path, content, mode)
}
