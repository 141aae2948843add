package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"openr/config"
)

// TestMistakes checks that each mistake on the command line is an error that says what to do instead.
func TestMistakes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "openr.conf")
	if err := os.WriteFile(file, []byte(`{"node_name": "a:b"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"bogus"}, `unknown command "bogus"; openr --help lists them`},
		{[]string{file}, "is a file, not a command: to run on it say openr --config " + file},
		{[]string{"config", "chek", file}, `unknown command "chek" for "openr config"`},
		{[]string{"config", "check"}, "which file? usage: openr config check FILE"},
		{[]string{"config", "check", file}, file + ": configuration is not valid"},
		{[]string{"config", "check", file + "x"}, file + "x: configuration is not valid"},
		{[]string{"lab", "bogus"}, `unknown command "bogus" for "openr lab"`},
		{[]string{"--log-level", "loud"}, "--log-level loud: want debug, info, warn or error"},
		{[]string{"--config", file}, file + `:1:15: node_name: value "a:b": want a name`},
		{[]string{"--config", file + "x"}, "no such file"},
	} {
		cmd := command()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		cmd.SetArgs(test.args)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("openr %q: error %v, want %q", test.args, err, test.want)
		}
	}
}

// TestExitStatus: service managers tell by it whether to start the agent again.
func TestExitStatus(t *testing.T) {
	cause := errors.New("cause")
	for want, err := range map[int]error{
		1: cause, exSoftware: failure{fmt.Errorf("fib: %w", cause)}, exConfig: fmt.Errorf("start: %w", configError{cause}),
	} {
		if got := exitStatus(err); got != want || !errors.Is(err, cause) {
			t.Errorf("%v: exit status %d, want %d", err, got, want)
		}
	}
}

// TestLimitMemory: the collector keeps to the watchdog's limit, unless the environment says otherwise.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, test := range []struct {
		environment string
		w           config.Watchdog
		want        int64
	}{
		{"", config.Watchdog{MaxMemory: 8000}, before},
		{"off", config.Watchdog{Enable: true, MaxMemory: 8000}, before},
		{"", config.Watchdog{Enable: true, MaxMemory: 8000}, 7200 << 20},
	} {
		t.Setenv("GOMEMLIMIT", test.environment)
		if limitMemory(test.w); debug.SetMemoryLimit(-1) != test.want {
			t.Errorf("%+v: the limit is %d, want %d", test, debug.SetMemoryLimit(-1), test.want)
		}
	}
}
