package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
	"openr/thrift/testca"
)

// listening is a server that does with each connection what do does.
func listening(t *testing.T, do func(net.Conn)) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go do(c)
		}
	}()
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// TestUnreachable checks that each way of not reaching an agent says what to do about it.
func TestUnreachable(t *testing.T) {
	silent := listening(t, func(net.Conn) {})
	closing := listening(t, func(c net.Conn) { c.Close() })
	const nobody = "1" // tcpmux; a port that was free a moment ago may be somebody's now
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--port", nobody}, ":" + nobody + ": connection refused - is it running?"},
		{[]string{"--port", silent, "--timeout", "50"}, "no answer within 50ms"},
		{[]string{"--port", closing}, "closed the connection"},
		{[]string{"-H", "fe80::1%nosuchif"}, "nosuchif"},
		{[]string{"-H", "[::1]", "--port", nobody}, "cannot reach openr at [::1]:" + nobody + ": connection refused"},
		{[]string{"-H", "no.such.host.invalid"}, "cannot find out the address of no.such.host.invalid: "},
		{[]string{"-H", "fe80::1"}, "breeze: fe80::1 is a link-local address: say on which interface, as in fe80::1%eth0"},
	} {
		out := breeze(t, append(test.args, "spark", "neighbors")...)
		if !strings.HasPrefix(out, "breeze: ") || !strings.Contains(out, test.want) || !strings.HasSuffix(out, "\nexit code 1\n") {
			t.Errorf("%q printed %q, want %q", test.args, out, test.want)
		}
	}
}

// TestLocalhost: an agent that listens on IPv4 only is found under the default name.
func TestLocalhost(t *testing.T) {
	port := start(t, newServer(&fakeAgent{}), "127.0.0.1:0")
	if out, code := typed(t, "", "--port", port, "kvstore", "areas"); code != 0 {
		t.Errorf("printed %q", out)
	}
	if out, code := typed(t, "", "-H", "127.0.0.1", "--port", port, "kvstore", "areas"); code != 0 {
		t.Errorf("printed %q", out)
	}
}

// TestOldAgent asks an agent that lacks a method.
func TestOldAgent(t *testing.T) {
	p := openrctrlcpp.NewOpenrCtrlCppProcessor(&fakeAgent{})
	delete(p.ProcessorMap(), "getNeighbors")
	port := start(t, &rpc.Server{Service: &invoke.Service{Processor: p}}, "[::1]:0")
	if out := breeze(t, "--port", port, "spark", "neighbors"); !strings.Contains(out, "does not know this question") {
		t.Errorf("printed %q", out)
	}
	p = openrctrlcpp.NewOpenrCtrlCppProcessor(&fakeAgent{})
	delete(p.ProcessorMap(), "setKvStoreKeyValues") // younger than setKvStoreKeyVals
	port = start(t, &rpc.Server{Service: &invoke.Service{Processor: p}}, "[::1]:0")
	if out := breeze(t, "--port", port, "kvstore", "set-key", "k", "v"); !strings.Contains(out, "internal error in setKvStoreKeyVals") {
		t.Errorf("printed %q", out)
	}
}

// TestOlderTransport speaks with an agent that closes the connection when it sees Rocket.
func TestOlderTransport(t *testing.T) {
	server := start(t, newServer(&fakeAgent{}), "[::1]:0")
	port := listening(t, func(c net.Conn) {
		defer c.Close()
		first := make([]byte, 8)
		if n, err := c.Read(first); err != nil || n < 8 || first[7]>>2 == 1 { // a SETUP frame
			return
		}
		up, err := net.Dial("tcp", "[::1]:"+server)
		if err != nil {
			return
		}
		defer up.Close()
		up.Write(first)
		go func() {
			defer up.Close()
			buffer := make([]byte, 4096)
			for {
				n, err := c.Read(buffer)
				up.Write(buffer[:n])
				if err != nil {
					return
				}
			}
		}()
		buffer := make([]byte, 4096)
		for {
			n, err := up.Read(buffer)
			c.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	})
	if out, code := typed(t, "", "--port", port, "kvstore", "peers"); code != 0 || !strings.Contains(out, "node10") {
		t.Errorf("printed %q", out)
	}
	if out, code := typed(t, "", "--port", port, "kvstore", "snoop"); code != 1 || !strings.Contains(out, "no streams") {
		t.Errorf("printed %q", out)
	}
}

// secured is a server under TLS with a certificate for node1, and the files of its authority, of a client's certificate, and
// of an authority that nobody knows.
func secured(t *testing.T, verify rpc.VerifyClient) (port, dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"ca", "other"} {
		authority, err := testca.New(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".crt"), authority.PEM(), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, leaf := range []testca.Leaf{{CommonName: "node1", DNS: []string{"node1.example"}}, {CommonName: "operator"}} {
			if err := authority.WriteLeaf(dir, name+"-"+leaf.CommonName, leaf); err != nil {
				t.Fatal(err)
			}
		}
	}
	server := newServer(&fakeAgent{})
	tls, err := rpc.NewServerTLS(rpc.ServerTLSOptions{Verify: verify, Files: rpc.TLSFiles{
		CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "ca-node1.pem"), Key: filepath.Join(dir, "ca-node1.key"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = tls
	return start(t, server, "[::1]:0"), dir
}

func TestTLS(t *testing.T) {
	strict, dir := secured(t, rpc.Always)
	lenient, other := secured(t, rpc.IfPresented)
	plaintext := serve(t, &fakeAgent{})
	own := " --cert-file " + dir + "/ca-operator.pem --key-file " + dir + "/ca-operator.key"
	const ok = ""
	for _, tt := range []struct{ port, flags, want string }{
		{strict, "--ssl" + own, ok},
		{strict, "--ssl --cert-reqs required --ca-file " + dir + "/ca.crt" + own, ok},
		{strict, "--ssl --cert-reqs required --ca-file " + dir + "/ca.crt --acceptable-peer-name node1" + own, ok},
		{strict, "--ssl --cert-reqs required --ca-file " + dir + "/ca.crt --acceptable-peer-name node1.example" + own, ok},
		{strict, "--ssl --cert-reqs required --ca-file " + dir + "/ca.crt --acceptable-peer-name node2" + own, `is not trusted: its certificate is "node1"'s, not "node2"'s`},
		{strict, "--ssl --cert-reqs optional --ca-file " + dir + "/other.crt" + own, "is not trusted: x509: certificate signed by unknown authority"},
		{strict, "--no-ssl", "does it want --ssl?"},
		{strict, "--ssl", "refuses our side of TLS: tls: "},
		{lenient, "--ssl --cert-file " + dir + "/other-operator.pem --key-file " + dir + "/other-operator.key", "refuses our side of TLS: tls: "},
		{lenient, "--ssl --cert-reqs required --ca-file " + other + "/ca.crt", ok},
		{lenient, "--ssl --no-ssl", ok},
		{plaintext, "--ssl", "breeze: warning: openr at [::1]:" + plaintext + " does not speak TLS"},
		{plaintext, "--ssl --cert-reqs optional", "going on in plain text"},
		{plaintext, "--ssl --cert-reqs required", "breeze: openr at"},
	} {
		out, code := typed(t, "", append(strings.Fields("--port "+tt.port+" "+tt.flags), "kvstore", "areas")...)
		failed := code != 0
		if wantFailure := tt.want != ok && !strings.Contains(tt.want, "warning") && !strings.Contains(tt.want, "plain text"); failed != wantFailure || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d, printed\n%s", strings.ReplaceAll(tt.flags, dir, ""), code, out)
		}
		if tt.want == ok && strings.Contains(out, "warning") {
			t.Errorf("%s: printed\n%s", tt.flags, out)
		}
	}
}

// TestTLSStreams: streams work under TLS too.
func TestTLSStreams(t *testing.T) {
	port, _ := secured(t, rpc.IfPresented)
	if out := breeze(t, "--port", port, "--ssl", "kvstore", "snoop"); !strings.Contains(out, "subscribeAndGetAreaKvStores") {
		t.Errorf("an agent without the stream: %s", out)
	}
}
