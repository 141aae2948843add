package zmtp

import (
	"encoding/binary"
	"io"
)

// curveClient is the dialling side of CURVE (26/CURVEZMQ). In the names of the specification: keys is (C, c), short is
// (C', c'), serverKey is S, serverShort is S'.
type curveClient struct {
	own       metadata
	keys      KeyPair
	serverKey Key
	random    io.Reader

	short   KeyPair
	session *shared // of c' and S'; nil until WELCOME
	heard   counter // the server's last short nonce
	theirs  metadata
}

func (c *curveClient) first() ([]byte, error) {
	var err error
	if c.short, err = GenerateKeys(c.random); err != nil {
		return nil, err
	}
	key, err := agree(&c.short.Secret, &c.serverKey)
	if err != nil {
		return nil, err
	}
	hello := appendCommand(nil, cmdHello, []byte{1, 0}, make([]byte, 72), c.short.Public[:])
	hello = binary.BigEndian.AppendUint64(hello, 1)
	return key.seal(hello, make([]byte, 64), counted(nonceHello, 1)), nil
}

func (c *curveClient) handle(name string, data []byte) ([]byte, status, error) {
	switch {
	case name == cmdWelcome && c.session == nil:
		reply, err := c.welcome(data)
		return reply, shaking, err
	case name == cmdReady && c.session != nil:
		return nil, done, c.ready(data)
	}
	return nil, shaking, fault(CauseCommand, "the command %q has no place in this step of CURVE", name)
}

// welcome reads WELCOME and returns INITIATE.
func (c *curveClient) welcome(data []byte) ([]byte, error) {
	if len(data) != welcomeSize {
		return nil, fault(CauseCommand, "a WELCOME of %d octets, not %d", len(data), welcomeSize)
	}
	key, err := agree(&c.short.Secret, &c.serverKey)
	if err != nil {
		return nil, err
	}
	plain, ok := key.open(nil, data[16:], long(nonceWelcome, data[:16]))
	if !ok {
		return nil, fault(CauseCrypto, "WELCOME does not open: the server does not have the key %v (Endpoint.ServerKey)", c.serverKey)
	}
	serverShort, cookie := Key(plain[:32]), plain[32:]
	if c.session, err = agree(&c.short.Secret, &serverShort); err != nil {
		return nil, err
	}

	vouching, err := agree(&c.keys.Secret, &serverShort)
	if err != nil {
		return nil, err
	}
	var number [16]byte
	if err := draw(c.random, number[:]); err != nil {
		return nil, err
	}
	inside := append(c.keys.Public[:], number[:]...)
	inside = vouching.seal(inside, append(c.short.Public[:], c.serverKey[:]...), long(nonceVouch, number[:]))
	inside = c.own.append(inside)

	initiate := appendCommand(nil, cmdInitiate, cookie)
	initiate = binary.BigEndian.AppendUint64(initiate, 2)
	return c.session.seal(initiate, inside, counted(nonceInitiate, 2)), nil
}

func (c *curveClient) ready(data []byte) error {
	if len(data) < readySize {
		return fault(CauseCommand, "a READY of %d octets; %d are the least", len(data), readySize)
	}
	n, err := c.heard.check(data)
	if err != nil {
		return err
	}
	plain, ok := c.session.open(nil, data[8:], counted(nonceReady, n))
	if !ok {
		return fault(CauseCrypto, "READY does not open: it is forged or damaged")
	}
	c.theirs, err = parseMetadata(plain)
	return err
}

func (c *curveClient) admit() ([]byte, error) { return nil, nil }
func (c *curveClient) peer() (metadata, Key)  { return c.theirs, c.serverKey }

func (c *curveClient) traffic() (sealer, opener) {
	return newCurveSealer(c.session, nonceClient, 2), newCurveOpener(c.session, nonceServer, c.heard)
}
