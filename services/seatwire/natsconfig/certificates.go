package natsconfig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Certificates last as long as an installation is likely to, the nodes' as long as browsers would take them.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	nodeLife      = 397 * 24 * time.Hour
	// renewBefore is how much of a node's certificate may be left when it is made anew.
	renewBefore = 30 * 24 * time.Hour
)

// certificates makes an authority and a certificate for each node. A node's is kept until it is about to end.
func (d *directory) certificates(nodes []string) error {
	ca, err := d.authority()
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if err := d.node(ca, node); err != nil {
			return err
		}
	}
	return nil
}

// authority is who signs.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func (d *directory) authority() (*authority, error) {
	key, err := d.key("tls/ca.key")
	if err != nil {
		return nil, err
	}
	content, err := d.keep("tls/ca.pem", public, func() ([]byte, error) {
		template := certificate("Seatwire NATS CA", authorityLife)
		template.IsCA, template.BasicConstraintsValid = true, true
		template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		return sign(template, template, key, key)
	})
	if err != nil {
		return nil, err
	}
	cert, err := parse(content)
	if err == nil && !key.PublicKey.Equal(cert.PublicKey) {
		err = errors.New("tls/ca.pem and tls/ca.key do not belong together; delete both to have new ones made")
	}
	return &authority{key, cert}, err
}

// node makes a certificate for a host, which is server to clients and both to its peers.
func (d *directory) node(ca *authority, host string) error {
	key, err := d.key("tls/" + host + ".key")
	if err != nil {
		return err
	}
	name := "tls/" + host + ".pem"
	if content, err := os.ReadFile(filepath.Join(d.root, name)); err == nil && lasts(content, ca, key) {
		return nil
	}
	template := certificate(host, nodeLife)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{host, "localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if ip := net.ParseIP(host); ip != nil {
		template.DNSNames, template.IPAddresses = []string{"localhost"}, append(template.IPAddresses, ip)
	}
	content, err := sign(template, ca.cert, key, ca.key)
	if err != nil {
		return err
	}
	return d.replace(name, string(content))
}

// lasts reports whether a node's certificate needs no renewal.
func lasts(content []byte, ca *authority, key *ecdsa.PrivateKey) bool {
	cert, err := parse(content)
	return err == nil && cert.CheckSignatureFrom(ca.cert) == nil && key.PublicKey.Equal(cert.PublicKey) &&
		time.Until(cert.NotAfter) > renewBefore
}

func (d *directory) key(name string) (*ecdsa.PrivateKey, error) {
	content, err := d.keep(name, secret, func() ([]byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, errors.New(name + " is no PEM file; delete it to have a new one made")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New(name + " holds no key of ours; delete it to have a new one made")
	}
	return key, nil
}

func certificate(name string, life time.Duration) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // the system's source of chance does not fail
	}
	now := time.Now().Add(-time.Hour) // clocks differ
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: now, NotAfter: now.Add(life)}
}

func sign(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
}

func parse(content []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(bytes.TrimSpace(content))
	if block == nil {
		return nil, errors.New("a certificate is no PEM file; delete it to have a new one made")
	}
	return x509.ParseCertificate(block.Bytes)
}
