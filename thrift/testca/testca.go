package testca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// The files of an authority in its folder; a certificate for NAME is NAME.pem, with its key in NAME.key.
const (
	CAFile    = "ca.pem"
	CAKeyFile = "ca.key"
)

// Lifetime is how long authorities and certificates are valid, if nothing else is asked for.
const Lifetime = 10 * 365 * 24 * time.Hour

// backdate forgives clocks that are behind the one that signed.
const backdate = time.Hour

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	der  []byte
}

// Leaf describes a certificate. CommonName is required; an empty list is left out of the certificate.
type Leaf struct {
	CommonName string
	DNS        []string
	IPs        []net.IP
	URIs       []string
	NotBefore  time.Time // default: an hour ago
	NotAfter   time.Time // default: in Lifetime
}

// New makes an authority with a fresh key on P-256.
func New(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(Lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cert, key, der}, err
}

// Open takes the authority whose files stand in dir, or makes one named name and writes them, the key readable by its
// owner alone.
func Open(dir, name string) (*Authority, error) {
	certFile, keyFile := filepath.Join(dir, CAFile), filepath.Join(dir, CAKeyFile)
	certPEM, certErr := os.ReadFile(certFile)
	keyPEM, keyErr := os.ReadFile(keyFile)
	switch {
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		a, err := New(name)
		if err != nil {
			return nil, err
		}
		return a, a.write(dir)
	case certErr != nil || keyErr != nil:
		return nil, fmt.Errorf("an authority is %s and %s together, remove what is left of it to make a new one: %w", certFile, keyFile, errors.Join(certErr, keyErr))
	}
	a, err := parse(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no authority of this kind, remove them to make a new one: %w", certFile, keyFile, err)
	}
	return a, nil
}

func (a *Authority) write(dir string) error {
	key, err := keyPEM(a.key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return errors.Join(
		renameio.WriteFile(filepath.Join(dir, CAFile), a.PEM(), 0o644),
		renameio.WriteFile(filepath.Join(dir, CAKeyFile), key, 0o600))
}

func parse(certPEM, keyPEM []byte) (*Authority, error) {
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, errors.New("no PEM block")
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, err
	}
	private, ok := key.(*ecdsa.PrivateKey)
	switch {
	case !ok:
		return nil, fmt.Errorf("key is a %T, want one on an elliptic curve", key)
	case !private.PublicKey.Equal(cert.PublicKey):
		return nil, errors.New("the key is not the certificate's")
	case !cert.IsCA:
		return nil, errors.New("the certificate may not sign others")
	}
	return &Authority{cert, private, certBlock.Bytes}, nil
}

// PEM returns the authority's certificate.
func (a *Authority) PEM() []byte { return pemOf("CERTIFICATE", a.der) }

// Issue makes a key and a certificate for it, good for servers and for clients.
func (a *Authority) Issue(l Leaf) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: l.CommonName},
		NotBefore: l.NotBefore, NotAfter: l.NotAfter,
		DNSNames: l.DNS, IPAddresses: l.IPs,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-backdate)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = a.cert.NotAfter
	}
	for _, text := range l.URIs {
		u, err := url.Parse(text)
		if err != nil {
			return nil, nil, fmt.Errorf("URI for %s: %w", l.CommonName, err)
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	key, err = keyPEM(private)
	return pemOf("CERTIFICATE", der), key, err
}

// WriteLeaf issues a certificate and writes it to dir as NAME.pem and NAME.key, the key readable by its owner alone.
// Both appear whole, the key first.
func (a *Authority) WriteLeaf(dir, name string, l Leaf) error {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") || name+".pem" == CAFile {
		return fmt.Errorf("%q cannot name a certificate's files", name)
	}
	cert, key, err := a.Issue(l)
	if err != nil {
		return fmt.Errorf("certificate for %s: %w", name, err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, name+".key"), key, 0o600); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, name+".pem"), cert, 0o644)
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemOf("PRIVATE KEY", der), err
}

func pemOf(kind string, der []byte) []byte {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a buffer takes everything
	return b.Bytes()
}
