package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
)

// redacted stands wherever a Secret is printed.
const redacted = "[redacted]"

// maxSecretBytes bounds a secret file: a wrong path must not pull a database into memory.
const maxSecretBytes = 64 << 10

// Secret says where a secret is; it does not hold it, except for {value: …}.
//
// Read gives the content; every way of printing one gives "[redacted]". In somebody's unexported field fmt cannot call
// our methods and prints what it finds, following pointers for some verbs. It cannot look into a function: hence one.
type Secret struct {
	place func() place
}

func secretAt(kind, ref string) Secret {
	return Secret{func() place { return place{kind, ref} }}
}

// place is one of the three ways to give a secret.
type place struct {
	kind string // "file", "env" or "value"
	ref  string // path, variable name, or the secret itself
}

// SecretValue is a secret given in plain text: for tests, and for {value: TEXT}.
func SecretValue(text string) Secret { return secretAt("value", text) }

// SecretFile is a secret in a file.
func SecretFile(path string) Secret { return secretAt("file", path) }

// SecretEnv is a secret in an environment variable.
func SecretEnv(name string) Secret { return secretAt("env", name) }

// IsZero says that the configuration names no secret here.
func (s Secret) IsZero() bool { return s.place == nil }

// inFile says that the secret is a file of its own.
func (s Secret) inFile() bool { return s.place != nil && s.place().kind == "file" }

// Read returns the secret without its one trailing newline, or an error that says which secret is missing or empty.
//
// A file is read each time: it costs microseconds before a call that takes milliseconds, it cannot miss a rotation
// as a remembered time stamp can, and there is no copy to go stale.
func (s Secret) Read() (string, error) {
	if s.place == nil {
		return "", errors.New("no secret is configured")
	}
	where := s.place()
	text, err := where.read()
	if err != nil {
		return "", err
	}
	if rest, found := strings.CutSuffix(text, "\n"); found {
		text = strings.TrimSuffix(rest, "\r")
	}
	if strings.TrimSpace(text) == "" {
		return "", fmt.Errorf("%s is empty", where.name())
	}
	return text, nil
}

func (p place) read() (string, error) {
	switch p.kind {
	case "file":
		return readSecretFile(p.ref)
	case "env":
		text, set := os.LookupEnv(p.ref) //nolint:forbidigo // {env: NAME} is an operator's instruction to read it here
		if !set {
			return "", fmt.Errorf("environment variable %s is not set", p.ref)
		}
		return text, nil
	default:
		return p.ref, nil
	}
}

// name says which secret without saying what it is.
func (p place) name() string {
	switch p.kind {
	case "file":
		return "file " + p.ref
	case "env":
		return "environment variable " + p.ref
	default:
		return "value"
	}
}

func readSecretFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, pathCause(err))
	}
	if !info.Mode().IsRegular() { // a pipe would block for ever, at start and at each call
		return "", fmt.Errorf("file %s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, pathCause(err))
	}
	defer func() { _ = f.Close() }() // it was only read
	var text bytes.Buffer
	n, err := io.Copy(&text, io.LimitReader(f, maxSecretBytes+1))
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, pathCause(err))
	}
	if n > maxSecretBytes {
		return "", fmt.Errorf("file %s is longer than %d bytes", path, maxSecretBytes)
	}
	return text.String(), nil
}

// pathCause strips the operation and the path, which our own sentence names already.
func pathCause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// String redacts.
func (Secret) String() string { return redacted }

// GoString redacts %#v.
func (Secret) GoString() string { return redacted }

// Format redacts every verb, %x and %d included.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue redacts in slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON redacts in JSON.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText redacts in YAML, XML and as a map key.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
