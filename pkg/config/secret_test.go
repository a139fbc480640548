package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const hush = "s3cr3t-hunter2"

func TestSecret_ReadFollowsTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	secret := SecretFile(path)
	for _, c := range []struct{ content, want string }{
		{"one", "one"},
		{"two", "two"}, // same length, maybe the same time stamp
		{"three\n", "three"},
		{"four\r\n", "four"},
		{"five\n\n", "five\n"},
		{" six ", " six "},
	} {
		writeFile(t, path, c.content)
		if got, err := secret.Read(); err != nil || got != c.want {
			t.Errorf("content %q: got %q, %v; want %q", c.content, got, err, c.want)
		}
	}
}

func TestSecret_ReadSaysWhichIsMissing(t *testing.T) {
	t.Setenv("SEATWIRE_TEST_EMPTY", "")
	t.Setenv("SEATWIRE_TEST_SET", hush)
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	writeFile(t, empty, "\n")
	long := filepath.Join(dir, "long")
	writeFile(t, long, strings.Repeat("x", maxSecretBytes+1))
	for name, c := range map[string]struct {
		secret Secret
		want   string
	}{
		"none":         {Secret{}, "no secret is configured"},
		"missing file": {SecretFile(dir + "/none"), "file " + dir + "/none: no such file or directory"},
		"empty file":   {SecretFile(empty), "file " + empty + " is empty"},
		"directory":    {SecretFile(dir), "file " + dir + " is not a regular file"},
		"long file":    {SecretFile(long), "file " + long + " is longer than 65536 bytes"},
		"unset env":    {SecretEnv("SEATWIRE_TEST_UNSET"), "environment variable SEATWIRE_TEST_UNSET is not set"},
		"empty env":    {SecretEnv("SEATWIRE_TEST_EMPTY"), "environment variable SEATWIRE_TEST_EMPTY is empty"},
		"blank value":  {SecretValue(" "), "value is empty"},
	} {
		if got, err := c.secret.Read(); err == nil || err.Error() != c.want || got != "" {
			t.Errorf("%s: got %q, %v; want error %q", name, got, err, c.want)
		}
	}
	if got, err := SecretEnv("SEATWIRE_TEST_SET").Read(); got != hush || err != nil {
		t.Errorf("set env: got %q, %v", got, err)
	}
}

// TestSecret_IsNeverPrinted prints one in every way that we know, hidden in an unexported field included.
func TestSecret_IsNeverPrinted(t *testing.T) {
	t.Parallel()
	secret := SecretValue(hush)
	type holder struct {
		Open   Secret
		hidden Secret
		ptr    *Secret
	}
	h := holder{secret, secret, &secret}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%o"} {
		fmt.Fprintf(&out, verb+"\n", secret)
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", &h)
		fmt.Fprintf(&out, verb+"\n", []any{secret, map[string]Secret{"k": secret}})
	}
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "secret", secret, "holder", h, "ptr", &secret)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "secret", secret, "holder", h)
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, yaml.Marshal} {
		text, err := marshal(struct {
			S Secret
			M map[string]Secret
		}{secret, map[string]Secret{"k": secret}})
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	fmt.Fprintln(&out, secret.String(), secret.GoString(), fmt.Errorf("with %v", secret))
	hexed := fmt.Sprintf("%x", hush)
	if text := out.String(); strings.Contains(text, "hunter2") || strings.Contains(strings.ToLower(text), hexed) {
		t.Errorf("the secret is in:\n%s", text)
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing was printed in its place")
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
