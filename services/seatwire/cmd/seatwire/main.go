// Command seatwire is the operator's command line and the all-in-one; see package seatwire.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/seatwire/seatwire/services/seatwire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	self, _ := os.Executable() // without it, up starts no process of its own
	os.Exit(seatwire.Main(ctx, os.Args[1:], seatwire.Env{Getenv: os.Getenv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Self: self}))
}
