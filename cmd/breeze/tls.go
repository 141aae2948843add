package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// certRequests is the flag --cert-reqs, with the meanings that Python's ssl module gives to a client.
type certRequests string

const (
	certNone     certRequests = "none"     // any certificate will do
	certOptional certRequests = "optional" // a certificate is verified, but an agent without TLS is accepted
	certRequired certRequests = "required" // a verified certificate, or no connection
)

func (c *certRequests) String() string {
	if *c == "" {
		return string(certNone)
	}
	return string(*c)
}

func (c *certRequests) Type() string { return "what" }

func (c *certRequests) Set(s string) error {
	switch certRequests(s) {
	case certNone, certOptional, certRequired:
		*c = certRequests(s)
		return nil
	}
	return errors.New("want none, optional or required")
}

// tlsFlags are the global flags about TLS.
type tlsFlags struct {
	use           bool
	requests      certRequests
	cert, key, ca string
	peer          string
}

func (t *tlsFlags) register(f *pflag.FlagSet) {
	f.BoolVar(&t.use, "ssl", false, "speak TLS; to an agent that does not, plain text unless --cert-reqs is required")
	no := f.VarPF((*negation)(&t.use), "no-ssl", "", "the opposite of --ssl")
	no.NoOptDefVal, no.DefValue, no.Hidden = "true", "false", true
	f.Var(&t.requests, "cert-reqs", "what the agent has to show: none, optional (verified if there is TLS at all) or required")
	f.StringVar(&t.cert, "cert-file", "", "own certificate (PEM), for agents that want one")
	f.StringVar(&t.key, "key-file", "", "its key (PEM)")
	f.StringVar(&t.ca, "ca-file", "", "certificates (PEM) of the authorities that the agent's must come from; default: the system's")
	f.StringVar(&t.peer, "acceptable-peer-name", "", "name that the agent's certificate must have; default: any")
}

// config makes a TLS configuration of the flags.
func (t *tlsFlags) config() (*tls.Config, error) {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// The chain is verified below: who connects by address knows the agent's name from --acceptable-peer-name only.
		InsecureSkipVerify: true,
	}
	if (t.cert == "") != (t.key == "") {
		return nil, usagef("--cert-file and --key-file belong together")
	}
	if t.cert != "" {
		pair, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, fmt.Errorf("failed to load --cert-file %s and --key-file %s: %w", t.cert, t.key, err)
		}
		// Not Certificates: of those Go keeps back what comes from an authority that the agent did not name, and the agent
		// could not say what is wrong.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	var roots *x509.CertPool // nil: the system's
	if t.ca != "" {
		pem, err := os.ReadFile(t.ca)
		if err != nil {
			return nil, fmt.Errorf("failed to read --ca-file: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca-file %s has no certificates in it", t.ca)
		}
	}
	if t.requests == "" || t.requests == certNone {
		return c, nil
	}
	c.VerifyConnection = func(state tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range state.PeerCertificates[1:] {
			options.Intermediates.AddCert(cert)
		}
		leaf := state.PeerCertificates[0]
		if _, err := leaf.Verify(options); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		if t.peer != "" && leaf.Subject.CommonName != t.peer && leaf.VerifyHostname(t.peer) != nil {
			err := fmt.Errorf("its certificate is %q's, not %q's", leaf.Subject.CommonName, t.peer)
			return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
		}
		return nil
	}
	return c, nil
}
