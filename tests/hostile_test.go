package tests

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"openr/lab"
	"openr/lab/hostile"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
)

// The line of TestHostileNeighbour.
const offender, victim, friend = 0, 1, 2

// hostileLimits are what the victim takes over one link: little enough to be reached in seconds.
var hostileLimits = map[string]any{
	"max_keys": 200_000, "max_mb": 128, "peer_max_keys": 20_000, "peer_max_mb": 32, "peer_keys_per_second": 20_000, "peer_keys_burst": 50_000,
}

// maxResident is what the victim may take whatever is done to it, in MiB: answers that are not taken (a quarter of package
// agent's maxMessage), what comes in, what the limits above let into the store, and what the garbage collector leaves for later.
const maxResident = 640

// raced says that there is a race detector in the agents.
var raced = os.Getenv("OPENR_TEST_RACE") == "1"

// offence is a way to misbehave and what the victim is to say of it.
type offence struct {
	mode     string
	counters []string // those that grow
	log      string   // a regular expression for a line in the log that names the offender
	fast     bool     // it takes an agent without the race detector to read so much that there is something to refuse
	forges   bool     // it speaks in the name of others: until they have spoken against it, packets may be lost
}

// packets is an offence of packets that the victim refuses for that cause.
func packets(mode, cause string) offence {
	return offence{
		mode: mode, counters: []string{"spark." + cause + ".sum", "spark.foul_packets.to-n0.sum"},
		log: `somebody on the link.*"interface": "to-n0", "cause": "spark.` + regexp.QuoteMeta(cause) + `"`,
	}
}

// flood is packets for what only an agent notices that reads fast enough; otherwise the kernel drops it.
func flood(mode, cause string) offence {
	o := packets(mode, cause)
	o.fast = true
	return o
}

// connections is an offence on the control port.
func connections(mode, cause string, counters ...string) offence {
	return offence{
		mode: mode, counters: append(counters, "rpc.server.offences.to-n0.count"),
		log: `a client misuses the control port.*"network": "to-n0", "cause": "` + cause + `"`,
	}
}

// lasting are offences that go on until the victim puts an end to them; offences are over sooner.
func lasting() []offence {
	return []offence{
		connections("half-open", "silent", "rpc.server.error.silent.count"),
		connections("slow-sender", "timeout", "rpc.server.error.timeout.count"),
		connections("never-reads", "memory", "rpc.server.error.memory.count"),
	}
}

func offences() []offence {
	const limited, rejected = "kvstore.limited_key_vals.link.to-n0.sum", "kvstore.rejected_key_vals.link.to-n0.sum"
	const full, foul = `keys refused.*"from": "link.to-n0"`, `values refused.*"from": "link.to-n0"`
	return []offence{
		packets("wrong-area", "handshake.area_mismatch"),
		packets("old-sequence", "hello.old_sequence"),
		packets("own-name", "invalid_keepalive.looped_packet"),
		{mode: "others-name", counters: []string{"spark.neighbor_up.sum"}, log: `neighbour changes state.*"interface": "to-n0", "neighbor": "n2".*"to": "ESTABLISHED"`},
		packets("huge-list", "packet_undecodable"),
		flood("many-names", "rate_limit_strangers"),
		packets("oversized", "packet_oversized"),
		packets("truncated", "packet_undecodable"),
		packets("wrong-hops", "invalid_keepalive.hop_limit"),
		packets("old-version", "hello.invalid_version"),
		packets("bad-handshake", "handshake.invalid_port"),
		flood("packet-flood", "rate_limit_strangers"),

		{mode: "million-keys", counters: []string{limited, "kvstore.rate_limit_held.link.to-n0.count"}, log: full},
		{mode: "million-originators", counters: []string{limited}, log: `floods too fast.*"from": "link.to-n0"`},
		{mode: "million-answer", counters: []string{limited}, log: full},
		{mode: "ttl-storm", counters: []string{rejected}, log: foul},
		{mode: "ping-pong", counters: []string{"kvstore.damped_key_vals.link.to-n0.sum"}, log: `a key changes too often.*"from": "link.to-n0"`},
		{mode: "last-version", counters: []string{rejected}, log: foul},
		{mode: "others-keys", counters: []string{rejected, "kvstore.num_defended_keys.link.to-n0.count"}, log: `taking own key back.*"from": "link.to-n0"`, forges: true},
		{mode: "garbage-values", counters: []string{"decision.error.count"}, log: `ignored what a key says.*mallory`},
		{mode: "big-values", counters: []string{rejected}, log: foul},

		connections("many-connections", "too many connections", "rpc.server.refused.count"),
		{mode: "mute-store", counters: []string{"kvstore.thrift.num_full_sync_failure.count"}, log: `peer failed.*"peer": "mute".*%to-n0`},
		{mode: "raving-store", counters: []string{"kvstore.thrift.num_full_sync_failure.count"}, log: `peer failed.*"peer": "raving".*%to-n0`},
	}
}

// TestHostileNeighbour: an agent between a neighbour that misbehaves in every way and one in good standing. It stays within its
// memory, keeps its adjacency and routes with the latter, loses no packet of its, says who it was, and is as before when
// it is over.
func TestHostileNeighbour(t *testing.T) {
	n := start(t, lab.Options{Topology: "line:3", Config: func(i int) map[string]any {
		c := map[string]any{"areas": []any{map[string]any{
			"area_id": "backbone", "include_interface_regexes": []any{"to-.*"}, "redistribute_interface_regexes": []any{"lo"},
		}}}
		if i == victim {
			c["kvstore_limits"] = hostileLimits
		}
		return c
	}})
	n.must(n.Stop(offender, syscall.SIGKILL))
	n.converges("the agent gives way to a hostile one")
	s := n.besieged()

	over := make(chan error, len(lasting()))
	for _, o := range lasting() {
		go func() { over <- s.evil.Do(t.Context(), o.mode) }()
	}
	for _, o := range offences() {
		t.Run(o.mode, func(t *testing.T) { s.suffers(t, o) })
	}
	for range lasting() {
		if err := <-over; err != nil {
			t.Error(err)
		}
	}
	for _, o := range lasting() {
		t.Run(o.mode, func(t *testing.T) { s.complains(t, o, s.begin) })
	}
	s.evil.Close()
	s.unharmed()
	n.must(n.Start(offender))
	n.converges("a good neighbour in its place")
}

// siege is the victim between the two.
type siege struct {
	*network
	evil  *hostile.Neighbour
	ctl   *openrctrl.OpenrCtrlClient // of the victim
	begin map[string]int64           // the victim's counters
	log   int64                      // bytes of its log
	downs int64                      // of the friend's neighbours
	route *watch
}

func (n *network) besieged() *siege {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	dose := 100
	if raced {
		dose = 20 // with the race detector everything takes ten times the time
	}
	evil, err := hostile.Open(ctx, hostile.Options{
		Interface: "to-n1", Dose: dose, Other: lab.NodeName(friend), Area: "backbone", Lasts: 35 * time.Second,
		Inside: func(f func() error) error { return n.Do(offender, f) },
	})
	n.must(err)
	n.t.Cleanup(evil.Close)
	info, err := os.Stat(n.LogPath(victim))
	n.must(err)
	s := &siege{network: n, evil: evil, ctl: n.control(victim), log: info.Size(), downs: n.counters(friend)["spark.neighbor_down.sum"], route: n.watchRoutes(victim)}
	s.begin = ask(n, s.ctl.GetCounters)
	return s
}

// said returns what the victim has logged since the beginning.
func (s *siege) said() string {
	s.t.Helper()
	text, err := os.ReadFile(s.LogPath(victim))
	s.must(err)
	return string(text[s.log:])
}

// resident returns what the victim has in memory, and the most that it ever had, in MiB.
func (s *siege) resident() (now, most int) {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID(victim)))
	s.must(err)
	field := func(name string) int {
		m := regexp.MustCompile(name + `:\s+(\d+) kB`).FindStringSubmatch(string(text))
		if m == nil {
			s.t.Fatalf("no %s in the status of the victim:\n%s", name, text)
		}
		kb, _ := strconv.Atoi(m[1])
		return kb >> 10
	}
	return field("VmRSS"), field("VmHWM")
}

// suffers has something done to the victim.
func (s *siege) suffers(t *testing.T, o offence) {
	before := ask(s.network, s.ctl.GetCounters)
	streams := append(s.probes(victim, friend), s.probes(friend, victim)...)
	s.watchPackets(streams)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := time.Now()
	if err := s.evil.Do(ctx, o.mode); err != nil {
		t.Error(err)
	}
	took := time.Since(begin)
	s.evil.Leave()
	lost := 0
	for _, p := range streams {
		_, gone := p.lost()
		p.from.Close()
		p.to.Close()
		if lost += len(gone); len(gone) > 0 && !o.forges {
			t.Errorf("%d packets from %s were lost, number %d to %d", len(gone), p.name, gone[0], gone[len(gone)-1])
		}
	}
	if lost > 0 {
		for line := range strings.Lines(s.said()) {
			if strings.Contains(line, `"to-n2"`) || strings.Contains(line, `"peer": "n2"`) || strings.Contains(line, "watchdog") {
				t.Log(strings.TrimSpace(line))
			}
		}
		t.Logf("deleted routes: %q", s.route.gone)
	}
	if !o.fast || !raced {
		s.complains(t, o, before)
	}
	if o.forges {
		s.recovers()
	}
	now, most := s.resident()
	t.Logf("%v; %d packets lost; the victim has %d MiB, at most %d", took.Round(time.Millisecond), lost, now, most)
	if most > maxResident && !raced { // it takes ten times the memory
		t.Errorf("the victim took %d MiB of memory, more than %d", most, maxResident)
	}
}

// recovers waits until what was said in the friend's name is out of the world: the victim has the friend's keys as the friend
// has them, and whatever the forged ones did is undone.
func (s *siege) recovers() {
	s.t.Helper()
	name := lab.NodeName(friend)
	keys := func(c *openrctrl.OpenrCtrlClient) map[string]string {
		p, err := c.GetKvStoreKeyValsFilteredArea(s.t.Context(), &kvstore.KeyDumpParams{
			Keys: []string{"adj:" + name, "prefix:" + name + ":"}, OriginatorIds: []string{},
		}, "backbone")
		s.must(err)
		versions := map[string]string{}
		for key, v := range p.KeyVals {
			versions[key] = fmt.Sprint(v.Version, v.OriginatorId)
		}
		return versions
	}
	own := s.control(friend)
	s.eventually("the victim has the friend's keys of the friend", func() bool {
		v := keys(s.ctl)
		return len(v) > 0 && maps.Equal(v, keys(own))
	})
	time.Sleep(time.Second) // longer than decision waits for more before it computes (debounce_max_ms)
	s.converges("forged keys")
}

// complains checks that the victim has counted what was done to it, and said who it was.
func (s *siege) complains(t *testing.T, o offence, before map[string]int64) {
	line := regexp.MustCompile(o.log)
	var missing []string
	defer func() {
		if t.Failed() || s.t.Failed() {
			t.Logf("did not grow: %v", missing)
		}
	}()
	s.eventually(fmt.Sprintf("the victim complains of %s: %v, %s", o.mode, o.counters, o.log), func() bool {
		missing = missing[:0]
		now := ask(s.network, s.ctl.GetCounters)
		for _, name := range o.counters {
			if now[name] <= before[name] {
				missing = append(missing, name)
			}
		}
		return len(missing) == 0 && line.MatchString(s.said())
	})
}

// unharmed checks that the friend was a neighbour all the time, and that nothing is left of what was done.
func (s *siege) unharmed() {
	t := s.t
	t.Helper()
	if n := s.counters(friend)["spark.neighbor_down.sum"] - s.downs; n != 0 {
		t.Errorf("the friend lost the victim %d times", n)
	}
	for line := range strings.Lines(s.said()) {
		if strings.Contains(line, "NEIGHBOR_DOWN") && strings.Contains(line, `"interface":"to-n2"`) {
			t.Errorf("the victim lost the friend: %s", line)
		}
	}
	s.eventually("the victim has nothing of the offender any more", func() bool {
		now := ask(s.network, s.ctl.GetCounters)
		return now["kvstore.num_keys"] == s.begin["kvstore.num_keys"] && now["spark.num_adjacent_neighbors"] == 1 &&
			now["rpc.server.connections"] <= s.begin["rpc.server.connections"]+2
	})
	s.converges("all that")
	now, most := s.resident()
	t.Logf("in the end the victim has %d MiB; at most it had %d", now, most)
}
