// Package tools holds what helps people to look at the protocols from outside: a Wireshark dissector of COOP.
//
// Owns: coop.lua. Reads: captures. Writes: nothing.
package tools

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/zmtp"
)

// capture records what connections carry as a pcap file of TCP segments between made-up addresses.
type capture struct {
	mu    sync.Mutex // guards what follows
	out   []byte
	ports uint16
}

// recorded is a connection whose two directions are written to the capture.
type recorded struct {
	net.Conn
	c          *capture
	local, far uint16
	sent, got  uint32
}

func newCapture() *capture {
	c := &capture{ports: 40000}
	c.out = binary.LittleEndian.AppendUint32(c.out, 0xa1b2c3d4)
	c.out = binary.LittleEndian.AppendUint16(c.out, 2)
	c.out = binary.LittleEndian.AppendUint16(c.out, 4)
	c.out = append(c.out, make([]byte, 8)...)
	c.out = binary.LittleEndian.AppendUint32(c.out, 1<<18)
	return &capture{out: binary.LittleEndian.AppendUint32(c.out, 101), ports: c.ports} // raw IP
}

func (c *capture) dial(ctx context.Context, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ports++
	return &recorded{Conn: conn, c: c, local: c.ports, far: uint16(conn.RemoteAddr().(*net.TCPAddr).Port)}, nil
}

func (r *recorded) Write(p []byte) (int, error) {
	n, err := r.Conn.Write(p)
	r.c.segments(r.local, r.far, &r.sent, p[:n])
	return n, err
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.c.segments(r.far, r.local, &r.got, p[:n])
	return n, err
}

// segments writes bytes as packets of at most 1400 bytes.
func (c *capture) segments(from, to uint16, seq *uint32, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(p) > 0 {
		part := p[:min(len(p), 1400)]
		p = p[len(part):]
		src, dst := []byte{10, 0, 0, 1}, []byte{10, 0, 0, 2}
		if from < to {
			src, dst = dst, src
		}
		packet := []byte{0x45, 0}
		packet = binary.BigEndian.AppendUint16(packet, uint16(40+len(part)))
		packet = append(packet, 0, 0, 0, 0, 64, 6, 0, 0)
		packet = append(append(packet, src...), dst...)
		packet = binary.BigEndian.AppendUint16(packet, from)
		packet = binary.BigEndian.AppendUint16(packet, to)
		packet = binary.BigEndian.AppendUint32(packet, 1+*seq)
		packet = append(packet, 0, 0, 0, 1, 5<<4, 0x18, 0xff, 0xff, 0, 0, 0, 0)
		packet = append(packet, part...)
		*seq += uint32(len(part))
		now := time.Now()
		c.out = binary.LittleEndian.AppendUint32(c.out, uint32(now.Unix()))
		c.out = binary.LittleEndian.AppendUint32(c.out, uint32(now.Nanosecond()/1000))
		c.out = binary.LittleEndian.AppendUint32(c.out, uint32(len(packet)))
		c.out = binary.LittleEndian.AppendUint32(c.out, uint32(len(packet)))
		c.out = append(c.out, packet...)
	}
}

func (c *capture) file(t *testing.T) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := filepath.Join(t.TempDir(), "coop.pcap")
	if err := os.WriteFile(name, c.out, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func tshark(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("tshark", append([]string{"-X", "lua_script:coop.lua"}, args...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark (apt-get install tshark): %v: %s", err, errs.String())
	}
	if strings.Contains(errs.String(), "coop.lua") {
		t.Fatalf("tshark: %s", errs.String())
	}
	return string(out)
}

// session lets a leaf publish n endpoints to an oracle, follow their domain and ask for one.
func session(t *testing.T, c *capture, strict bool, n int) {
	var oracleKeys, leafKeys zmtp.KeyPair
	oracle := coop.Member{Node: "spine1", Role: coop.RoleOracle}
	tep := netip.MustParseAddr("10.9.0.1")
	leaf := coop.Member{Node: "leaf1", Role: coop.RoleLeaf, TEPs: []netip.Addr{tep}}
	if strict {
		var err error
		if oracleKeys, err = zmtp.GenerateKeys(nil); err != nil {
			t.Fatal(err)
		}
		if leafKeys, err = zmtp.GenerateKeys(nil); err != nil {
			t.Fatal(err)
		}
		oracle.Key, leaf.Key = oracleKeys.Public.String(), leafKeys.Public.String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	s, err := coop.NewServer(ctx, coop.ServerOptions{Session: "127.0.0.1:0", Feed: "127.0.0.1:0", Transport: coop.Transport{Keys: oracleKeys},
		Oracle: coop.OracleOptions{Node: "spine1", Area: "fabric", Epoch: 5}})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { s.Run(ctx) })
	stable, answered := make(chan endpoint.Key, n), make(chan bool, 1)
	l, err := coop.NewClient(coop.ClientOptions{Transport: coop.Transport{Keys: leafKeys, Dial: c.dial},
		Citizen:  coop.CitizenOptions{Node: "leaf1", Area: "fabric", Epoch: 6, TEPs: leaf.TEPs},
		OnStable: func(k endpoint.Key) { stable <- k },
		OnAnswer: func(*coop.Answer) { answered <- true },
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { l.Run(ctx) })
	oracle.Session, oracle.Feed = s.SessionAddr.String(), s.FeedAddr.String()
	for _, err := range []error{s.SetMember(ctx, leaf), s.SetMembersComplete(ctx), l.SetInterest(ctx, []endpoint.BD{100}), l.Complete(ctx), l.SetOracle(ctx, oracle)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		l.Publish(&endpoint.Record{Key: endpoint.Key{BD: 100, MAC: endpoint.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}}, VRF: 1, TEP: tep, Port: "swp1",
			IPs: []endpoint.IP{{Addr: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)})}}, Seq: 1, TS: time.Now().UnixNano(), Publisher: "leaf1"}, endpoint.CauseLearn)
	}
	for range n {
		<-stable
	}
	if err := l.Lookup(ctx, coop.Query{VRF: 1, IP: netip.MustParseAddr("172.16.0.1")}); err != nil {
		t.Fatal(err)
	}
	<-answered
}

// Requirement A15: in a capture COOP messages are recognised inside ZeroMQ's frames, with their records.
func TestDissector(t *testing.T) {
	c := newCapture()
	session(t, c, false, 300)
	name := c.file(t)
	list := tshark(t, "-r", name)
	for _, want := range []string{"[greeting NULL]", "[READY]", "HELLO leaf leaf1", "HELLO-ACK", "SNAPSHOT domain 100", "END domain 100", "PUBLISH ",
		"ACK ", "LOOKUP 172.16.0.1", "ANSWER 172.16.0.1: record"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of packets lacks %q", want)
		}
	}
	if t.Failed() {
		t.Log(list)
	}
	if bad := tshark(t, "-r", name, "-Y", "coop.malformed"); bad != "" {
		t.Errorf("malformed:\n%s", bad)
	}
	macs := tshark(t, "-r", name, "-Y", "coop.type == 3", "-T", "fields", "-e", "coop.record.mac", "-e", "coop.record.tep", "-e", "coop.cause")
	for _, want := range []string{"02:00:00:00:00:00", "02:00:00:00:01:2b", "10.9.0.1"} {
		if !strings.Contains(macs, want) {
			t.Errorf("the records that were published lack %s", want)
		}
	}
	details := tshark(t, "-r", name, "-V", "-Y", "coop.type == 7")
	for _, want := range []string{"Answer: record (1)", "Record 100/02:00:00:00:00:01 at 10.9.0.1, active, seq 1", "Publisher: leaf1", "Area: fabric"} {
		if !strings.Contains(details, want) {
			t.Errorf("the details lack %q:\n%s", want, details)
		}
	}
}

// Requirement A15: the same of packets between agents, as tshark has recorded them at a leaf (TestEndpointSecurity with
// OPENR_TEST_CAPTURE): encrypted sessions whose beginning is not among them, known by their ports, and one in the clear.
func TestDissectorOfAgents(t *testing.T) {
	const name = "testdata/agents.pcap"
	list := tshark(t, "-r", name)
	for _, want := range []string{"[encrypted by CURVE]", "[greeting NULL]", "[READY]", "HELLO leaf clear", "HELLO-ACK accepted", "SNAPSHOT domain 10100",
		"[SUBSCRIBE]", "CHUNK number 0, 2 records; END domain 10100", "PUBLISH 1 records", "DELTA n0 domain 10100", "ACK 1 ok", "[PING]", "[PONG]"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of packets lacks %q", want)
		}
	}
	if bad := tshark(t, "-r", name, "-Y", "coop.malformed"); bad != "" {
		t.Errorf("malformed:\n%s", bad)
	}
	fields := tshark(t, "-r", name, "-Y", "coop.type == 3", "-T", "fields", "-e", "coop.record.mac", "-e", "coop.record.tep", "-e", "coop.record.bd", "-e", "coop.record.seq")
	if fields != "02:00:00:00:09:09\t192.0.2.77\t10100\t1\n" {
		t.Errorf("published: %q", fields)
	}
}

// What is encrypted is shown as that.
func TestDissectorOfCURVE(t *testing.T) {
	c := newCapture()
	session(t, c, true, 3)
	list := tshark(t, "-r", c.file(t))
	for _, want := range []string{"[greeting CURVE]", "[encrypted by CURVE]"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of packets lacks %q:\n%s", want, list)
		}
	}
	if strings.Contains(list, "PUBLISH") {
		t.Error("records can be read")
	}
}
