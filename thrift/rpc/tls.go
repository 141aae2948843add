package rpc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"go.uber.org/zap"

	"openr/monitor"
)

// VerifyClient is what a server asks of its clients; the numbers are thrift_server.verify_client_type's.
type VerifyClient int

// The kinds of VerifyClient. The C++ takes a missing verify_client_type for DoNotRequest.
const (
	Always       VerifyClient = 0 // TLS with a certificate that verifies; plaintext is refused, from loopback too
	IfPresented  VerifyClient = 1 // plaintext or TLS; a certificate that is presented must verify
	DoNotRequest VerifyClient = 2 // plaintext only: TLS is off, as in C++
)

// VerifyServer is what a client asks of servers; the numbers are thrift_client.verify_server_type's.
type VerifyServer int

// The kinds of VerifyServer. Neither looks at the names in the certificate: link-local addresses have none.
const (
	VerifyChain  VerifyServer = 0 // the certificate must come from one of the authorities
	VerifyIgnore VerifyServer = 1 // any certificate will do
)

// alpnRocket is the application protocol that stands for Rocket.
const alpnRocket = "rs"

// errPeer marks the other side's certificate as the reason why a handshake failed.
var errPeer = errors.New("certificate refused")

// ServerTLSOptions says how a server does TLS.
type ServerTLSOptions struct {
	Files           TLSFiles // required, all three
	Verify          VerifyClient
	AcceptablePeers string            // comma-separated; if not empty, a client's certificate must bear one of them as CN or SAN
	Curve           string            // the only curve for the key exchange, by OpenSSL's or NIST's name; "": what Go thinks best
	TicketSeeds     string            // file of session ticket seeds, which may be missing; "": keys of the process's own
	Log             *zap.Logger       // nil: no log
	Counters        *monitor.Counters // nil: no counters
}

// ServerTLS is a server's side of TLS 1.2 and 1.3. Changed files are taken over, within a second and at the next
// handshake; if they do not load, what they held before stays in use.
type ServerTLS struct {
	verify VerifyClient
	files  *store
	peers  peers
	base   *tls.Config
}

// NewServerTLS reads the files. It returns nil if there is to be no TLS, and says in a warning that all connections will be
// plaintext.
func NewServerTLS(o ServerTLSOptions) (*ServerTLS, error) {
	switch o.Verify {
	case Always, IfPresented:
	case DoNotRequest:
		if o.Log != nil {
			o.Log.Warn("the control port stays plaintext: TLS needs verify_client_type 0 (ALWAYS) or 1 (IF_PRESENTED)")
		}
		return nil, nil
	default:
		return nil, fmt.Errorf("verify_client_type %d: want 0 (ALWAYS), 1 (IF_PRESENTED) or 2 (DO_NOT_REQUEST)", o.Verify)
	}
	for what, name := range map[string]string{"x509_ca_path": o.Files.CA, "x509_cert_path": o.Files.Cert, "x509_key_path": o.Files.Key} {
		if name == "" {
			return nil, fmt.Errorf("TLS needs %s, which is not set", what)
		}
	}
	curves, err := curvesOf(o.Curve)
	if err != nil {
		return nil, err
	}
	files, err := newStore(o.Files, o.TicketSeeds, o.Log, o.Counters)
	if err != nil {
		return nil, err
	}
	t := &ServerTLS{verify: o.Verify, files: files, peers: peersOf(o.AcceptablePeers)}
	if t.verify == IfPresented && len(t.peers) > 0 && o.Log != nil {
		o.Log.Warn("acceptable_peers keeps out only who presents a certificate: with verify_client_type 1 (IF_PRESENTED) anybody gets in without; set it to 0 (ALWAYS)")
	}
	t.base = &tls.Config{MinVersion: tls.VersionTLS12, CurvePreferences: curves, GetConfigForClient: t.configFor}
	return t, nil
}

// plaintext reports whether connections without TLS are accepted.
func (t *ServerTLS) plaintext() bool { return t == nil || t.verify != Always }

// configFor makes the configuration of one handshake, with the files as they are now. The ticket keys of the base remain
// if there are no seeds.
func (t *ServerTLS) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	now := t.files.current()
	c := &tls.Config{
		MinVersion: t.base.MinVersion, CurvePreferences: t.base.CurvePreferences,
		Certificates: []tls.Certificate{*now.cert}, ClientCAs: now.roots,
		// The chain is verified below: only there a failure can be told from others.
		ClientAuth:       tls.RequestClientCert,
		VerifyConnection: func(s tls.ConnectionState) error { return t.check(s, now.roots) },
	}
	if slices.Contains(hello.SupportedProtos, alpnRocket) { // others are not refused: the first bytes will tell
		c.NextProtos = []string{alpnRocket}
	}
	if now.seeds != nil {
		c.SetSessionTicketKeys(now.seeds)
	}
	return c, nil
}

// check judges a client, in resumed sessions too.
func (t *ServerTLS) check(s tls.ConnectionState, roots *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		if t.verify == Always {
			return fmt.Errorf("%w: the client presented none", errPeer)
		}
		return nil
	}
	return verifyPeer(s.PeerCertificates, roots, x509.ExtKeyUsageClientAuth, t.peers)
}

// handshake takes the TLS handshake's part of a server on conn. An error that is the client certificate's fault is errPeer.
func (t *ServerTLS) handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	c := tls.Server(conn, t.base)
	return c, c.HandshakeContext(ctx)
}

// verifyPeer verifies a chain and the names in its certificate.
func verifyPeer(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, acceptable peers) error {
	leaf := chain[0]
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{usage}}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(o); err != nil {
		return fmt.Errorf("%w: %q: %w", errPeer, leaf.Subject.CommonName, err)
	}
	if !acceptable.accept(leaf) {
		return fmt.Errorf("%w: %q is not among the acceptable peers", errPeer, leaf.Subject.CommonName)
	}
	return nil
}

// peers are names of which a certificate must bear one; none: all are welcome.
type peers []string

func peersOf(list string) peers {
	var p peers
	for _, name := range strings.Split(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			p = append(p, name)
		}
	}
	return p
}

// accept reports whether the certificate's common name, or one of its DNS names, addresses or URIs, is among the peers.
// Nothing is a pattern. DNS names do not depend on case.
func (p peers) accept(c *x509.Certificate) bool {
	return len(p) == 0 || slices.ContainsFunc(p, func(name string) bool {
		if name == c.Subject.CommonName {
			return true
		}
		if slices.ContainsFunc(c.DNSNames, func(dns string) bool { return strings.EqualFold(dns, name) }) {
			return true
		}
		addr, err := netip.ParseAddr(name)
		for _, ip := range c.IPAddresses {
			if a, ok := netip.AddrFromSlice(ip); ok && err == nil && a.Unmap() == addr.Unmap() {
				return true
			}
		}
		for _, u := range c.URIs {
			if u.String() == name {
				return true
			}
		}
		return false
	})
}

// curvesOf finds a curve by the name that OpenSSL or NIST gives it.
func curvesOf(name string) ([]tls.CurveID, error) {
	switch strings.ToLower(name) {
	case "":
		return nil, nil
	case "prime256v1", "secp256r1", "p-256":
		return []tls.CurveID{tls.CurveP256}, nil
	case "secp384r1", "p-384":
		return []tls.CurveID{tls.CurveP384}, nil
	case "secp521r1", "p-521":
		return []tls.CurveID{tls.CurveP521}, nil
	case "x25519":
		return []tls.CurveID{tls.X25519}, nil
	}
	return nil, fmt.Errorf("ecc_curve_name %q: want prime256v1, secp384r1, secp521r1 or X25519", name)
}

// ClientTLSOptions says how a client does TLS.
type ClientTLSOptions struct {
	Files           TLSFiles // CA is required unless Verify is VerifyIgnore; without Cert and Key no certificate is presented
	Verify          VerifyServer
	AcceptablePeers string            // comma-separated; if not empty, a server's certificate must bear one of them as CN or SAN
	Curve           string            // as in ServerTLSOptions
	Log             *zap.Logger       // nil: no log
	Counters        *monitor.Counters // nil: no counters
}

// ClientTLS returns what Dial needs for TLS 1.2 and 1.3. Changed files are taken over as by ServerTLS.
func ClientTLS(o ClientTLSOptions) (*tls.Config, error) {
	if o.Verify != VerifyChain && o.Verify != VerifyIgnore {
		return nil, fmt.Errorf("verify_server_type %d: want 0 (IF_PRESENTED) or 1 (IGNORE_VERIFY_RESULT)", o.Verify)
	}
	if o.Verify == VerifyChain && o.Files.CA == "" {
		return nil, errors.New("to verify servers, TLS needs x509_ca_path, which is not set")
	}
	curves, err := curvesOf(o.Curve)
	if err != nil {
		return nil, err
	}
	files, err := newStore(o.Files, "", o.Log, o.Counters)
	if err != nil {
		return nil, err
	}
	acceptable := peersOf(o.AcceptablePeers)
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, CurvePreferences: curves,
		InsecureSkipVerify: true, // VerifyConnection does it, without the names
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert := files.current().cert; cert != nil {
				return cert, nil
			}
			return &tls.Certificate{}, nil // none
		},
	}
	if o.Verify == VerifyChain {
		c.VerifyConnection = func(s tls.ConnectionState) error {
			return verifyPeer(s.PeerCertificates, files.current().roots, x509.ExtKeyUsageServerAuth, acceptable)
		}
	}
	return c, nil
}
