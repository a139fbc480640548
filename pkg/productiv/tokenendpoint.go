package productiv

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seatwire/seatwire/pkg/fault"
)

// scope is the one right that we ask for: reading the list needs the right to write it.
const scope = "https://api.productiv.com/connector.write"

// AuthStyle is how client id and secret reach the token endpoint.
type AuthStyle string

const (
	// AuthAuto is AuthBody as documented now; and if the endpoint refuses the client that way, AuthBasic as it was
	// documented before. The first way that works is logged and stays for the life of the client.
	AuthAuto AuthStyle = ""
	// AuthBody puts them into the form.
	AuthBody AuthStyle = "body"
	// AuthBasic puts them into the Authorization header.
	AuthBasic AuthStyle = "basic"
)

// tokenEndpoint asks for tokens by client credentials (RFC 6749, section 4.4).
type tokenEndpoint struct {
	client *Client
	// basic is set once AuthAuto has found that only AuthBasic works.
	basic atomic.Bool
}

// fetch asks for a token, under AuthAuto in the other style too when the client is refused in the first.
func (e *tokenEndpoint) fetch(ctx context.Context) (string, time.Duration, error) {
	style := e.client.cfg.AuthStyle
	switch {
	case style == AuthAuto && e.basic.Load():
		style = AuthBasic
	case style == AuthAuto:
		token, life, err := e.ask(ctx, AuthBody)
		if fault.ReasonOf(err) != reasonClientRefused {
			return token, life, err
		}
		token, life, err = e.ask(ctx, AuthBasic)
		if err == nil {
			e.basic.Store(true)
			e.client.log.Info("Productiv's token endpoint takes the credentials in the Authorization header only", "authStyle", AuthBasic)
		}
		return token, life, err
	}
	return e.ask(ctx, style)
}

func (e *tokenEndpoint) ask(ctx context.Context, style AuthStyle) (string, time.Duration, error) {
	token, life, err := e.roundTrip(ctx, style)
	e.client.requests.Count("token", err)
	return token, life, err
}

func (e *tokenEndpoint) roundTrip(ctx context.Context, style AuthStyle) (string, time.Duration, error) {
	req, err := e.request(ctx, style)
	if err != nil {
		return "", 0, err
	}
	resp, err := e.client.reads.Do(req)
	if err != nil {
		return "", 0, networkFault(ctx, err)
	}
	defer discard(resp.Body)
	if f := tokenStatusFault(resp, style); f != nil {
		return "", 0, f
	}
	text, err := readBody(ctx, resp.Body)
	if err != nil {
		return "", 0, err
	}
	return readToken(text)
}

func (e *tokenEndpoint) request(ctx context.Context, style AuthStyle) (*http.Request, error) {
	id := e.client.cfg.ClientID
	secret, err := readSecret(e.client.cfg.ClientSecret, "client secret")
	if err != nil {
		return nil, err
	}
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	if style != AuthBasic {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.client.cfg.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fault.New(fault.Permanent, "bad-url", "productiv.tokenUrl is not a URL").Because(err)
	}
	if style == AuthBasic {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret)) // escaped as RFC 6749, section 2.3.1 has it
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", e.client.cfg.UserAgent)
	return req, nil
}

// Reasons of a token endpoint that says no.
const (
	reasonClientRefused = "client-refused"
	reasonTokenRefused  = "token-refused"
)

// tokenErrors are the codes of RFC 6749, section 5.2: the only words of the endpoint's that an operator is shown.
var tokenErrors = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

// tokenStatusFault classifies a token endpoint's answer by status and error code. It returns nil for 2xx. Its 4xx are
// about the credentials, and so mean other things than the push API's.
func tokenStatusFault(resp *http.Response, style AuthStyle) error {
	f := statusFault(resp.StatusCode, resp.Header, time.Now())
	if f == nil {
		return nil
	}
	if f.Class != fault.Permanent || resp.StatusCode < 400 {
		return f
	}
	code := tokenError(resp.Body)
	if code == "invalid_client" || resp.StatusCode == http.StatusUnauthorized {
		return fault.New(fault.Permanent, reasonClientRefused, "Productiv's token endpoint does not accept clientId and clientSecret, sent as %s (%d %s)", styleName(style), resp.StatusCode, code)
	}
	return fault.New(fault.Permanent, reasonTokenRefused, "Productiv's token endpoint refused the request, credentials sent as %s (%d %s)", styleName(style), resp.StatusCode, code)
}

func styleName(style AuthStyle) string {
	if style == AuthBasic {
		return "Basic header"
	}
	return "form fields"
}

// tokenError returns the error code of an answer if it is one of the standard's.
func tokenError(body io.Reader) string {
	text, _ := io.ReadAll(io.LimitReader(body, maxDiscard)) // what was readable is enough
	var a struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &a) != nil || !slices.Contains(tokenErrors, a.Error) {
		return "without a standard error code"
	}
	return a.Error
}

// readToken reads a successful answer. A life that is missing or no number is zero: not known.
func readToken(text []byte) (string, time.Duration, error) {
	var a struct {
		AccessToken string          `json:"access_token"`
		TokenType   string          `json:"token_type"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	bad := fault.New(fault.Transient, "token-malformed", "the token endpoint answered with success, but not with a bearer token")
	if json.Unmarshal(text, &a) != nil || !headerSafe(a.AccessToken) {
		return "", 0, bad
	}
	if a.TokenType != "" && !strings.EqualFold(a.TokenType, "bearer") {
		return "", 0, bad
	}
	seconds, err := strconv.ParseFloat(strings.Trim(string(a.ExpiresIn), `"`), 64)
	if err != nil || !(seconds > 0) {
		return a.AccessToken, 0, nil
	}
	return a.AccessToken, time.Duration(min(seconds, maxLife.Seconds()) * float64(time.Second)), nil
}
