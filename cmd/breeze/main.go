// Command breeze shows what an openr agent knows and does. It asks the agent's control API and prints tables for people,
// or with --json the same for machines.
//
// Its commands are Open/R's: breeze spark neighbors, lm links, kvstore keys, decision routes, fib routes, openr status ...
// Any beginning of a command's name will do as long as it is not ambiguous.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is set by the build: -ldflags "-X main.version=...".
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: os.Stdout, now: time.Now}
	if err := a.command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "breeze:", err)
		os.Exit(1)
	}
}
