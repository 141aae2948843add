package main

import (
	"context"
	"net"
	"strings"
	"testing"

	"openr/lab/fakeswitch"
	genplatform "openr/thrift/gen/platform"
	"openr/thrift/rpc"
)

// TestPlatform asks the service for its state, and stops it.
func TestPlatform(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		done <- runPlatform(ctx, platformFlags{listen: "::1", table: 254, logLevel: "error"}, func(at net.Addr) { ready <- at })
	}()
	var at net.Addr
	select {
	case at = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	c, err := rpc.Dial(ctx, at.String(), rpc.DialOptions{Binary: true})
	if err != nil {
		t.Fatal(err)
	}
	state, err := genplatform.NewFibServiceClient(c.Client()).GetSwitchRunState(ctx)
	if err != nil || state != genplatform.SwitchRunState_CONFIGURED {
		t.Errorf("state %v, %v", state, err)
	}
	_ = c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestPlatformMistakes checks the errors of `openr platform` and `openr lab agent`.
func TestPlatformMistakes(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", "here"}, "--listen here: want an IP address of this machine"},
		{[]string{"--table", "0"}, "routing table 0"},
		{[]string{"--log-level", "loud"}, "--log-level loud"},
		{[]string{"--port", "70000"}, "70000"},
		{[]string{"now"}, "unknown command"},
	} {
		cmd := platformCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(test.args)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("openr platform %q: error %v, want %q", test.args, err, test.want)
		}
	}
	cmd := fakeswitch.Command()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs([]string{"--vlan", "eth0"})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "as in 2001=eth0") {
		t.Errorf("openr lab agent: error %v", err)
	}
}
