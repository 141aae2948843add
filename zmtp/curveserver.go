package zmtp

import (
	"bytes"
	"encoding/binary"
	"io"
)

// curveServer is the listening side of CURVE (26/CURVEZMQ). In the names of the specification: keys is (S, s), clientKey is
// C, clientShort is C', and the cookie holds C' and s'. Between WELCOME and INITIATE it remembers the cookie's key alone.
type curveServer struct {
	own    metadata
	keys   KeyPair
	random io.Reader

	cookieKey   *[32]byte // nil before HELLO and after INITIATE
	greeted     bool
	heard       counter // the client's last short nonce
	clientKey   Key
	session     *shared // of s' and C'; nil until INITIATE
	theirs      metadata
	sentNonce   uint64
	clientShort Key
}

func (c *curveServer) first() ([]byte, error) { return nil, nil }

func (c *curveServer) handle(name string, data []byte) ([]byte, status, error) {
	switch {
	case name == cmdHello && !c.greeted:
		reply, err := c.hello(data)
		return reply, shaking, err
	case name == cmdInitiate && c.cookieKey != nil:
		return nil, authorise, c.initiate(data)
	}
	return nil, shaking, fault(CauseCommand, "the command %q has no place in this step of CURVE", name)
}

// hello reads HELLO and returns WELCOME.
func (c *curveServer) hello(data []byte) ([]byte, error) {
	c.greeted = true
	if len(data) != helloSize {
		return nil, fault(CauseCommand, "a HELLO of %d octets, not %d", len(data), helloSize)
	}
	if data[0] != 1 || data[1] != 0 {
		return nil, fault(CauseCommand, "a HELLO of version %d.%d, not 1.0", data[0], data[1])
	}
	clientShort := Key(data[74:106])
	n, err := c.heard.check(data[106:])
	if err != nil {
		return nil, err
	}
	key, err := agree(&c.keys.Secret, &clientShort)
	if err != nil {
		return nil, err
	}
	if plain, ok := key.open(nil, data[114:], counted(nonceHello, n)); !ok || !bytes.Equal(plain, make([]byte, 64)) {
		return nil, fault(CauseCrypto, "HELLO does not open: the client has another key for this server")
	}

	short, err := GenerateKeys(c.random)
	if err != nil {
		return nil, err
	}
	var numbers [32]byte
	c.cookieKey = new([32]byte)
	if err := draw(c.random, numbers[:]); err != nil {
		return nil, err
	}
	if err := draw(c.random, c.cookieKey[:]); err != nil {
		return nil, err
	}
	welcomeNumber, cookieNumber := numbers[:16], numbers[16:]
	inside := append(short.Public[:], cookieNumber...)
	inside = sealSecret(inside, append(clientShort[:], short.Secret[:]...), long(nonceCookie, cookieNumber), c.cookieKey)
	return key.seal(appendCommand(nil, cmdWelcome, welcomeNumber), inside, long(nonceWelcome, welcomeNumber)), nil
}

// initiate reads INITIATE: whose key the client holds, and its properties.
func (c *curveServer) initiate(data []byte) error {
	if len(data) < initiateSize {
		return fault(CauseCommand, "an INITIATE of %d octets; %d are the least", len(data), initiateSize)
	}
	cookie, ok := openSecret(data[16:cookieSize], long(nonceCookie, data[:16]), c.cookieKey)
	c.cookieKey = nil
	if !ok {
		return fault(CauseCrypto, "INITIATE has a cookie that is not ours")
	}
	short := Key(cookie[32:])
	c.clientShort = Key(cookie[:32])
	n, err := c.heard.check(data[cookieSize:])
	if err != nil {
		return err
	}
	if c.session, err = agree(&short, &c.clientShort); err != nil {
		return err
	}
	inside, ok := c.session.open(nil, data[cookieSize+8:], counted(nonceInitiate, n))
	if !ok {
		return fault(CauseCrypto, "INITIATE does not open: it is forged or damaged")
	}
	c.clientKey = Key(inside[:32])
	vouching, err := agree(&short, &c.clientKey)
	if err != nil {
		return err
	}
	vouch, ok := vouching.open(nil, inside[48:32+vouchSize], long(nonceVouch, inside[32:48]))
	if !ok {
		return fault(CauseCrypto, "the vouch does not open: the client does not hold the key %v", c.clientKey)
	}
	if !bytes.Equal(vouch[:32], c.clientShort[:]) || !bytes.Equal(vouch[32:], c.keys.Public[:]) {
		return fault(CauseCrypto, "the vouch of %v is for another connection or server", c.clientKey)
	}
	c.theirs, err = parseMetadata(inside[32+vouchSize:])
	return err
}

func (c *curveServer) admit() ([]byte, error) {
	c.sentNonce = 1
	ready := binary.BigEndian.AppendUint64(appendCommand(nil, cmdReady), c.sentNonce)
	return c.session.seal(ready, c.own.append(nil), counted(nonceReady, c.sentNonce)), nil
}

func (c *curveServer) peer() (metadata, Key) { return c.theirs, c.clientKey }

func (c *curveServer) traffic() (sealer, opener) {
	return newCurveSealer(c.session, nonceServer, c.sentNonce), newCurveOpener(c.session, nonceClient, c.heard)
}
