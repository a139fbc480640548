package seatwire

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seatwire/seatwire/pkg/config"
	"github.com/seatwire/seatwire/pkg/pluralsight"
	"github.com/seatwire/seatwire/pkg/productiv"
)

// checkRow is one thing that was tried.
type checkRow struct {
	Connection string `json:"connection"`
	Check      string `json:"check"`
	OK         bool   `json:"ok"`
	Detail     string `json:"detail"`
}

// check tries everything that a start would need and writes nothing.
func check(ctx context.Context, c *invocation) error {
	args, err := c.parse(nil)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return usage("takes no arguments")
	}
	cfg, err := c.configFor(config.PluralsightSecrets | config.ProductivSecrets)
	if err != nil {
		return err
	}
	// One attempt each: a person waits, and a vendor that answers at the third try is worth knowing about.
	cfg.Retry.MaxAttempts = 1
	rows := []checkRow{checkNATS(ctx, cfg)}
	for _, conn := range cfg.Connections {
		rows = append(rows, checkPluralsight(ctx, cfg, conn))
		if conn.Productiv != nil {
			rows = append(rows, checkProductiv(ctx, cfg, conn))
		}
	}
	return printChecks(c, rows)
}

// checkNATS passes over an embedded server that does not run: up starts it.
func checkNATS(ctx context.Context, cfg *config.Config) checkRow {
	s, err := open(ctx, cfg)
	row := checkRow{Check: "nats", OK: err == nil, Detail: cfg.BrokerURL()}
	switch {
	case err == nil:
		s.close()
	case cfg.NATS.URL == "":
		row.OK, row.Detail = true, "embedded; seatwire up starts it at "+cfg.NATS.Listen
	default:
		row.Detail = text(err)
	}
	return row
}

func checkPluralsight(ctx context.Context, cfg *config.Config, conn config.Connection) checkRow {
	client := pluralsight.New(pluralsight.ConfigOf(conn.Pluralsight, cfg.Retry, "seatwire-check"), pluralsight.Deps{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Connection: conn.Name})
	page, err := client.Users(ctx, "")
	row := checkRow{Connection: conn.Name, Check: "pluralsight", OK: err == nil}
	if err != nil {
		row.Detail = text(err)
		return row
	}
	row.Detail = fmt.Sprintf("%d users in the plan, %d on the first page", page.TotalCount, len(page.Users))
	for _, w := range page.Warnings {
		row.Detail += "; warning: " + w
	}
	return row
}

func checkProductiv(ctx context.Context, cfg *config.Config, conn config.Connection) checkRow {
	client := productiv.New(productiv.ConfigOf(*conn.Productiv, cfg.Retry, "seatwire-check"), productiv.Deps{Log: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Connection: conn.Name})
	page, err := client.Users(ctx, "")
	row := checkRow{Connection: conn.Name, Check: "productiv", OK: err == nil}
	if err != nil {
		row.Detail = text(err)
		return row
	}
	row.Detail = fmt.Sprintf("%d people on the first page of app %s", len(page.Users), conn.Productiv.AppID)
	return row
}

func printChecks(c *invocation, rows []checkRow) error {
	bad := false
	var table [][]any
	for _, r := range rows {
		verdict := "ok"
		if !r.OK {
			verdict, bad = "FAILED", true
		}
		table = append(table, []any{verdict, r.Connection, r.Check, r.Detail})
	}
	print := func() error { return printTable(c.env.Stdout, "result\tconnection\tcheck\tdetail", table) }
	if c.json {
		print = func() error { return printJSON(c.env.Stdout, rows) }
	}
	if err := print(); err != nil {
		return err
	}
	if bad {
		return errAnswerIsNo
	}
	return nil
}
