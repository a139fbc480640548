package natsconfig

import (
	"bytes"
	"crypto/rand"
	"fmt"

	"github.com/nats-io/nkeys"
)

// seed returns the public key of a user whose secret one is in users/NAME.nk.
func (d *directory) seed(name string) (public string, err error) {
	file := "users/" + name + ".nk"
	content, err := d.keep(file, secret, func() ([]byte, error) {
		key, err := nkeys.CreateUser()
		if err != nil {
			return nil, err
		}
		seed, err := key.Seed()
		return append(seed, '\n'), err
	})
	if err != nil {
		return "", err
	}
	key, err := nkeys.FromSeed(bytes.TrimSpace(content))
	if err != nil {
		return "", fmt.Errorf("%s holds no nkey seed; delete it to have a new one made", file)
	}
	return key.PublicKey()
}

// storeKey makes the key under which JetStream's files are encrypted. Whoever loses it loses the streams.
func (d *directory) storeKey() error {
	_, err := d.keep("jetstream-key.conf", secret, func() ([]byte, error) {
		return fmt.Appendf(nil, "key: %q\n", rand.Text()+rand.Text()), nil
	})
	return err
}
