package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrendpoint"
	"openr/thrift/invoke"
)

// endpointAgent is a leaf, or an oracle, of an endpoint directory that answers what it is filled with.
type endpointAgent struct {
	openrendpoint.OpenrEndpoint // what has no method below panics

	others     *fakeAgent // notes what is asked
	all, where []*openrendpoint.Endpoint
	total      int64
	changes    []*openrendpoint.EndpointChange
	faults     []*openrendpoint.EndpointFault
	domains    []*openrendpoint.BridgeDomain
	oracles    []*openrendpoint.Oracle
	refusal    error
}

func (f *endpointAgent) GetEndpoints(_ context.Context, q *openrendpoint.EndpointFilter) (*openrendpoint.EndpointPage, error) {
	f.others.did("show %s limit %d", filterText(q), q.Limit)
	page := &openrendpoint.EndpointPage{}
	for _, e := range f.all {
		if (q.State == nil || *q.State == e.State) && (q.BridgeDomain == nil || *q.BridgeDomain == e.BridgeDomain) {
			page.Endpoints = append(page.Endpoints, e)
		}
	}
	page.Total = max(f.total, int64(len(page.Endpoints)))
	return page, f.refusal
}

// filterText writes what was asked for, as in "bd 10 mac 02:00:00:00:00:01".
func filterText(q *openrendpoint.EndpointFilter) string {
	var out []string
	if q.BridgeDomain != nil {
		out = append(out, fmt.Sprint("bd ", *q.BridgeDomain))
	}
	if q.Mac != nil {
		out = append(out, "mac "+*q.Mac)
	}
	if q.Address != nil {
		out = append(out, "address "+addrText(q.Address))
	}
	if q.State != nil {
		out = append(out, "state "+*q.State)
	}
	if q.Port != nil {
		out = append(out, "port "+*q.Port)
	}
	return strings.Join(append(out, "any")[:max(1, len(out))], " ")
}

func endpointKeyText(k *openrendpoint.EndpointKey) string {
	return filterText(&openrendpoint.EndpointFilter{BridgeDomain: &k.BridgeDomain, Mac: k.Mac, Address: k.Address})
}

func (f *endpointAgent) FindEndpoint(_ context.Context, k *openrendpoint.EndpointKey) ([]*openrendpoint.Endpoint, error) {
	f.others.did("where %s", endpointKeyText(k))
	return f.where, f.refusal
}

func (f *endpointAgent) GetEndpointChanges(_ context.Context, q *openrendpoint.EndpointFilter, limit int32) ([]*openrendpoint.EndpointChange, error) {
	f.others.did("moves %s limit %d", filterText(q), limit)
	return f.changes, f.refusal
}

func (f *endpointAgent) GetEndpointFaults(context.Context) ([]*openrendpoint.EndpointFault, error) {
	return f.faults, f.refusal
}

func (f *endpointAgent) GetBridgeDomains(context.Context) ([]*openrendpoint.BridgeDomain, error) {
	return f.domains, f.refusal
}

func (f *endpointAgent) GetOracles(context.Context) ([]*openrendpoint.Oracle, error) {
	return f.oracles, f.refusal
}

func (f *endpointAgent) ClearRogue(_ context.Context, k *openrendpoint.EndpointKey) error {
	f.others.did("clear rogue %s", endpointKeyText(k))
	return f.refusal
}

func (f *endpointAgent) ClearEndpoint(_ context.Context, k *openrendpoint.EndpointKey) error {
	f.others.did("clear endpoint %s", endpointKeyText(k))
	return f.refusal
}

func (f *endpointAgent) EnableEndpointPort(_ context.Context, port string) error {
	f.others.did("enable port %s", port)
	return f.refusal
}

func (f *endpointAgent) EnableEndpointLearning(_ context.Context, bd int64) error {
	f.others.did("enable learning %d", bd)
	return f.refusal
}

// serveEndpoints serves f, with a stream that sends its changes and ends, and returns the port.
func serveEndpoints(t *testing.T, f *endpointAgent) string {
	t.Helper()
	f.others = &fakeAgent{}
	server := newServer(f.others)
	for name, method := range openrendpoint.NewOpenrEndpointProcessor(f).ProcessorMap() {
		if strings.Contains(name, "ndpoint") || name == "getBridgeDomains" || name == "getOracles" || name == "clearRogue" {
			server.Service.Processor.AddToProcessorMap(name, method)
		}
	}
	first := &openrendpoint.OpenrEndpointGetEndpointChangesResult{}
	if refusal, ok := f.refusal.(*openrctrl.OpenrError); ok {
		first.Error = refusal
	}
	var news []thrift.TStruct
	for i, c := range f.changes {
		if first.Error != nil {
			break // an exception comes alone
		}
		if i < 2 {
			first.Success = append(first.Success, c)
		} else {
			news = append(news, c)
		}
	}
	server.Service.Streams = map[string]invoke.StreamMethod{"subscribeAndGetEndpointChanges": scripted(first,
		func(args *openrendpoint.OpenrEndpointGetEndpointChangesArgs) {
			f.others.did("snoop %s limit %d", filterText(args.Filter), args.Limit)
		}, news...)}
	return start(t, server, "[::1]:0")
}

// leaf is an agent with a little of everything.
func leaf() *endpointAgent {
	at := func(seconds int) int64 { return now.Add(time.Duration(seconds) * time.Second).UnixMilli() }
	const one, two = "02:00:00:00:00:01", "02:00:00:00:00:02"
	addresses := func(list ...string) (out []*openrendpoint.EndpointAddress) {
		for _, a := range list {
			out = append(out, &openrendpoint.EndpointAddress{Address: binary(a), LearnedMs: at(-100)})
		}
		return out
	}
	f := &endpointAgent{
		all: []*openrendpoint.Endpoint{
			{
				BridgeDomain: 10, Mac: one, State: "local", Port: "eth1", Vlan: 7, AgeMs: 5000, Sequence: 1, Flags: []string{"published"},
				Addresses: addresses("10.0.0.1", "fe80::1", "2001:db8::1", "2001:db8::2", "2001:db8::3"),
			},
			{BridgeDomain: 10, Mac: two, State: "remote", Node: "leaf2", TunnelAddress: binary("10.255.0.2"), AgeMs: 65_000, Sequence: 4, Moves: 2},
			{BridgeDomain: 20, Mac: one, State: "frozen", Port: "eth2", ExpiresMs: 600_000, Moves: 5, Addresses: addresses("10.0.1.1"), Flags: []string{"exception", "published"}},
			{BridgeDomain: 20, Mac: two, State: "probing", TunnelAddress: binary("10.255.0.3")},
			{BridgeDomain: 30, Mac: two, State: "stale", Node: "leaf2", TunnelAddress: binary("10.255.0.2"), Port: "eth9"},
			{BridgeDomain: 30, Mac: one, State: "bounce"},
		},
		total: 1006,
		changes: []*openrendpoint.EndpointChange{
			{AtMs: at(-60), Kind: "attach", BridgeDomain: 10, Mac: one, ToPlace: "port eth1 vlan 7", Cause: "learn"},
			{AtMs: at(-50), Kind: "move", BridgeDomain: 10, Mac: one, FromPlace: "port eth1 vlan 7", ToPlace: "leaf 10.255.0.2", Cause: "move"},
			{AtMs: at(-40), Kind: "move", BridgeDomain: 10, Mac: two, Address: binary("10.0.0.1"), FromPlace: "port eth1", ToPlace: "port eth2"},
			{AtMs: at(-30), Kind: "detach", BridgeDomain: 10, Mac: two, FromPlace: "port eth2", Cause: "age"},
			{AtMs: at(-20), Kind: "bounce", BridgeDomain: 10, Mac: one, FromPlace: "leaf 10.255.0.2", ToPlace: "leaf 10.255.0.2", Cause: "move"},
		},
		faults: []*openrendpoint.EndpointFault{
			{Kind: "rogue-mac", Text: "rogue endpoint 20/" + one + " moves too often", BridgeDomain: 20, Mac: new(string), SinceMs: at(-100), UntilMs: at(600)},
			{Kind: "loop-port", Text: "loop: port eth3 is shut", BridgeDomain: 10, Port: "eth3", SinceMs: at(-100)},
		},
		domains: []*openrendpoint.BridgeDomain{
			{ID: 10, Vrf: 1, Endpoints: 2, IpLearning: "on", EnforceSubnet: true, Subnets: []*network.IpPrefix{ipPrefix("10.0.0.0/24"), ipPrefix("2001:db8::/64")}},
			{ID: 20, Vrf: 1, Endpoints: 2, IpLearning: "arp", LearningOffUntilMs: at(240)},
		},
		oracles: []*openrendpoint.Oracle{
			{Node: "spine1", Session: "up", Ready: true, Records: 1000, LastHeardMs: 1500, TunnelAddresses: []*network.BinaryAddress{binary("10.255.1.1"), binary("fd00::1")}},
			{Node: "spine2", Session: "connecting", Unacknowledged: 7},
		},
	}
	*f.faults[0].Mac = one
	f.where = f.all[:3]
	return f
}

func TestEndpoint(t *testing.T) {
	f := leaf()
	golden(t, "endpoint", serveEndpoints(t, f),
		"endpoint show", "endpoint show --state local --json", "endpoint where 10.0.0.1", "endpoint where 02:00:00:00:00:01 --bd 10 --json", "endpoint moves",
		"endpoint moves --json", "endpoint snoop", "endpoint snoop --last 0 --json", "endpoint rogue", "endpoint rogue --json", "endpoint rogue --bd 10",
		"endpoint faults", "endpoint faults --json", "endpoint bd", "endpoint bd --json", "endpoint oracles", "endpoint oracles --json")
	golden(t, "endpoint_none", serveEndpoints(t, &endpointAgent{}),
		"endpoint show", "endpoint show --json", "endpoint where 10.0.0.1", "endpoint where 10.0.0.1 --json", "endpoint moves", "endpoint moves --json", "endpoint rogue",
		"endpoint rogue --json", "endpoint faults", "endpoint faults --json", "endpoint bd", "endpoint oracles", "endpoint snoop")
}

// TestEndpointAsks: what is typed is asked, and nothing is ordered that somebody did not confirm.
func TestEndpointAsks(t *testing.T) {
	f := leaf()
	port := serveEndpoints(t, f)
	for _, test := range []struct {
		input, args string
		printed     string
		code        int
		done        string
	}{
		{"", "show --bd 10 --state probing --access-port eth1 --limit 5", "No endpoints.", 0, "show bd 10 state probing port eth1 limit 5"},
		{"", "show 10.0.0.1", "Domain", 0, "show address 10.0.0.1 limit 10000"},
		{"", "show 0200.0000.0001 --bd 20", "Domain", 0, "show bd 20 mac 02:00:00:00:00:01 limit 10000"},
		{"", "show --bd 999", "breeze: this node has no bridge domain 999; it has 10, 20", 1, "show bd 999 limit 10000"},
		{"", "show --limit 0", "--limit is 0: want 1 or more", 2, ""},
		{"", "show --bd 16777216", "16777216 is not a bridge domain: they are numbered from 1 to 16777215", 2, ""},
		{"", "show --bd x", "invalid argument", 2, ""},
		{"", "show all", `"all" is neither a MAC address, as in 02:00:5e:10:00:01, nor an IP address, as in 192.0.2.1 or 2001:db8::1`, 2, ""},
		{"", "show 10.0.0.1 10.0.0.2", "usage: breeze endpoint show [MAC|IP]", 2, ""},
		{"", "where 0200.0000.0001", "in domain 10", 0, "where bd 0 mac 02:00:00:00:00:01"},
		{"", "where ::ffff:10.0.0.1 --bd 10", "in domain 10", 0, "where bd 10 address 10.0.0.1"},
		{"", "where fe80::1%eth0", `"fe80::1%eth0" is neither a MAC address, as in`, 2, ""},
		{"", "where leaf1", `"leaf1" is neither a MAC address, as in`, 2, ""},
		{"", "where 02:00:00:00:00", `"02:00:00:00:00" is neither a MAC address, as in`, 2, ""},
		{"", "where 10.0.0.256", `"10.0.0.256" is neither a MAC address, as in`, 2, ""},
		{"", "where", "usage: breeze endpoint where MAC|IP", 2, ""},
		{"", "moves", "attach", 0, "moves any limit 100"},
		{"", "moves --limit=-1", "--limit is -1: want 0 for all, or more", 2, ""},
		{"", "moves 02-00-00-00-00-01 --bd 10 --limit 0 --access-port eth1", "attach", 0, "moves bd 10 mac 02:00:00:00:00:01 port eth1 limit 0"},
		{"", "snoop 10.0.0.1 --last 3", "attach", 1, "snoop address 10.0.0.1 limit 3"},
		{"", "snoop --last 0", "detach", 1, "snoop any limit 1"},
		{"", "snoop --bd 999", "this node has no bridge domain 999; it has 10, 20", 1, ""},
		{"", "snoop --last=-1", "--last is -1: want 0 or more", 2, ""},
		{"", "rogue --bd 10", "", 0, "show bd 10 state frozen limit 0; show bd 10 state critical limit 0; show bd 10 state freeze limit 0"},
		{"", "clear rogue 10.0.0.1", "Nothing holds 10.0.0.1 any more.", 0, "clear rogue bd 0 address 10.0.0.1"},
		{"", "clear rogue 02:00:00:00:00:01 --bd 10 --json", `"success": true`, 0, "clear rogue bd 10 mac 02:00:00:00:00:01"},
		{"", "clear rogue", "nothing was done; answer y, or say --yes", 1, ""},
		{"y\n", "clear rogue", "End the holds of all rogue endpoints? [yn]", 0, "clear rogue bd 0"},
		{"", "clear rogue --bd 10 -y", "Nothing holds all rogue endpoints in domain 10 any more.", 0, "clear rogue bd 10"},
		{"n\n", "clear endpoint 10.0.0.1", "Forget endpoint 10.0.0.1? [yn]", 1, ""},
		{"", "clear endpoint 10.0.0.1 --yes", "Endpoint 10.0.0.1 is forgotten until it is heard.", 0, "clear endpoint bd 0 address 10.0.0.1"},
		{"", "clear endpoint --yes", "usage: breeze endpoint clear endpoint MAC|IP", 2, ""},
		{"n\n", "clear port eth1", "Is the loop removed? [yn]", 1, ""},
		{"", "clear port eth1 -y", "Port eth1 is enabled.", 0, "enable port eth1"},
		{"", "clear learning 10", "nothing was done", 1, ""},
		{"", "clear learning 10 -y", "Domain 10 learns.", 0, "enable learning 10"},
		{"", "clear learning 0 -y", `"0" is not the number of a bridge domain`, 2, ""},
		{"", "clear learning 16777216 -y", "16777216 is not a bridge domain", 2, ""},
		{"", "clear learning -y", "usage: breeze endpoint clear learning DOMAIN", 2, ""},
		{"", "clear everything", `"breeze endpoint clear" has no command "everything"; it has rogue, endpoint, port, learning`, 2, ""},
	} {
		printed, code := typed(t, test.input, append([]string{"--port", port, "endpoint"}, strings.Fields(test.args)...)...)
		if done := strings.Join(f.others.done(), "; "); !strings.Contains(printed, test.printed) || code != test.code || done != test.done {
			t.Errorf("%q with input %q: exit code %d, the agent was asked %q, printed\n%s", test.args, test.input, code, done, printed)
		}
	}
}

// TestEndpointNothing: what there is none of is said, and a domain that the node does not have is no empty table.
func TestEndpointNothing(t *testing.T) {
	port := serveEndpoints(t, &endpointAgent{domains: []*openrendpoint.BridgeDomain{{ID: 10}}})
	for args, want := range map[string]string{
		"show --bd 10":            "No endpoints.\nexit code 0\n",
		"where 10.0.0.1 --bd 10":  "breeze: nobody knows an endpoint 10.0.0.1 in domain 10\nexit code 1\n",
		"show --bd 11":            "breeze: this node has no bridge domain 11; it has 10\nexit code 1\n",
		"show --bd 11 --json":     "breeze: this node has no bridge domain 11; it has 10\nexit code 1\n",
		"where 10.0.0.1 --bd 11":  "breeze: this node has no bridge domain 11; it has 10\nexit code 1\n",
		"moves --bd 11":           "breeze: this node has no bridge domain 11; it has 10\nexit code 1\n",
		"rogue --bd 11":           "breeze: this node has no bridge domain 11; it has 10\nexit code 1\n",
		"snoop 10.0.0.1 --bd 11":  "breeze: this node has no bridge domain 11; it has 10\nexit code 1\n",
		"moves 10.0.0.1 --bd 10":  "Nothing has happened.\nexit code 0\n",
		"rogue --bd 10":           "No rogue endpoints.\nexit code 0\n",
		"show 02:00:00:00:00:0z":  "breeze: \"02:00:00:00:00:0z\" is neither a MAC address, as in 02:00:5e:10:00:01, nor an IP address, as in 192.0.2.1 or 2001:db8::1\nexit code 2\n",
		"clear rogue 02:00 --yes": "breeze: \"02:00\" is neither a MAC address, as in 02:00:5e:10:00:01, nor an IP address, as in 192.0.2.1 or 2001:db8::1\nexit code 2\n",
	} {
		printed, code := typed(t, "", append([]string{"--port", port, "endpoint"}, strings.Fields(args)...)...)
		if got := strings.TrimSuffix(printed, fmt.Sprintf("exit code %d\n", code)) + fmt.Sprintf("exit code %d\n", code); got != want {
			t.Errorf("%s: printed\n%swant\n%s", args, got, want)
		}
	}
}

// TestEndpointHelp: every command about endpoints says what it does and how it is used.
func TestEndpointHelp(t *testing.T) {
	for _, command := range []string{"", "show", "where", "moves", "snoop", "rogue", "faults", "bd", "oracles", "clear rogue", "clear endpoint", "clear port", "clear learning"} {
		help := breeze(t, append(append([]string{"endpoint"}, strings.Fields(command)...), "--help")...)
		if !strings.Contains(help, "Examples:\n  breeze endpoint "+command) {
			t.Errorf("the help of endpoint %s has no example:\n%s", command, help)
		}
	}
}

// TestNoEndpointDirectory: an agent that has none says so, and for one that never heard of any, breeze does.
func TestNoEndpointDirectory(t *testing.T) {
	without := leaf()
	without.refusal = &openrctrl.OpenrError{Message: "no endpoint directory on this node"}
	refusing, foreign := serveEndpoints(t, without), serve(t, &fakeAgent{})
	for line := range strings.SplitSeq("show, where 10.0.0.1, moves, rogue, faults, bd, oracles, clear rogue -y, clear endpoint 10.0.0.1 -y, clear port eth1 -y, clear learning 10 -y, snoop", ", ") {
		args := append([]string{"endpoint"}, strings.Fields(line)...)
		if printed, code := typed(t, "", append(args, "--port", refusing)...); code != 1 || printed != "breeze: no endpoint directory on this node\nexit code 1\n" {
			t.Errorf("%s: exit code %d, printed\n%s", line, code, printed)
		}
		printed, code := typed(t, "", append(args, "--port", foreign)...)
		if want := "breeze: openr at [::1]:" + foreign + " has no endpoint directory: it is not this project's agent, or an older one\nexit code 1\n"; code != 1 || printed != want {
			t.Errorf("%s: exit code %d, printed\n%s", line, code, printed)
		}
	}
}

func TestEndpointCompletion(t *testing.T) {
	port := serveEndpoints(t, leaf())
	for line, want := range map[string]string{
		"endpoint show --bd ''":     "10\n20\n",
		"endpoint show --state fr":  "local\nprobing\n",
		"endpoint clear port ''":    "eth3\n",
		"endpoint clear learning 2": "20\n",
		"endpoint clear rogue --y":  "--yes\t",
	} {
		if out := breeze(t, append([]string{"__complete", "--port", port}, words(line)...)...); !strings.HasPrefix(out, want) {
			t.Errorf("%s completes to\n%s", line, out)
		}
	}
}

// FuzzEndpointName reads what somebody may type for an endpoint. What is taken for one, an agent takes too.
func FuzzEndpointName(f *testing.F) {
	for _, text := range []string{"02:00:00:00:00:01", "0200.0000.0001", "10.0.0.1", "fe80::1%eth0", "::ffff:1.2.3.4", "10"} {
		f.Add(text, int64(10))
	}
	f.Fuzz(func(t *testing.T, text string, domain int64) {
		q := endpointFlags{domain: domain}
		_, _ = parseDomain(text)
		k, err := q.key([]string{text})
		if err != nil {
			return
		}
		if k.BridgeDomain != domain || (k.Mac == nil) == (k.Address == nil) || k.Mac != nil && len(*k.Mac) != 17 || k.Address != nil && addrText(k.Address) == "" {
			t.Errorf("%q, %d: %v", text, domain, k)
		}
	})
}
