package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunServesBothUntilToldToStop(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, config{"127.0.0.1:0", "127.0.0.1:0", 10, 1}, slog.New(slog.NewJSONHandler(in, nil)))
	}()
	var line struct{ Pluralsight, Productiv string }
	if err := json.NewDecoder(out).Decode(&line); err != nil {
		t.Fatal(err)
	}
	post(t, "http://"+line.Productiv+"/oauth2/token", "application/x-www-form-urlencoded", "",
		"grant_type=client_credentials&client_id=demo-client&client_secret=demo-secret", `"access_token"`)
	post(t, "http://"+line.Pluralsight+"/graphql", "application/json", "demo-pluralsight-key",
		`{"query":"{users(first:1){totalCount}}"}`, `"totalCount":10`)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a plain stop is an error: %v", err)
	}
}

func post(t *testing.T, url, contentType, key, body, want string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(got), want) {
		t.Errorf("%s: %d %s (%v), want %s", url, res.StatusCode, got, err, want)
	}
}

func TestAPortThatIsTakenIsAnError(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	quiet := slog.New(slog.DiscardHandler)
	if run(t.Context(), config{"127.0.0.1:0", taken.Addr().String(), 1, 1}, quiet) == nil {
		t.Error("no error")
	}
	if run(t.Context(), config{taken.Addr().String(), "127.0.0.1:0", 1, 1}, quiet) == nil {
		t.Error("no error")
	}
}
