package zmtp

import (
	"io"
	"slices"
)

// handshakeLimit is the longest command of a handshake, in octets: libzmq's are far below 1000.
const handshakeLimit = 8 << 10

// handshaker is one side of a connection from its first octet until traffic begins: octets in, octets out. It neither waits
// nor reads a clock.
type handshaker struct {
	kind      socketType
	identity  string
	keys      KeyPair
	dialled   bool
	serverKey Key  // dialling: CURVE if there is one
	mode      Mode // listening: NullOnly, Strict or Compatible
	random    io.Reader

	status  status
	head    []byte // the peer's greeting, as far as it has come
	greeted bool   // it has come
	minor   uint8  // the peer speaks ZMTP 3.minor
	decoder decoder
	mech    mechanism
	left    []byte // what came behind the handshake's commands
}

// announced is the mechanism that the greeting names, "" if that waits for the peer's.
func (h *handshaker) announced() string {
	switch {
	case h.dialled && h.serverKey.IsZero(), !h.dialled && h.mode == NullOnly:
		return mechanismNull
	case !h.dialled && h.mode == Compatible:
		return ""
	}
	return mechanismCurve
}

// start returns what to send first.
func (h *handshaker) start() []byte {
	h.decoder.limit = handshakeLimit
	out := opening()
	if name := h.announced(); name != "" {
		out = append(out, h.greeting(name).rest()...)
	}
	return out
}

func (h *handshaker) greeting(mechanism string) greeting {
	return greeting{minor: 1, mechanism: mechanism, server: mechanism == mechanismCurve && !h.dialled}
}

// input takes what came from the peer, and returns what to send, also with an error. From authorise on it may not be called
// before admit, and after done not at all; what came too early is in left.
func (h *handshaker) input(in []byte) (out []byte, err error) {
	if !h.greeted {
		n := min(len(in), greetingSize-len(h.head))
		h.head, in = append(h.head, in[:n]...), in[n:]
		g, ok, err := parseGreeting(h.head)
		if !ok || err != nil {
			return nil, err
		}
		if out, err = h.begin(g); err != nil {
			return out, err
		}
	}
	for h.status == shaking {
		f, rest, ok, err := h.decoder.next(in)
		if !ok || err != nil {
			return out, err
		}
		in = rest
		reply, err := h.command(f)
		if reply != nil {
			out = appendFrame(out, flagCommand, reply)
		}
		if err != nil {
			return out, err
		}
	}
	h.left = append(h.left, in...)
	return out, nil
}

// begin starts the mechanism that the peer's greeting asks for.
func (h *handshaker) begin(g greeting) (out []byte, err error) {
	h.greeted, h.head, h.minor = true, nil, g.minor
	name := h.announced()
	if name == "" {
		name = mechanismCurve
		if g.mechanism == mechanismNull {
			name = mechanismNull
		}
		out = h.greeting(name).rest()
	}
	if g.mechanism != name {
		return out, fault(CauseMechanism, "the peer asks for the mechanism %s, we for %s", g.mechanism, name)
	}
	own := metadata{socketType: string(h.kind), identity: h.identity}
	switch {
	case name == mechanismNull:
		h.mech = &null{dialled: h.dialled, own: own}
	case h.dialled:
		h.mech = &curveClient{own: own, keys: h.keys, serverKey: h.serverKey, random: h.random}
	default:
		h.mech = &curveServer{own: own, keys: h.keys, random: h.random}
	}
	first, err := h.mech.first()
	if first != nil {
		out = appendFrame(out, flagCommand, first)
	}
	return out, err
}

// command handles one frame.
func (h *handshaker) command(f frame) (reply []byte, err error) {
	if f.flags&flagCommand == 0 {
		return nil, fault(CauseCommand, "a message came before the handshake was complete")
	}
	name, data, err := splitCommand(f.body)
	if err != nil {
		return nil, err
	}
	if name == cmdError {
		reason, err := parseError(data)
		if err != nil {
			return nil, err
		}
		return nil, fault(CauseRefused, "the peer refused the connection: %q", reason)
	}
	reply, now, err := h.mech.handle(name, data)
	if err != nil || now == shaking {
		return reply, err
	}
	if err := h.checkPeer(); err != nil {
		return h.refusal("invalid socket type or identity"), err
	}
	h.status = now
	return reply, nil
}

// checkPeer tells whether the peer's properties suit us.
func (h *handshaker) checkPeer() error {
	m, _ := h.mech.peer()
	switch {
	case m.socketType == "":
		return fault(CauseMetadata, "the peer does not tell its Socket-Type")
	case !slices.Contains(goesWith[h.kind], m.socketType):
		return fault(CauseSocketType, "the peer is a %q; a %s speaks with %v", m.socketType, h.kind, goesWith[h.kind])
	case m.identity != "" && m.identity[0] == 0 && h.kind == typeRouter:
		return fault(CauseIdentity, "the peer's identity begins with a zero octet; such identities are reserved")
	}
	return nil
}

// admit lets the peer in, and returns what to send.
func (h *handshaker) admit() ([]byte, error) {
	reply, err := h.mech.admit()
	if err != nil {
		return nil, err
	}
	h.status = done
	return appendFrame(nil, flagCommand, reply), nil
}

// refusal is the body of an ERROR, nil for a CURVE client, which may not send one.
func (h *handshaker) refusal(reason string) []byte {
	if _, client := h.mech.(*curveClient); client {
		return nil
	}
	return appendError(nil, reason)
}
