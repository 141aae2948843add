package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"openr/lsdb"
	"openr/thrift/gen/kvstore"
)

func TestSpark(t *testing.T) {
	golden(t, "spark", serve(t, &fakeAgent{}),
		"spark neighbors", "spark neighbors --detail", "spark neighbors --json", "spark graceful-restart", "spark graceful-restart --yes",
		"spark graceful-restart --yes --json", "spark validate", "spark validate --suppress-error", "spark validate --json")
}

func TestKvStore(t *testing.T) {
	port := serve(t, &fakeAgent{})
	golden(t, "keys", port,
		"kvstore areas", "kvstore areas --json", "kvstore keys", "kvstore keys --ttl --prefix adj:", "kvstore keys --prefix prefix: --originator node2",
		"kvstore keys --prefix motto --json", "kvstore keys --area 7")
	golden(t, "keyvals", port,
		"kvstore keyvals motto noise", "kvstore keyvals prefix:node1:[10.1.0.0/16] absent", "kvstore keyvals motto prefix:node2:[10.2.0.0/16] --json",
		"kvstore keyvals adj:node2")
	golden(t, "kvstore", port,
		"kvstore adj", "kvstore adj --nodes node2", "kvstore adj --nodes node2 --json", "kvstore adj --nodes node2,nobody", "kvstore prefixes",
		"kvstore prefixes --nodes all", "kvstore prefixes --nodes all -p 10.2.0.0/16 --json", "kvstore prefixes --client-type config",
		"kvstore prefixes -c bogus", "kvstore prefixes --nodes nobody", "kvstore prefixes -p 10.77.0.0/16", "kvstore peers", "kvstore peers --json",
		"kvstore nodes", "kvstore nodes --json", "kvstore summary", "kvstore summary --json", "kvstore stream-summary", "kvstore stream-summary --json",
		"kvstore kv-signature", "kvstore kv-signature --prefix motto --json", "kvstore validate", "kvstore validate --json",
		"kvstore set-key motto 'calm seas'", "kvstore set-key motto old --version 1", "kvstore set-key motto x --version 0", "kvstore set-key new x --ttl 1.5 --json",
		"kvstore set-key new x --ttl never", "kvstore erase-key motto", "kvstore erase-key absent", "kvstore erase-key noise --json")
}

func TestKeysAreWritten(t *testing.T) {
	f := &fakeAgent{}
	port := serve(t, f)
	breeze(t, "--port", port, "kvstore", "set-key", "motto", "calm seas", "--originator", "me")
	breeze(t, "--port", port, "kvstore", "set-key", "new", "x", "--ttl", "1.5")
	breeze(t, "--port", port, "kvstore", "erase-key", "prefix:node2:[10.2.0.0/16]")
	want := []string{
		`set motto in 0: version 4 by me, "calm seas", ttl -2147483648, ttlVersion 1`,
		`set new in 0: version 1 by breeze, "x", ttl 1500, ttlVersion 1`,
		`set prefix:node2:[10.2.0.0/16] in 0: version 1 by node2, "", ttl 3000, ttlVersion 8`,
	}
	if got := f.done(); !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestDecision(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy")
	text := `{"ttl_secs": 600, "statements": [{"name": "s", "matcher": {"prefixes": ["10.0.0.0/8"], "tags": ["t"]},
		"action": {"set_weight": {"default_weight": 1, "area_to_weight": {"0": 2}, "neighbor_to_weight": {"node2": 3}}}}]}`
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte(`{"statements": [{"matcher": {"prefix": []}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	port := serve(t, &fakeAgent{})
	golden(t, "decision", port,
		"decision adj", "decision adj --no-bidir --nodes node1,node10", "decision adj --json --nodes node2", "decision adj -a nowhere",
		"decision adj --nodes nobody", "decision partial-adj", "decision partial-adj --json",
		"decision routes", "decision routes --nodes all", "decision routes 10.2.3.4 --no-hostnames", "decision routes --nodes node2 --json",
		"decision routes -l 100", "decision routes -l 100 --json", "decision routes nonsense", "decision routes --nodes nobody", "decision routes 192.0.2.1",
		"decision validate", "decision validate 0 --json", "decision validate nowhere", "decision rib-policy")
	golden(t, "received", port,
		"decision received-routes", "decision received-routes --no-detail", "decision received-routes 192.0.2.0/24", "decision received-routes --json",
		"decision received-routes -D", "decision received-routes --tag2name")
	for _, line := range []struct{ command, want string }{
		{"set-rib-policy " + policy, "The policy is set, with 1 statements, for 600 s.\n"},
		{"rib-policy", "> RibPolicy\n  Validity: 600s\n  Statement: s\n    Prefix Match List: 10.0.0.0/8\n    Tags Match List: t\n    Action Set Weight:\n      Default: 1\n      Area 0: 2\n      Neighbor node2: 3\n"},
		{"clear-rib-policy", "The policy is removed.\n"},
		{"set-rib-policy " + bad, "breeze: " + bad + ": json: unknown field \"prefix\"\nexit code 2\n"},
	} {
		if got := breeze(t, append([]string{"--port", port, "decision"}, strings.Fields(line.command)...)...); got != line.want {
			t.Errorf("%s printed\n%s\nwant\n%s", line.command, got, line.want)
		}
	}
	// What rib-policy --json prints, set-rib-policy takes.
	breeze(t, "--port", port, "decision", "set-rib-policy", policy)
	printed := breeze(t, "--port", port, "decision", "rib-policy", "--json")
	breeze(t, "--port", port, "decision", "clear-rib-policy")
	if out, code := typed(t, printed, "--port", port, "decision", "set-rib-policy", "-"); code != 0 {
		t.Errorf("what was printed,\n%s\nis refused: %s", printed, out)
	}
	if out, code := typed(t, printed+"{}", "--port", port, "decision", "set-rib-policy", "-"); code != 2 || !strings.Contains(out, "there is something behind the policy") {
		t.Errorf("what follows the policy is passed over: %d %s", code, out)
	}
	if again := breeze(t, "--port", port, "decision", "rib-policy", "--json"); again != printed {
		t.Errorf("what was printed,\n%s\ncame back as\n%s", printed, again)
	}
}

func TestOpenr(t *testing.T) {
	golden(t, "openr", serve(t, &fakeAgent{}), "openr version", "openr version --json", "openr status", "openr status --json", "openr neighbors --nodes node2",
		"openr table 192.0.2.0/24", "openr peers", "openr summary --area 0")
}

// TestValidateAll: all modules are validated, a validation that cannot be made fails, and the exit code is 0 all the same.
func TestValidateAll(t *testing.T) {
	port := serve(t, &fakeAgent{})
	out, code := typed(t, "", "--port", port, "openr", "validate", "--json")
	var passed map[string]bool
	if err := json.Unmarshal([]byte(out), &passed); err != nil || code != 0 || len(passed) != 6 {
		t.Errorf("exit code %d, %v:\n%s", code, err, out)
	}
	for _, v := range validations {
		if pass, ok := passed[v.module]; !ok || pass && v.module != "Link Monitor" && v.module != "Prefix Manager" && v.module != "Fib" {
			t.Errorf("%s: %v, %v", v.module, pass, ok)
		}
	}
	out, code = typed(t, "", "--port", port, "openr", "validate", "--suppress-error")
	if code != 0 || !strings.Contains(out, "[Spark] Neighbor State: FAIL\n") || !regexp.MustCompile(`\n\d of 6 modules failed\n$`).MatchString(out) {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestMistakes(t *testing.T) {
	golden(t, "mistakes", serve(t, &fakeAgent{}),
		"bogus", "help bogus", "help kvstore bogus", "kvstore ke", "kvstore bogus", "c s --bogus", "spark neighbors extra", "--timeout x spark neighbors",
		"kvstore keyvals", "--color blue spark neighbors", "--ssl --cert-reqs much spark neighbors", "--ssl --cert-file x spark neighbors",
		"--ssl --ca-file /nonexistent spark neighbors", "completion tcsh")
}

// TestUniqueBeginnings runs commands by the beginning of their names.
func TestUniqueBeginnings(t *testing.T) {
	port := serve(t, &fakeAgent{})
	for short, long := range map[string]string{
		"s n": "spark neighbors", "k keyv motto": "kvstore keyvals motto", "de ro": "decision routes", "k se motto x": "kvstore set-key motto x",
		"k sum": "kvstore summary", "o v": "openr v", "de rec": "decision received-routes",
	} {
		got, want := breeze(t, append([]string{"--port", port}, strings.Fields(short)...)...), breeze(t, append([]string{"--port", port}, strings.Fields(long)...)...)
		if got != want {
			t.Errorf("%q printed\n%s\nand %q printed\n%s", short, got, long, want)
		}
	}
	// Every command can be named by the shortest beginning that no other command of its group has.
	var visit func(parent *cobra.Command)
	visit = func(parent *cobra.Command) {
		for _, c := range parent.Commands() {
			for n := 1; n <= len(c.Name()); n++ {
				begin := c.Name()[:n]
				shared := slices.ContainsFunc(parent.Commands(), func(o *cobra.Command) bool { return o != c && strings.HasPrefix(o.Name(), begin) })
				if shared && begin != c.Name() {
					continue
				}
				if found, rest, err := parent.Find([]string{begin}); err != nil || found != c || len(rest) > 0 {
					t.Errorf("%s %s finds %v, %v", parent.CommandPath(), begin, found, err)
				}
				break
			}
			visit(c)
		}
	}
	visit((&app{}).command())
}

// TestEveryCommandIsDocumented also finds commands that a shortcut has lost.
func TestEveryCommandIsDocumented(t *testing.T) {
	root := (&app{}).command()
	names := map[string]bool{}
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		names[strings.TrimPrefix(c.CommandPath(), "breeze ")] = true
		if c.Short == "" {
			t.Errorf("%s does not say what it does", c.CommandPath())
		}
		if !c.HasSubCommands() && c.RunE == nil && c.Run == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(root)
	for group, commands := range map[string]string{
		"kvstore":    "areas keys keyvals prefixes nodes peers kv-compare erase-key set-key kv-signature snoop summary stream-summary validate",
		"decision":   "adj path routes received-routes rib-policy partial-adj validate",
		"fib":        "unicast-routes mpls-routes routes-installed counters add del sync snoop stream-summary validate",
		"lm":         "links adj validate set-node-overload unset-node-overload set-link-overload unset-link-overload increase-node-metric clear-node-metric-increase increase-link-metric clear-link-metric-increase override-adj-metric clear-adj-metric-override",
		"prefixmgr":  "advertised-routes originated-routes validate",
		"spark":      "neighbors validate graceful-restart",
		"monitor":    "counters logs statistics",
		"config":     "show dryrun compare link-monitor-config prefix-manager-config erase store",
		"openr":      "originated-routes advertised-routes rib-policy neighbors table mpls-routes unicast-routes interfaces summary peers config version validate",
		"dispatcher": "filters queues",
		"perf":       "fib",
		"endpoint":   "show where moves snoop rogue faults clear bd oracles",
	} {
		for command := range strings.FieldsSeq(commands) {
			if !names[group+" "+command] {
				t.Errorf("there is no command %s %s", group, command)
			}
		}
	}
	if !names["tech-support"] {
		t.Error("there is no command tech-support")
	}
}

func TestNaturalOrder(t *testing.T) {
	ordered := []string{"", "a", "eth1", "eth1/2", "eth1/10", "eth2", "eth10", "eth10a", "ethx"}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := naturalCompare(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("naturalCompare(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestTexts(t *testing.T) {
	for want, got := range map[string]string{
		"0:00:00": duration(-time.Second), "1d 1:02:03": duration(25*time.Hour + 2*time.Minute + 3*time.Second),
		"1023 B": size(1023), "1.50 KB": size(1536), "2.00 MB": size(2 << 20), "never": ago(1 << 53), "0:00:01 ago": ago(1000), "Inf": ttlText(lsdb.TTLInfinite),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestColors checks when there are colours, and that they do not disturb tables.
func TestColors(t *testing.T) {
	for _, tt := range []struct {
		terminal, noColor, json bool
		mode                    colorMode
		want                    bool
	}{
		{terminal: true, want: true},
		{terminal: true, mode: "auto", want: true},
		{terminal: false},
		{terminal: true, noColor: true},
		{terminal: true, mode: "never"},
		{mode: "always", want: true},
		{noColor: true, mode: "always", want: true},
		{terminal: true, json: true},
	} {
		a := &app{terminal: tt.terminal, noColor: tt.noColor, json: tt.json, color: tt.mode}
		if got := a.paint(red, "x") != "x"; got != tt.want {
			t.Errorf("%+v: coloured %v", tt, got)
		}
	}
	port := serve(t, &fakeAgent{})
	plainText := breeze(t, "--port", port, "spark", "neighbors")
	coloured := breeze(t, "--port", port, "--color", "always", "spark", "neighbors")
	if coloured == plainText || painting.ReplaceAllString(coloured, "") != plainText {
		t.Errorf("with colours\n%s\nwithout\n%s", coloured, plainText)
	}
}

// TestJSONIsOneDocument: whatever a command prints with --json is JSON and nothing else.
func TestJSONIsOneDocument(t *testing.T) {
	port := serve(t, &fakeAgent{})
	for _, line := range []string{
		"kvstore keys", "kvstore keyvals motto noise", "kvstore nodes", "kvstore kv-signature", "decision adj", "decision path --dst node2 --no-fib",
		"decision routes --nodes all", "openr version", "openr status", "spark neighbors",
	} {
		var v any
		if out := breeze(t, append([]string{"--port", port, "--json"}, strings.Fields(line)...)...); json.Unmarshal([]byte(out), &v) != nil {
			t.Errorf("%s printed\n%s", line, out)
		}
	}
}

// TestSetsAreTheInterfaceDefinitions compares the list of sets with the .thrift files.
func TestSetsAreTheInterfaceDefinitions(t *testing.T) {
	structs := map[string]bool{"KeyDumpParams": false, "AdjacenciesFilter": false} // those that are only asked with are not printed
	begin, field := regexp.MustCompile(`^(?:struct|service) (\w+)`), regexp.MustCompile(`^\s+\d+: (?:optional )?set<\w+> (\w+);`)
	found := map[string]bool{}
	files, err := filepath.Glob(filepath.Join("..", "..", "thrift", "idl", "*.thrift"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no interface definitions: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		owner := ""
		for line := range strings.Lines(string(text)) {
			if m := begin.FindStringSubmatch(line); m != nil {
				owner = m[1]
			}
			if m := field.FindStringSubmatch(line); m != nil {
				if _, input := structs[owner]; !input {
					found[owner+"."+m[1]] = true
				}
			}
		}
	}
	listed := map[string]bool{}
	for s := range sets {
		listed[s.owner.Name()+"."+s.field] = true
	}
	if !reflect.DeepEqual(found, listed) {
		t.Errorf("the definitions have the sets %v, breeze knows %v", found, listed)
	}
}

// TestPlain checks the JSON of Thrift structs against Open/R's.
func TestPlain(t *testing.T) {
	e := prefixEntry("10.1.2.3/16", 8)
	got, err := json.Marshal(plain(reflect.ValueOf(map[string]any{
		"entry": e, "address": binary("fe80::1%eth0"), "stages": map[kvstore.InitializationEvent]int64{kvstore.InitializationEvent_LINK_DISCOVERED: 5},
		"binary": []byte("ü"), "none": (*kvstore.Value)(nil),
	})))
	const want = `{"address":{"addr":"fe80::1","ifName":"eth0"},"binary":"ü","entry":{"area_stack":[],"forwardingAlgorithm":0,"forwardingType":0,` +
		`"metrics":{"distance":0,"drain_metric":0,"path_preference":1000,"source_preference":100,"version":0},"minNexthop":null,"prefix":"10.1.2.3/16",` +
		`"tags":["65000:1","65000:2"],"type":8,"weight":null},"none":null,"stages":{"2":5}}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

func TestConfirmation(t *testing.T) {
	f := &fakeAgent{}
	port := serve(t, f)
	for _, tt := range []struct {
		input string
		code  int
		asked int
	}{{"y\n", 0, 1}, {"what\nYES\n", 0, 1}, {"n\n", 1, 0}, {"", 1, 0}, {"maybe\n", 1, 0}} {
		out, code := typed(t, tt.input, "--port", port, "spark", "graceful-restart")
		if asked := f.done(); code != tt.code || len(asked) != tt.asked {
			t.Errorf("%q: exit code %d, asked %q\n%s", tt.input, code, asked, out)
		}
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, code := typed(t, "", "completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: exit code %d, %d bytes", shell, code, len(out))
		}
	}
	port := serve(t, &fakeAgent{})
	for line, want := range map[string]string{
		"spark n":                       "neighbors\t",
		"decision routes --nodes node":  "node1\nnode2\nnode10\n",
		"decision adj --nodes node1,no": "node1,node1\nnode1,node2\nnode1,node10\n",
		"kvstore --area ''":             "0\n",
		"decision validate ''":          "0\n",
		"--color a":                     "auto\nalways\n",
	} {
		words := words(line)
		out := breeze(t, append([]string{"__complete", "--port", port}, words...)...)
		if !strings.HasPrefix(out, want) {
			t.Errorf("%s completes to\n%s", line, out)
		}
	}
	// Without an agent nothing is proposed, and nothing is said.
	if out := breeze(t, "__complete", "--port", "1", "decision", "routes", "--nodes", ""); !strings.HasPrefix(out, ":4\n") || strings.Contains(out, "breeze:") {
		t.Errorf("without an agent:\n%s", out)
	}
}
