package productiv

import "github.com/seatwire/seatwire/pkg/config"

// ConfigOf reads a client's settings from a connection's. A ready access token goes before a client's credentials.
func ConfigOf(c config.Productiv, retry config.Retry, userAgent string) Config {
	out := Config{BaseURL: c.BaseURL, TokenURL: c.TokenURL, AppID: c.AppID, Retry: retry, UserAgent: userAgent}
	if !c.AccessToken.IsZero() {
		out.AccessToken = c.AccessToken.Read
		return out
	}
	out.ClientID, out.ClientSecret = c.ClientID, c.ClientSecret.Read
	return out
}
