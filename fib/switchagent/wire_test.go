package switchagent

import (
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"openr/msg"
	"openr/thrift/gen/network"
	"openr/thrift/invoke"
)

// Answers of a C++ FibService on Rocket: metadata and data of PAYLOAD frames, written down by hand from RpcMetadata.thrift
// and Platform.thrift.
var (
	// payloadMetadata (field 7) {responseMetadata (1) {}}
	answered = "7c1c000000"
	// payloadMetadata {exceptionMetadata (2) {name_utf8, what_utf8, metadata (3) {declaredException (1) {}}}}
	thrown = "7c2c" + "18" + text("PlatformFibUpdateError") + "18" + text("::openr::thrift::PlatformFibUpdateError") + "1c1c0000" + "00" + "00" + "00"

	done = "00" // the result struct of a void method

	// field 0, i64 1700000000 as zigzag varint
	since = "0600" + "80c49fd50c" + "00"
	// field 0, an empty list of structs
	noRoutes = "0900" + "0c" + "00"

	ten     = "1c" + "1804" + "0a010000" + "00" + "1420" + "00"                           // IpPrefix{BinaryAddress{0a010000}, 16}
	fd00    = "1c" + "1810" + "fd000001000000000000000000000000" + "00" + "148001" + "00" // IpPrefix{BinaryAddress{fd00:1::}, 64}
	partial = "2c" +                                                                      // field 2 of the result: fibError
		"1b" + "01" + "59" + "00" + "2c" + ten + fd00 + // vrf2failedAddUpdatePrefixes: vrf 0 -> two prefixes
		"1b" + "00" + // vrf2failedDeletePrefixes: empty
		"1905" + "1905" + // no labels
		"00" + "00"
)

// text writes a string with its length, which is less than 128.
func text(s string) string { return hex.EncodeToString(append([]byte{byte(len(s))}, s...)) }

// script answers requests by method, metadata and data as above.
type script map[string][2]string

// serve speaks just enough Rocket to give the answers, and keeps the requests.
func (s script) serve(t *testing.T, requests func(method string, frame []byte)) string {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	must(t, err)
	var work sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				s.converse(t, c, requests)
			})
		}
	})
	return l.Addr().String()
}

func (s script) converse(t *testing.T, c net.Conn, requests func(string, []byte)) {
	head := make([]byte, 3)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		frame := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		switch kind := frame[4] >> 2; kind {
		case 0x01: // SETUP: answered with METADATA_PUSH, version 10
			_, _ = c.Write(unhex("00000c" + "00000000" + "3100" + "1c1514110000"))
		case 0x04: // REQUEST_RESPONSE
			for method, answer := range s {
				if !bytes.Contains(frame, unhex("18"+text(method))) {
					continue
				}
				requests(method, frame)
				metadata, data := unhex(answer[0]), unhex(answer[1])
				b := append([]byte(nil), frame[:4]...)
				b = append(b, 0x29, 0x60) // PAYLOAD with metadata, NEXT, COMPLETE
				b = append(b, 0, byte(len(metadata)>>8), byte(len(metadata)))
				b = append(append(b, metadata...), data...)
				_, _ = c.Write(append([]byte{0, byte(len(b) >> 8), byte(len(b))}, b...))
				break
			}
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// TestBytesOfAnswers reads a partial failure as a C++ agent writes it, and checks what goes out.
func TestBytesOfAnswers(t *testing.T) {
	var mu sync.Mutex
	sent := map[string]string{}
	addr := script{
		"aliveSince": {answered, since}, "getRouteTableByClient": {answered, noRoutes}, "deleteUnicastRoutes": {answered, done},
		"syncFib": {thrown, partial}, "addUnicastRoutes": {thrown, partial},
	}.serve(t, func(method string, frame []byte) {
		mu.Lock()
		defer mu.Unlock()
		sent[method] = hex.EncodeToString(frame)
	})
	p := open(t, Options{Addr: addr, RequestTimeout: time.Minute})
	dump(t, p)
	good := route("fd00:2::/64", "fe80::1 eth0 0")
	for _, method := range []string{"syncFib", "addUnicastRoutes"} {
		update := []msg.Route{route("10.1.0.0/16", "fe80::1 eth0 0"), route("fd00:1::/64", "fe80::1 eth0 0"), good}
		failed, err := p.Apply(t.Context(), update, nil)
		must(t, err)
		if len(failed) != 2 || failed[prefix("10.1.0.0/16")] == nil || failed[prefix("fd00:1::/64")] == nil {
			t.Errorf("%s: failed are %v", method, failed)
		}
	}
	apply(t, p, nil, prefix("10.1.0.0/16"))
	// What Open/R sends: clientId 786 (i16 as zigzag: 0xa4 0x0c), then the routes with next hops, weight 0 and metric.
	mu.Lock()
	defer mu.Unlock()
	hop := "1c" + "1810" + "fe800000000000000000000000000001" + "2804" + hex.EncodeToString([]byte("eth0")) + "00" + "1500"
	if !strings.Contains(sent["addUnicastRoutes"], "14a40c"+"193c"+"1c"+ten) || !strings.Contains(sent["addUnicastRoutes"], hop) {
		t.Errorf("addUnicastRoutes: %s", sent["addUnicastRoutes"])
	}
	if want := "14a40c" + "191c" + ten + "00"; !strings.HasSuffix(sent["deleteUnicastRoutes"], want) {
		t.Errorf("deleteUnicastRoutes: %s, want it to end in %s", sent["deleteUnicastRoutes"], want)
	}
}

// TestPartialWithoutPrefix takes an exception that names nothing for a failure of all.
func TestPartialWithoutPrefix(t *testing.T) {
	nothing := "2c" + "1b00" + "1b00" + "1905" + "1905" + "00" + "00"
	addr := script{
		"aliveSince": {answered, since}, "getRouteTableByClient": {answered, noRoutes}, "syncFib": {thrown, nothing},
	}.serve(t, func(string, []byte) {})
	p := open(t, Options{Addr: addr})
	dump(t, p)
	_, err := p.Apply(t.Context(), routes, nil)
	contains(t, err, "names no prefix")
}

func TestRouteFromThrift(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1")
	hop := func(a []byte, name string, weight int32) *network.NextHopThrift {
		h := network.NewNextHopThrift()
		h.Address, h.Weight = network.NewBinaryAddress(), weight
		h.Address.Addr = a
		if name != "" {
			h.Address.IfName = &name
		}
		return h
	}
	dest := RouteThrift(msg.Route{Prefix: prefix("10.1.0.0/16")}).Dest
	for _, c := range []struct {
		name string
		in   *network.UnicastRoute
		want msg.Route
		err  string
	}{
		{"nothing", nil, msg.Route{}, "route is missing"},
		{"no prefix", &network.UnicastRoute{}, msg.Route{}, "dest: prefix is missing"},
		{"drop", &network.UnicastRoute{Dest: dest}, route("10.1.0.0/16"), ""},
		{"drop as a null next hop", &network.UnicastRoute{Dest: dest, NextHops: []*network.NextHopThrift{hop(nil, "", 0)}}, route("10.1.0.0/16"), ""},
		{"weights of 0", &network.UnicastRoute{Dest: dest, NextHops: []*network.NextHopThrift{hop(v4.AsSlice(), "eth0", 0), hop(v6.AsSlice(), "eth1", 0)}},
			route("10.1.0.0/16", "192.0.2.1 eth0 1", "fe80::1 eth1 1"), ""},
		{"address of no family", &network.UnicastRoute{Dest: dest, NextHops: []*network.NextHopThrift{hop([]byte{1}, "eth0", 0)}}, msg.Route{}, "nextHops[0]: address of 1 bytes"},
		{"negative weight", &network.UnicastRoute{Dest: dest, NextHops: []*network.NextHopThrift{hop(v4.AsSlice(), "", -1)}}, msg.Route{}, "weight -1"},
		{"interface only", &network.UnicastRoute{Dest: dest, NextHops: []*network.NextHopThrift{hop(nil, "eth0", 0)}}, route("10.1.0.0/16", "- eth0 1"), ""},
		{"labels", &network.UnicastRoute{Dest: dest, NextHops: []*network.NextHopThrift{{Address: network.NewBinaryAddress(), MplsAction: network.NewMplsAction()}}}, msg.Route{}, "MPLS"},
	} {
		got, err := RouteFromThrift(c.in)
		if c.err != "" {
			contains(t, err, c.err)
			continue
		}
		if err != nil || !got.SameForwarding(c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

// FuzzRoute reads any bytes as a route. What can be read comes back the same after being written.
func FuzzRoute(f *testing.F) {
	for _, r := range routes {
		b, err := invoke.Marshal(invoke.Compact, nil, RouteThrift(r))
		must(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := network.NewUnicastRoute()
		if invoke.Unmarshal(invoke.Compact, b, in) != nil {
			return
		}
		r, err := RouteFromThrift(in)
		if err != nil {
			return
		}
		again, err := RouteFromThrift(RouteThrift(r))
		if err != nil || !again.SameForwarding(r) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}
