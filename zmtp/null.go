package zmtp

// status is how far a handshake has come.
type status uint8

const (
	shaking   status = iota // more has to come from the peer
	authorise               // somebody has to decide whether the peer may come: admit or refuse
	done
)

// mechanism is one side of a security mechanism, as a state machine: commands in, commands out.
type mechanism interface {
	// first returns the command that is sent before any has come, nil for none.
	first() ([]byte, error)
	// handle takes a command of the peer, and returns the answer, nil for none.
	handle(name string, data []byte) (reply []byte, s status, err error)
	// admit returns the command that lets the peer in, once handle has returned authorise.
	admit() ([]byte, error)
	// peer returns what the peer told of itself, and its long-term key. To be called from authorise on.
	peer() (metadata, Key)
	// traffic returns what carries frames after the handshake. To be called once.
	traffic() (sealer, opener)
}

// sealer makes frames ready for sending.
type sealer interface {
	// seal appends a frame with a part of a message (flags 0 or flagMore) or a command (flagCommand).
	seal(dst []byte, flags byte, body []byte) []byte
	// plain tells that seal appends a header and body as it is.
	plain() bool
}

// opener undoes what the peer's sealer did.
type opener interface {
	open(f frame) (frame, error)
	// overhead is by how many octets a sealed body is longer.
	overhead() int
}

// null is the NULL mechanism (37/ZMTP): each side sends its properties. The dialling side begins.
type null struct {
	dialled bool
	own     metadata
	theirs  metadata
}

func (n *null) ready() []byte { return n.own.append(appendCommand(nil, cmdReady)) }

func (n *null) first() ([]byte, error) {
	if n.dialled {
		return n.ready(), nil
	}
	return nil, nil
}

func (n *null) handle(name string, data []byte) ([]byte, status, error) {
	if name != cmdReady {
		return nil, shaking, fault(CauseCommand, "the command %q came where READY has to", name)
	}
	var err error
	if n.theirs, err = parseMetadata(data); err != nil {
		return nil, shaking, err
	}
	if n.dialled {
		return nil, done, nil
	}
	return nil, authorise, nil
}

func (n *null) admit() ([]byte, error)    { return n.ready(), nil }
func (n *null) peer() (metadata, Key)     { return n.theirs, Key{} }
func (n *null) traffic() (sealer, opener) { return cleartext{}, cleartext{} }

// cleartext carries frames as they are.
type cleartext struct{}

func (cleartext) seal(dst []byte, flags byte, body []byte) []byte {
	return appendFrame(dst, flags, body)
}
func (cleartext) plain() bool                 { return true }
func (cleartext) open(f frame) (frame, error) { return f, nil }
func (cleartext) overhead() int               { return 0 }
