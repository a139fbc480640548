package productiv

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/fault"
)

// TestClient_BrokenAnswers: what the wire can do after a request was taken.
func TestClient_BrokenAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		class   fault.Class
		reason  string
	}{
		"cut before the answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Transient, "connection"},
		"cut in the body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"success":true`)
		}, fault.Transient, "connection"},
		"endless body": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte(" "), maxBody+1))
		}, fault.Permanent, "answer-too-large"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.Transient, "timeout"},
		"stalled body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"success":true`)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, fault.Transient, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			patience := 10 * time.Second
			if c.reason == "timeout" {
				patience = 100 * time.Millisecond // it is what the test waits for
			}
			r := newRig(t, c.handler, func(cfg *Config) {
				cfg.Retry.CallTimeout = patience
				cfg.AccessToken = constant("t1")
			})
			_, err := r.client.Users(t.Context(), "")
			checkFault(t, "users", err, c.class, c.reason)
			checkFault(t, "add", r.client.Add(t.Context(), encode(t, adaUser)), c.class, c.reason)
		})
	}
}

func TestClient_NobodyListens(t *testing.T) {
	t.Parallel()
	r := newRig(t, reply(200, ""), nil)
	r.server.Close()
	_, err := r.client.Users(t.Context(), "")
	checkFault(t, "users", err, fault.Transient, "connection")
}

func TestClient_CallersOwnEndIsItsOwn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := newRig(t, func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	}, nil)
	if err := r.client.Add(ctx, encode(t, adaUser)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if n := len(r.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestClient_TokenGoesNowhereElse: a redirect to another host is not followed, by no method.
func TestClient_TokenGoesNowhereElse(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, other.URL, status)
		}, nil)
		_, err := r.client.Users(t.Context(), "")
		checkFault(t, "users", err, fault.Permanent, "redirected")
		checkFault(t, "add", r.client.Add(t.Context(), encode(t, adaUser)), fault.Permanent, "redirected")
		redirect := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { http.Redirect(w, req, other.URL, status) })
		r.token.Store(&redirect)
		r.client.tokens.Invalidate("t1")
		_, err = r.client.Users(t.Context(), "")
		checkFault(t, "token", err, fault.Permanent, "redirected")
	}
}

// patience is a guard that agrees a number of times.
type patience struct {
	agrees int32
	asked  atomic.Int32
}

func (p *patience) guard() error {
	if p.asked.Add(1) > p.agrees {
		return errors.New("lane of ada@example.com is gone")
	}
	return nil
}

// TestClient_GuardObjects: at the first question, which comes before anything else, and at each later one, inside the
// connection, as when the process has slept in between. Whichever it is, no whole request arrives.
func TestClient_GuardObjects(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		questions, arrived, err := addGuarded(t, secure, 1000)
		if err != nil || !arrived || questions < 3 {
			t.Fatalf("tls %v: an agreeing guard was asked %d times; %v", secure, questions, err)
		}
		for agrees := range questions {
			_, arrived, err := addGuarded(t, secure, agrees)
			checkFault(t, fmt.Sprintf("tls %v, agreed %d of %d times", secure, agrees, questions), err, fault.Permanent, "lane-lost")
			if arrived {
				t.Errorf("tls %v, agreed %d of %d times: a whole request arrived", secure, agrees, questions)
			}
		}
	}
}

// addGuarded adds a full batch under a guard that agrees so many times. It returns how often the guard had been asked
// when the request was there, and whether it ever was.
func addGuarded(t *testing.T, secure bool, agrees int32) (questions int32, arrived bool, err error) {
	t.Helper()
	many := make([]User, MaxUsers)
	for i := range many {
		many[i] = User{AppUserID: fmt.Sprint("ps-", i), Email: fmt.Sprintf("user-%d@example.com", i)}
	}
	p := &patience{agrees: agrees}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, err := io.ReadAll(req.Body); err == nil {
			questions, arrived = p.asked.Load(), true
		}
		reply(200, `{"success":true}`)(w, req)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	c := New(Config{BaseURL: server.URL, AppID: "a", AccessToken: constant("t1"), Retry: once, Guard: p.guard}, Deps{})
	trust(c, server)
	err = c.Add(t.Context(), encode(t, many...))
	c.Close()
	server.Close() // waits for its handlers
	return questions, arrived, err
}

func trust(c *Client, server *httptest.Server) {
	if server.Certificate() == nil {
		return
	}
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	for _, client := range []*http.Client{c.reads, c.writes} {
		client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	}
}

func TestClient_GuardIsForWritesOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, reply(200, `{"success":true,"provisionedUsers":[]}`), func(c *Config) { c.Guard = new(patience).guard })
	if _, err := r.client.Users(t.Context(), ""); err != nil {
		t.Error(err)
	}
	_, err := r.client.Remove(t.Context(), encode(t, adaUser))
	checkFault(t, "remove", err, fault.Permanent, "lane-lost")
	if n := len(r.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestClient_GuardIsAskedBeforeTheConnection: where nobody listens, the guard's objection is still what is heard.
func TestClient_GuardIsAskedBeforeTheConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t, reply(200, ""), func(c *Config) { c.AccessToken, c.Guard = constant("t1"), new(patience).guard })
	r.server.Close()
	checkFault(t, "add", r.client.Add(t.Context(), encode(t, adaUser)), fault.Permanent, "lane-lost")
}

// TestClient_GuardBeforeTheReplay: the lane was lost while the first answer, a 401, was under way.
func TestClient_GuardBeforeTheReplay(t *testing.T) {
	t.Parallel()
	var lost atomic.Bool
	var reads atomic.Int32
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		lost.Store(true)
		reply(401, "")(w, req)
	}, func(c *Config) {
		c.AccessToken = func() (string, error) { return fmt.Sprint("token", reads.Add(1)), nil }
		c.Guard = func() error {
			if lost.Load() {
				return errors.New("lost")
			}
			return nil
		}
	})
	checkFault(t, "add", r.client.Add(t.Context(), encode(t, adaUser)), fault.Permanent, "lane-lost")
	if n := len(r.requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// TestGuardedConn_HidesShortcuts: a connection that offers ReadFrom lets bytes past the guard.
func TestGuardedConn_HidesShortcuts(t *testing.T) {
	t.Parallel()
	var conn net.Conn = guardedConn{}
	if _, ok := conn.(io.ReaderFrom); ok {
		t.Error("it offers ReadFrom")
	}
}

func TestClient_UntrustedCertificateIsFinal(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	c := New(Config{BaseURL: server.URL, AppID: "a", AccessToken: constant("t1"), Retry: config.Retry{MaxAttempts: 3, CallTimeout: time.Minute}}, Deps{})
	defer c.Close()
	_, err := c.Users(t.Context(), "")
	checkFault(t, "users", err, fault.Permanent, "untrusted-certificate")
	checkFault(t, "add", c.Add(t.Context(), encode(t, adaUser)), fault.Permanent, "untrusted-certificate")
	if calls.Load() != 0 {
		t.Error("a request arrived")
	}
}
