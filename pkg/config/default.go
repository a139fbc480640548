package config

import "time"

// Default is the configuration of an empty file: every setting that has a default has it, and there are no connections.
func Default() *Config {
	return &Config{
		NATS:        NATS{Listen: "127.0.0.1:4222", StoreDir: "./data", Replicas: 1},
		Limits:      Limits{FetchConcurrency: 4},
		Retry:       Retry{MaxAttempts: 3, InitialDelay: 250 * time.Millisecond, MaxDelay: 10 * time.Second, CallTimeout: 30 * time.Second},
		DeadLetters: DeadLetters{MaxDeliveries: 5},
	}
}

// DefaultConnection is a connection of which the file gives only the name.
func DefaultConnection(name string) Connection {
	return Connection{
		Name: name,
		Pluralsight: Pluralsight{
			GraphQLURL:      "https://paas-api.pluralsight.com/graphql",
			DeprovisionURL:  "https://integrations-api.pluralsight.com/deprovision",
			DeprovisionAuth: "bearer",
			PageSize:        100,
		},
		Sync:   Sync{Every: 6 * time.Hour},
		Guards: Guards{MaxRemovalPercent: 10, MaxRemovals: 100, MaxRemovalPercent24h: 20},
		Deprovision: Deprovision{
			Apply:                "dry-run",
			BatchMaxUsers:        200,
			BatchMaxAge:          30 * time.Second,
			MaxUsersPerBatchAuto: 25,
			MaxUsers24hAuto:      100,
			MaxEventAge:          168 * time.Hour,
			VerifyWithin:         24 * time.Hour,
			VerifyEvery:          time.Minute,
			ProtectAdmins:        true,
		},
	}
}

// DefaultProductiv is a productiv section that gives only the app.
func DefaultProductiv(appID string) Productiv {
	return Productiv{
		BaseURL:   "https://public-api.productiv.com",
		TokenURL:  "https://login.api.productiv.com/oauth2/token",
		AppID:     appID,
		Mode:      "reconcile",
		BatchSize: 1000,
		Include:   "on-account",
		Username:  "none",
	}
}
