package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := &app{in: os.Stdin, out: os.Stdout, errOut: os.Stderr, now: time.Now}
	a.terminal = isTerminal(os.Stdout) && os.Getenv("TERM") != "dumb"
	a.noColor = os.Getenv("NO_COLOR") != ""
	code := a.execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
