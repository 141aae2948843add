package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"openr/monitor"
	"openr/thrift/gen/fb303core"
	"openr/thrift/testca"
)

// authority makes a CA in a folder of its own, with certificates by these names.
func authority(t testing.TB, names ...string) (*testca.Authority, string) {
	t.Helper()
	dir := t.TempDir()
	ca, err := testca.Open(dir, "test authority")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		issue(t, ca, dir, name, testca.Leaf{CommonName: name})
	}
	return ca, dir
}

func issue(t testing.TB, ca *testca.Authority, dir, name string, l testca.Leaf) {
	t.Helper()
	if err := ca.WriteLeaf(dir, name, l); err != nil {
		t.Fatal(err)
	}
}

func filesIn(dir, name string) TLSFiles {
	return TLSFiles{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
}

func serverTLS(t testing.TB, o ServerTLSOptions) *ServerTLS {
	t.Helper()
	s, err := NewServerTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func clientTLS(t testing.TB, o ClientTLSOptions) *tls.Config {
	t.Helper()
	c, err := ClientTLS(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ask dials and makes one call.
func ask(ctx context.Context, addr string, o DialOptions) (secure bool, err error) {
	o.ConnectTimeout, o.RequestTimeout = 20*time.Second, 20*time.Second
	conn, err := Dial(ctx, addr, o)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	name, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(ctx)
	if err == nil && name != "test" {
		err = fmt.Errorf("got %q", name)
	}
	return conn.Secure(), err
}

// TestTLSMatrix tries every kind of client on every mode of the server.
func TestTLSMatrix(t *testing.T) {
	ca, dir := authority(t, "server", "friend", "stranger")
	issue(t, ca, dir, "expired", testca.Leaf{CommonName: "friend", NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	_, elsewhere := authority(t, "friend")
	caOf := filepath.Join(dir, "ca.pem")
	own := func(name string) TLSFiles { return filesIn(dir, name) }
	foreign := filesIn(elsewhere, "friend")
	foreign.CA = caOf

	certificates := map[string]struct {
		files TLSFiles
		plain bool
		// Whether it is served when the server's mode is ALWAYS, or IF_PRESENTED, with and without acceptable peers.
		always, alwaysPeers, ifPresented, ifPresentedPeers bool
		counter                                            string
	}{
		"plaintext":        {plain: true, ifPresented: true, ifPresentedPeers: true, counter: counterNoTLS},
		"no certificate":   {files: TLSFiles{CA: caOf}, ifPresented: true, ifPresentedPeers: true, counter: counterPeer},
		"a friend":         {files: own("friend"), always: true, alwaysPeers: true, ifPresented: true, ifPresentedPeers: true},
		"a stranger":       {files: own("stranger"), always: true, ifPresented: true, counter: counterPeer},
		"another CA":       {files: foreign, counter: counterPeer},
		"expired":          {files: own("expired"), counter: counterPeer},
		"self-made server": {files: own("server"), always: true, ifPresented: true, counter: counterPeer},
	}
	for mode, server := range map[string]*ServerTLS{
		"ALWAYS":               serverTLS(t, ServerTLSOptions{Files: own("server")}),
		"ALWAYS, peers":        serverTLS(t, ServerTLSOptions{Files: own("server"), AcceptablePeers: "foe, friend"}),
		"IF_PRESENTED":         serverTLS(t, ServerTLSOptions{Files: own("server"), Verify: IfPresented}),
		"IF_PRESENTED, peers":  serverTLS(t, ServerTLSOptions{Files: own("server"), Verify: IfPresented, AcceptablePeers: "friend"}),
		"ALWAYS, prime256v1":   serverTLS(t, ServerTLSOptions{Files: own("server"), Curve: "prime256v1"}),
		"DO_NOT_REQUEST (nil)": serverTLS(t, ServerTLSOptions{Verify: DoNotRequest}),
	} {
		f := serve(t, &handler{}, func(s *Server) { s.TLS = server })
		for name, client := range certificates {
			for _, dialect := range []Dialect{Rocket, THeader, Framed} {
				t.Run(fmt.Sprintf("%s/%s/%v", mode, name, dialect), func(t *testing.T) {
					o := DialOptions{Dialect: dialect}
					if !client.plain {
						o.TLS = clientTLS(t, ClientTLSOptions{Files: client.files})
					}
					want, counter := client.plain, counterNotTLS
					switch mode {
					case "ALWAYS", "ALWAYS, prime256v1":
						want, counter = client.always, client.counter
					case "ALWAYS, peers":
						want, counter = client.alwaysPeers, client.counter
					case "IF_PRESENTED":
						want, counter = client.ifPresented, client.counter
					case "IF_PRESENTED, peers":
						want, counter = client.ifPresentedPeers, client.counter
					}
					before, _ := f.counters.Get(counter + ".count")
					secure, err := ask(t.Context(), f.addr, o)
					switch {
					case want && (err != nil || secure == client.plain):
						t.Errorf("secure %v, %v", secure, err)
					case !want && err == nil:
						t.Error("was served")
					case !want && !strings.Contains(err.Error(), f.addr):
						t.Errorf("the error does not name the server: %v", err)
					case !want:
						f.waitCount(t, counter, before+1)
					}
				})
			}
		}
	}
}

func TestPlaintextFallback(t *testing.T) {
	_, dir := authority(t, "server", "client")
	config := clientTLS(t, ClientTLSOptions{Files: filesIn(dir, "client")})
	plain := serve(t, &handler{}, nil)
	for _, d := range []Dialect{Rocket, THeader, Framed} {
		if secure, err := ask(t.Context(), plain.addr, DialOptions{Dialect: d, TLS: config, PlaintextFallback: true}); err != nil || secure {
			t.Errorf("%v: secure %v, %v", d, secure, err)
		}
	}
	if _, err := ask(t.Context(), plain.addr, DialOptions{TLS: config}); err == nil || !strings.Contains(err.Error(), "connect without") {
		t.Errorf("without fall-back: %v", err)
	}
	// A server with a bad certificate is no plaintext server.
	_, elsewhere := authority(t, "server")
	f := serve(t, &handler{}, func(s *Server) {
		s.TLS = serverTLS(t, ServerTLSOptions{Files: filesIn(elsewhere, "server"), Verify: IfPresented})
	})
	if _, err := ask(t.Context(), f.addr, DialOptions{TLS: config, PlaintextFallback: true}); !errors.Is(err, errPeer) {
		t.Errorf("got %v, want a complaint about the certificate", err)
	}
	// Nor is one that refuses the handshake; TLS 1.2 tells so within it.
	strict := serve(t, &handler{}, func(s *Server) {
		s.TLS = serverTLS(t, ServerTLSOptions{Files: filesIn(dir, "server"), Verify: Always})
	})
	anonymous := clientTLS(t, ClientTLSOptions{Files: TLSFiles{CA: filepath.Join(dir, "ca.pem")}})
	anonymous.MaxVersion = tls.VersionTLS12
	if _, err := ask(t.Context(), strict.addr, DialOptions{TLS: anonymous, PlaintextFallback: true}); err == nil || !strings.Contains(err.Error(), "refused the handshake") {
		t.Errorf("got %v, want to hear that the server refuses", err)
	}
}

func TestClientVerifiesServers(t *testing.T) {
	_, dir := authority(t, "server", "client")
	_, elsewhere := authority(t, "server")
	own := serve(t, &handler{}, func(s *Server) {
		s.TLS = serverTLS(t, ServerTLSOptions{Files: filesIn(dir, "server"), Verify: IfPresented})
	})
	foreign := serve(t, &handler{}, func(s *Server) {
		s.TLS = serverTLS(t, ServerTLSOptions{Files: filesIn(elsewhere, "server"), Verify: IfPresented})
	})
	for _, test := range []struct {
		name string
		addr string
		o    ClientTLSOptions
		ok   bool
	}{
		{"own", own.addr, ClientTLSOptions{Files: TLSFiles{CA: filepath.Join(dir, "ca.pem")}}, true},
		{"own, acceptable", own.addr, ClientTLSOptions{Files: TLSFiles{CA: filepath.Join(dir, "ca.pem")}, AcceptablePeers: "server"}, true},
		{"own, not acceptable", own.addr, ClientTLSOptions{Files: TLSFiles{CA: filepath.Join(dir, "ca.pem")}, AcceptablePeers: "other"}, false},
		{"foreign", foreign.addr, ClientTLSOptions{Files: TLSFiles{CA: filepath.Join(dir, "ca.pem")}}, false},
		{"foreign, ignored", foreign.addr, ClientTLSOptions{Verify: VerifyIgnore}, true},
	} {
		if _, err := ask(t.Context(), test.addr, DialOptions{TLS: clientTLS(t, test.o)}); (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// TestOtherClientsOfTLS has clients offer protocols and versions that are not ours.
func TestOtherClientsOfTLS(t *testing.T) {
	_, dir := authority(t, "server")
	f := serve(t, &handler{}, func(s *Server) {
		s.TLS = serverTLS(t, ServerTLSOptions{Files: filesIn(dir, "server"), Verify: IfPresented})
	})
	for _, test := range []struct {
		name   string
		config *tls.Config
		alpn   string
		ok     bool
	}{
		{"rs among others", &tls.Config{NextProtos: []string{"h2", "rs"}}, "rs", true},
		{"others", &tls.Config{NextProtos: []string{"thrift", "h2"}}, "", true},
		{"none", &tls.Config{}, "", true},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12, NextProtos: []string{"rs"}}, "rs", true},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config.InsecureSkipVerify = true
			c := tls.Client(f.raw(t), test.config)
			if err := c.HandshakeContext(t.Context()); (err == nil) != test.ok {
				t.Fatal(err)
			}
			if got := c.ConnectionState().NegotiatedProtocol; got != test.alpn {
				t.Errorf("protocol %q, want %q", got, test.alpn)
			}
			if test.ok && test.alpn == "" {
				c.Write(compactCall("key"))
				readFrame(t, c)
			}
		})
	}
}

func TestTLSGarbage(t *testing.T) {
	_, dir := authority(t, "server")
	f := serve(t, &handler{}, func(s *Server) {
		s.TLS = serverTLS(t, ServerTLSOptions{Files: filesIn(dir, "server")})
		s.HandshakeTimeout = 100 * time.Millisecond
	})
	for i, garbage := range []string{"\x16\x03\x01\x00\x05hello there", "\x16\x03\x01\xff\xff", "\x16\x03\x01\x40\x00\x01\x00\x00\xf0"} {
		c := f.raw(t)
		c.Write([]byte(garbage))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%q: the connection stays open", garbage)
		}
		f.waitCount(t, counterHandshake, int64(i+1))
	}
}

// clock makes a store believe that time has passed.
func clock(s *store) (pass func()) {
	var offset atomic.Int64
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	return func() { offset.Add(int64(checkEvery)) }
}

func TestReload(t *testing.T) {
	ca, dir := authority(t, "server", "client")
	core, logged := observer.New(zap.WarnLevel)
	counters := monitor.NewCounters()
	server := serverTLS(t, ServerTLSOptions{Files: filesIn(dir, "server"), Log: zap.New(core), Counters: counters})
	pass := clock(server.files)
	f := serve(t, &handler{}, func(s *Server) { s.TLS = server })
	serial := func() string {
		t.Helper()
		config := clientTLS(t, ClientTLSOptions{Files: filesIn(dir, "client"), Verify: VerifyIgnore})
		conn, err := Dial(t.Context(), f.addr, DialOptions{Dialect: Framed, TLS: config, ConnectTimeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := serial()
	issue(t, ca, dir, "server", testca.Leaf{CommonName: "server"})
	if serial() != first {
		t.Error("the files were looked at again within a second")
	}
	pass()
	second := serial()
	if second == first {
		t.Error("the new certificate is not used")
	}
	// What does not load leaves the old in use, and is complained about once.
	key := filesIn(dir, "server").Key
	good, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(key, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			pass()
			if serial() != second {
				t.Error("a bad key took the old certificate out of use")
			}
		}
	}
	os.Remove(key)
	pass()
	if serial() != second {
		t.Error("a missing key took the old certificate out of use")
	}
	if n, _ := counters.Get(counterReloadError + ".count"); n != 3 || logged.Len() != 3 {
		t.Errorf("%d failures counted, %d logged, want 3", n, logged.Len())
	}
	if err := os.WriteFile(key, good, 0o600); err != nil {
		t.Fatal(err)
	}
	issue(t, ca, dir, "server", testca.Leaf{CommonName: "server"})
	pass()
	if third := serial(); third == second {
		t.Error("the third certificate is not used")
	}
	if n, _ := counters.Get(counterReload + ".count"); n != 2 {
		t.Errorf("%d reloads, want 2", n)
	}
	// A new authority refuses the clients of the old one.
	_, other := authority(t)
	pem, err := os.ReadFile(filepath.Join(other, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), pem, 0o600); err != nil {
		t.Fatal(err)
	}
	pass()
	if _, err := ask(t.Context(), f.addr, DialOptions{TLS: clientTLS(t, ClientTLSOptions{Files: filesIn(dir, "client"), Verify: VerifyIgnore})}); err == nil {
		t.Error("a client of the old authority was served")
	}
}

func TestTicketSeeds(t *testing.T) {
	_, dir := authority(t, "server", "client")
	seeds := filepath.Join(t.TempDir(), "seeds.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(seeds, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"old": ["aa"], "current": ["bb01"], "new": ["cc"]}`)
	config := clientTLS(t, ClientTLSOptions{Files: filesIn(dir, "client")})
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	config.ServerName = "any" // the cache's key
	resumed := func(f *fixture) bool {
		t.Helper()
		conn, err := Dial(t.Context(), f.addr, DialOptions{Dialect: Framed, TLS: config, ConnectTimeout: 20 * time.Second, RequestTimeout: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fb303core.NewBaseServiceClient(conn.Client()).GetName(t.Context()); err != nil { // reads the ticket too
			t.Fatal(err)
		}
		return conn.conn.(*tls.Conn).ConnectionState().DidResume
	}
	start := func(peers string) (*fixture, func()) {
		server := serverTLS(t, ServerTLSOptions{Files: filesIn(dir, "server"), TicketSeeds: seeds, AcceptablePeers: peers})
		return serve(t, &handler{}, func(s *Server) { s.TLS = server }), clock(server.files)
	}
	one, _ := start("")
	two, pass := start("client")
	if resumed(one) {
		t.Error("the first connection resumed something")
	}
	if !resumed(two) {
		t.Error("a server with the same seeds does not take the ticket")
	}
	write(`{"old": ["bb01"], "current": ["cc"], "new": ["dd"]}`)
	pass()
	if !resumed(two) {
		t.Error("a ticket of the old seed is not taken")
	}
	write(`{"current": ["ee"]}`)
	pass()
	if resumed(two) {
		t.Error("a ticket of a forgotten seed is taken")
	}
	// Resuming gets nobody past the acceptable peers.
	three, _ := start("somebody else")
	if _, err := ask(t.Context(), three.addr, DialOptions{Dialect: Framed, TLS: config}); err == nil {
		t.Error("a resumed session was not checked")
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"current": []}`, `{"current": ["zz"]}`, `{"current": [""]}`} {
		if _, err := parseSeeds([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestTLSOptionsAreChecked(t *testing.T) {
	_, dir := authority(t, "server")
	good := filesIn(dir, "server")
	for want, o := range map[string]ServerTLSOptions{
		"x509_ca_path, which is not set":   {Files: TLSFiles{Cert: good.Cert, Key: good.Key}},
		"x509_cert_path, which is not set": {Files: TLSFiles{CA: good.CA, Key: good.Key}},
		"x509_key_path, which is not set":  {Files: TLSFiles{CA: good.CA, Cert: good.Cert}},
		"no such file":                     {Files: TLSFiles{CA: good.CA + "x", Cert: good.Cert, Key: good.Key}},
		"holds no certificate":             {Files: TLSFiles{CA: good.Key, Cert: good.Cert, Key: good.Key}},
		"certificate \"":                   {Files: TLSFiles{CA: good.CA, Cert: good.CA, Key: good.Key}},
		"ecc_curve_name \"brainpool\"":     {Files: good, Curve: "brainpool"},
		"verify_client_type 9":             {Files: good, Verify: 9},
		"ticket seeds in":                  {Files: good, TicketSeeds: good.CA},
	} {
		if _, err := NewServerTLS(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	for want, o := range map[string]ClientTLSOptions{
		"verify_server_type 2": {Files: good, Verify: 2},
		"needs x509_ca_path":   {},
		"no such file":         {Files: TLSFiles{CA: good.CA + "x"}},
		"ecc_curve_name":       {Files: good, Curve: "P-1"},
	} {
		if _, err := ClientTLS(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	core, logged := observer.New(zap.WarnLevel)
	if s, err := NewServerTLS(ServerTLSOptions{Verify: DoNotRequest, Log: zap.New(core)}); s != nil || err != nil || logged.Len() != 1 {
		t.Errorf("DO_NOT_REQUEST: %v, %v, %d warnings", s, err, logged.Len())
	}
	// IF_PRESENTED lets anybody in without a certificate: acceptable peers cannot be meant so.
	serverTLS(t, ServerTLSOptions{Files: good, Verify: IfPresented, AcceptablePeers: "friend", Log: zap.New(core)})
	serverTLS(t, ServerTLSOptions{Files: good, Verify: IfPresented, Log: zap.New(core)})
	serverTLS(t, ServerTLSOptions{Files: good, AcceptablePeers: "friend", Log: zap.New(core)})
	if n := logged.FilterMessageSnippet("acceptable_peers").Len(); n != 1 || logged.Len() != 2 {
		t.Errorf("%d of %d warnings are of acceptable peers, want 1 of 2", n, logged.Len())
	}
}

func TestAcceptablePeers(t *testing.T) {
	ca, _ := authority(t)
	cert, key, err := ca.Issue(testca.Leaf{
		CommonName: "node1", DNS: []string{"node1.example"}, IPs: []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}, URIs: []string{"spiffe://lab/node1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]bool{
		"": true, " , ": true, "node1": true, "Node1": false, "x,node1": true, "node1.EXAMPLE": true, "example": false,
		"192.0.2.1": true, "192.0.2.2": false, "2001:db8:0:0::1": true, "::ffff:192.0.2.1": true, "spiffe://lab/node1": true, "spiffe://lab/node2": false,
		"*": false, "node2 , node3": false,
	} {
		if got := peersOf(list).accept(pair.Leaf); got != want {
			t.Errorf("%q: %v, want %v", list, got, want)
		}
	}
}
