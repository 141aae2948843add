package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
