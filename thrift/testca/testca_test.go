package testca

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIssuedCertificatesVerify(t *testing.T) {
	a, err := New("test authority")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := a.Issue(Leaf{CommonName: "n1", DNS: []string{"n1.example"}, IPs: []net.IP{net.IPv6loopback}, URIs: []string{"spiffe://x/n1"}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.PEM()) {
		t.Fatal("the authority's PEM holds no certificate")
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}, DNSName: "n1.example"}); err != nil {
			t.Error(err)
		}
	}
	if pair.Leaf.Subject.CommonName != "n1" || len(pair.Leaf.URIs) != 1 || len(pair.Leaf.IPAddresses) != 1 {
		t.Errorf("names: %v %v %v", pair.Leaf.Subject, pair.Leaf.URIs, pair.Leaf.IPAddresses)
	}
}

func TestOpenMakesOnceThenReads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "ca")
	a, err := Open(dir, "first")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir, "second")
	if err != nil || string(a.PEM()) != string(b.PEM()) {
		t.Fatalf("the second Open gave another authority (error %v)", err)
	}
	if info, err := os.Stat(filepath.Join(dir, CAKeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info, err)
	}
	if err := b.WriteLeaf(dir, "node1", Leaf{CommonName: "node1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "node1.pem"), filepath.Join(dir, "node1.key")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "ca", "../x", ".", ".x"} {
		if err := b.WriteLeaf(dir, bad, Leaf{CommonName: "x"}); err == nil {
			t.Errorf("name %q was taken", bad)
		}
	}
}

func TestOpenRefusesHalfAnAuthority(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, "a"); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, CAKeyFile)
	if err := os.WriteFile(key, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "a"); err == nil || !strings.Contains(err.Error(), "remove them") {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "a"); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("got %v", err)
	}
}
