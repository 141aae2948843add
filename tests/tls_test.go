package tests

import (
	"path/filepath"
	"strings"
	"testing"

	"openr/lab"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/rpc"
	"openr/thrift/testca"
)

// TestTLS: agents that demand TLS of everybody synchronize their stores over it, clients with a certificate are served and
// others are not; an agent that can do without TLS gets along with one that knows none.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	ca, err := testca.Open(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := ca.WriteLeaf(dir, lab.NodeName(i), testca.Leaf{CommonName: lab.NodeName(i)}); err != nil {
			t.Fatal(err)
		}
	}
	secure := func(i int, verify string) map[string]any {
		name := filepath.Join(dir, lab.NodeName(i))
		return map[string]any{
			"thrift_server": map[string]any{
				"enable_secure_thrift_server": true, "verify_client_type": verify, "ecc_curve_name": "prime256v1",
				"x509_ca_path": filepath.Join(dir, "ca.pem"), "x509_cert_path": name + ".pem", "x509_key_path": name + ".key",
				"acceptable_peers": "n0,n1",
			},
			"thrift_client": map[string]any{"enable_secure_thrift_client": true},
		}
	}
	ask := func(n *network, i int, o rpc.DialOptions) (string, error) {
		var conn *rpc.Conn
		err := n.Do(i, func() (err error) {
			conn, err = rpc.Dial(t.Context(), "[::1]:2018", o)
			return err
		})
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return openrctrl.NewOpenrCtrlClient(conn.Client()).GetMyNodeName(t.Context())
	}
	secureClients := func(n *network, i int, o rpc.DialOptions) int64 {
		var conn *rpc.Conn
		n.must(n.Do(i, func() (err error) {
			conn, err = rpc.Dial(t.Context(), "[::1]:2018", o)
			return err
		}))
		defer conn.Close()
		counters, err := openrctrl.NewOpenrCtrlClient(conn.Client()).GetCounters(t.Context())
		n.must(err)
		return counters["kvstore.thrift.secure_client.count"]
	}

	t.Run("Required", func(t *testing.T) {
		n := start(t, lab.Options{Topology: "line:2", Config: func(i int) map[string]any { return secure(i, "ALWAYS") }})
		config, err := rpc.ClientTLS(rpc.ClientTLSOptions{Files: rpc.TLSFiles{
			CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "n1.pem"), Key: filepath.Join(dir, "n1.key"),
		}})
		n.must(err)
		with := rpc.DialOptions{TLS: config}
		if name, err := ask(n, 0, with); err != nil || name != "n0" {
			t.Errorf("with a certificate: %q, %v", name, err)
		}
		if got := secureClients(n, 0, with); got == 0 {
			t.Error("n0 has not made a TLS connection to its neighbour's store")
		}
		if name, err := ask(n, 0, rpc.DialOptions{}); err == nil {
			t.Errorf("in plaintext: %q", name)
		}
		anonymous, err := rpc.ClientTLS(rpc.ClientTLSOptions{Files: rpc.TLSFiles{CA: filepath.Join(dir, "ca.pem")}})
		n.must(err)
		if name, err := ask(n, 0, rpc.DialOptions{TLS: anonymous}); err == nil {
			t.Errorf("without a certificate: %q", name)
		}
		out, err := n.Run(t.Context(), 0, breeze, "--ssl", "--cert-reqs", "required", "--ca-file", filepath.Join(dir, "ca.pem"),
			"--cert-file", filepath.Join(dir, "n0.pem"), "--key-file", filepath.Join(dir, "n0.key"), "kvstore", "peers")
		if err != nil || !strings.Contains(string(out), "INITIALIZED") {
			t.Errorf("breeze says %v\n%s", err, out)
		}
	})
	t.Run("BesidePlaintext", func(t *testing.T) {
		n := start(t, lab.Options{Topology: "line:2", Config: func(i int) map[string]any {
			if i == 0 {
				return secure(i, "IF_PRESENTED")
			}
			return nil
		}})
		for i := range 2 {
			if name, err := ask(n, i, rpc.DialOptions{}); err != nil || name != lab.NodeName(i) {
				t.Errorf("in plaintext: %q, %v", name, err)
			}
		}
	})
}
