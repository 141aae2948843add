package zmtp

import (
	"encoding/binary"
	"fmt"
	"io"

	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// The prefixes of nonces (26/CURVEZMQ). What follows them is a counter of 8 octets or a random number of 16.
const (
	nonceHello    = "CurveZMQHELLO---"
	nonceInitiate = "CurveZMQINITIATE"
	nonceReady    = "CurveZMQREADY---"
	nonceClient   = "CurveZMQMESSAGEC"
	nonceServer   = "CurveZMQMESSAGES"
	nonceWelcome  = "WELCOME-"
	nonceCookie   = "COOKIE--"
	nonceVouch    = "VOUCH---"
)

// Sizes of commands' data, without the name.
const (
	helloSize    = 2 + 72 + 32 + 8 + 64 + box.Overhead
	cookieSize   = 16 + 64 + box.Overhead
	welcomeSize  = 16 + 32 + cookieSize + box.Overhead
	vouchSize    = 16 + 64 + box.Overhead
	initiateSize = cookieSize + 8 + 32 + vouchSize + box.Overhead // and the properties
	readySize    = 8 + box.Overhead                               // and the properties
)

// shared is what a box between two key pairs is made with; both sides compute the same.
type shared [32]byte

// agree computes the shared key of a secret and a public one. It refuses public keys of low order, for which the result
// would not depend on the secret: whoever sends one proves nothing.
func agree(secret, public *Key) (*shared, error) {
	k := precompute(secret, public)
	if *k == predictable {
		return nil, fault(CauseCrypto, "a public key is of low order")
	}
	return k, nil
}

// predictable is what every secret key agrees on with a public key of low order, such as zero.
var predictable = *precompute(&Key{}, &Key{})

func precompute(secret, public *Key) *shared {
	var k shared
	box.Precompute((*[32]byte)(&k), (*[32]byte)(public), (*[32]byte)(secret))
	return &k
}

func (k *shared) seal(dst, plain []byte, nonce *[24]byte) []byte {
	return box.SealAfterPrecomputation(dst, plain, nonce, (*[32]byte)(k))
}

func (k *shared) open(dst, sealed []byte, nonce *[24]byte) ([]byte, bool) {
	return box.OpenAfterPrecomputation(dst, sealed, nonce, (*[32]byte)(k))
}

// counted returns a nonce of a prefix of 16 and a counter.
func counted(prefix string, n uint64) *[24]byte {
	var nonce [24]byte
	copy(nonce[:], prefix)
	binary.BigEndian.PutUint64(nonce[16:], n)
	return &nonce
}

// long returns a nonce of a prefix of 8 and 16 octets, a random number.
func long(prefix string, number []byte) *[24]byte {
	var nonce [24]byte
	copy(nonce[:], prefix)
	copy(nonce[8:], number)
	return &nonce
}

// draw fills b with random octets.
func draw(random io.Reader, b []byte) error {
	if _, err := io.ReadFull(random, b); err != nil {
		return fmt.Errorf("zmtp: no random numbers: %w", err)
	}
	return nil
}

// counter watches the peer's short nonces, which have to grow.
type counter uint64

func (c *counter) check(data []byte) (uint64, error) {
	n := binary.BigEndian.Uint64(data)
	if n <= uint64(*c) {
		return 0, fault(CauseNonce, "a nonce %d came after %d: a command was repeated", n, uint64(*c))
	}
	*c = counter(n)
	return n, nil
}

// Flags inside a MESSAGE. 26/CURVEZMQ knows MORE only; libzmq marks commands, such as PING, by the second bit.
const (
	innerMore    = 0x01
	innerCommand = 0x02
)

// messageOverhead is what MESSAGE adds to a body: name, nonce, box and flags.
const messageOverhead = 1 + len(cmdMessage) + 8 + box.Overhead + 1

// curveSealer makes MESSAGE commands. Their frames do not have the flag of a command: libzmq sends them so, and takes those
// with the flag for its own.
type curveSealer struct {
	key     *shared
	nonce   [24]byte
	last    uint64
	scratch []byte
}

func newCurveSealer(key *shared, prefix string, last uint64) *curveSealer {
	return &curveSealer{key: key, nonce: *counted(prefix, 0), last: last}
}

func (s *curveSealer) plain() bool { return false }

func (s *curveSealer) seal(dst []byte, flags byte, body []byte) []byte {
	inner := byte(0)
	if flags&flagMore != 0 {
		inner |= innerMore
	}
	if flags&flagCommand != 0 {
		inner |= innerCommand
	}
	s.last++
	binary.BigEndian.PutUint64(s.nonce[16:], s.last)
	s.scratch = append(append(s.scratch[:0], inner), body...)
	dst = appendHeader(dst, 0, len(body)+messageOverhead)
	dst = appendCommand(dst, cmdMessage, s.nonce[16:])
	dst = s.key.seal(dst, s.scratch, &s.nonce)
	if cap(s.scratch) > 64<<10 {
		s.scratch = nil
	}
	return dst
}

// curveOpener opens MESSAGE commands.
type curveOpener struct {
	key   *shared
	nonce [24]byte
	last  counter
}

func newCurveOpener(key *shared, prefix string, last counter) *curveOpener {
	return &curveOpener{key: key, nonce: *counted(prefix, 0), last: last}
}

func (o *curveOpener) overhead() int { return messageOverhead }

func (o *curveOpener) open(f frame) (frame, error) {
	const head = 1 + len(cmdMessage)
	if len(f.body) < messageOverhead || f.body[0] != byte(len(cmdMessage)) || string(f.body[1:head]) != cmdMessage {
		return frame{}, fault(CauseCommand, "a frame of %d octets came where a MESSAGE has to", len(f.body))
	}
	last := o.last
	if _, err := last.check(f.body[head:]); err != nil {
		return frame{}, err
	}
	copy(o.nonce[16:], f.body[head:head+8])
	plain, ok := o.key.open(make([]byte, 0, len(f.body)-head-8-box.Overhead), f.body[head+8:], &o.nonce)
	if !ok {
		return frame{}, fault(CauseCrypto, "a MESSAGE does not open: it is forged or damaged")
	}
	o.last = last
	inner := plain[0]
	if inner&^(innerMore|innerCommand) != 0 || inner == innerMore|innerCommand {
		return frame{}, fault(CauseFrame, "a MESSAGE has the flags %#02x", inner)
	}
	opened := frame{body: plain[1:], owned: true}
	if inner&innerMore != 0 {
		opened.flags |= flagMore
	}
	if inner&innerCommand != 0 {
		opened.flags |= flagCommand
	}
	return opened, nil
}

// sealSecret and openSecret box with a key that only one side knows.
func sealSecret(dst, plain []byte, nonce *[24]byte, key *[32]byte) []byte {
	return secretbox.Seal(dst, plain, nonce, key)
}

func openSecret(sealed []byte, nonce *[24]byte, key *[32]byte) ([]byte, bool) {
	return secretbox.Open(nil, sealed, nonce, key)
}
