package pluralsight

import "github.com/seatwire/seatwire/pkg/config"

// ConfigOf reads a client's settings from a connection's.
func ConfigOf(c config.Pluralsight, retry config.Retry, userAgent string) Config {
	return Config{
		URL: c.GraphQLURL, DeprovisionURL: c.DeprovisionURL, Token: c.Token.Read, DeprovisionAuth: c.DeprovisionAuth,
		PageSize: c.PageSize, Retry: retry, UserAgent: userAgent,
	}
}
