package zmtp

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/curve25519"
)

// Key is one half of a Curve25519 key pair. The zero Key stands for none.
type Key [32]byte

// KeyPair is a long-term identity: the public half is told to others, the secret half never.
type KeyPair struct {
	Public, Secret Key
}

// GenerateKeys makes a new pair from random, nil for the system's.
func GenerateKeys(random io.Reader) (KeyPair, error) {
	if random == nil {
		random = rand.Reader
	}
	var p KeyPair
	if _, err := io.ReadFull(random, p.Secret[:]); err != nil {
		return KeyPair{}, fmt.Errorf("zmtp: no random numbers for a key: %w", err)
	}
	p.Public = p.Secret.publicOf()
	return p, nil
}

// PairOf returns the pair that a secret key belongs to.
func PairOf(secret Key) KeyPair { return KeyPair{Public: secret.publicOf(), Secret: secret} }

func (k Key) publicOf() Key {
	public, err := curve25519.X25519(k[:], curve25519.Basepoint)
	if err != nil { // the base point is not of low order
		panic(err)
	}
	return Key(public)
}

// IsZero tells whether there is no key.
func (k Key) IsZero() bool { return k == Key{} }

// z85 is the alphabet of 32/Z85, in which ZeroMQ's tools write keys.
const z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// String returns the key in Z85, 40 characters. Do not log secret keys; KeyPair prints only its public half.
func (k Key) String() string {
	var b strings.Builder
	for i := 0; i < len(k); i += 4 {
		v := binary.BigEndian.Uint32(k[i:])
		for _, unit := range [5]uint32{85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1} {
			b.WriteByte(z85[v/unit%85])
		}
	}
	return b.String()
}

// String returns the public half.
func (p KeyPair) String() string { return p.Public.String() }

// GoString keeps the secret half out of %#v.
func (p KeyPair) GoString() string { return "zmtp.KeyPair(" + p.Public.String() + ")" }

// ParseKey reads a key in Z85, as String writes it and zmq_curve_keypair does.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != 40 {
		return Key{}, fmt.Errorf("zmtp: a key has 40 characters (Z85), not %d", len(s))
	}
	for i := range 8 {
		var v uint64
		for j, c := range []byte(s[5*i : 5*i+5]) {
			digit := strings.IndexByte(z85, c)
			if digit < 0 {
				return Key{}, fmt.Errorf("zmtp: character %d of the key is not in the alphabet of Z85", 5*i+j+1)
			}
			v = v*85 + uint64(digit)
		}
		if v > 0xffffffff {
			return Key{}, fmt.Errorf("zmtp: characters %d to %d of the key are not Z85", 5*i+1, 5*i+5)
		}
		binary.BigEndian.PutUint32(k[4*i:], uint32(v))
	}
	if k.IsZero() {
		return Key{}, errors.New("zmtp: a key of zeros is no key")
	}
	return k, nil
}
