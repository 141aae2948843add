package zmtp

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// pair is two handshakers and what one has for the other.
type pair struct {
	a, b     *handshaker // a dials
	toA, toB []byte
	errA     error
	errB     error
	sent     func(fromA bool, b []byte) []byte // sees and may change what is sent
}

func dialler(k KeyPair, server Key) *handshaker {
	return &handshaker{kind: typeDealer, identity: "leaf-1", keys: k, dialled: true, serverKey: server, random: rand.Reader}
}

func listener(k KeyPair, mode Mode) *handshaker {
	return &handshaker{kind: typeRouter, identity: "oracle-1", keys: k, mode: mode, random: rand.Reader}
}

// run shakes hands until nothing moves any more; everybody is admitted.
func (p *pair) run() {
	see := p.sent
	if see == nil {
		see = func(_ bool, b []byte) []byte { return b }
	}
	p.toB, p.toA = see(true, p.a.start()), see(false, p.b.start())
	for (len(p.toA) > 0 && p.errA == nil) || (len(p.toB) > 0 && p.errB == nil) {
		var out []byte
		if in := p.toB; len(in) > 0 && p.errB == nil {
			p.toB = nil
			if p.b.status == shaking {
				out, p.errB = p.b.input(in)
				if p.errB == nil && p.b.status == authorise {
					var ready []byte
					ready, p.errB = p.b.admit()
					out = append(out, ready...)
				}
				p.toA = append(p.toA, see(false, out)...)
			}
		}
		if in := p.toA; len(in) > 0 && p.errA == nil {
			p.toA = nil
			if p.a.status == shaking {
				out, p.errA = p.a.input(in)
				p.toB = append(p.toB, see(true, out)...)
			}
		}
	}
}

func (p *pair) complete() bool { return p.a.status == done && p.b.status == done }

func TestHandshakes(t *testing.T) {
	server, client, other := keys(t), keys(t), keys(t)
	for _, tt := range []struct {
		name   string
		a, b   *handshaker
		causeA Cause // what the dialling side notices
		causeB Cause // what the listening side notices
		key    Key   // what the listening side knows of the other
	}{
		{name: "NULL", a: dialler(KeyPair{}, Key{}), b: listener(KeyPair{}, NullOnly)},
		{name: "NULL to compatible", a: dialler(KeyPair{}, Key{}), b: listener(server, Compatible)},
		{name: "CURVE to strict", a: dialler(client, server.Public), b: listener(server, Strict), key: client.Public},
		{name: "CURVE to compatible", a: dialler(client, server.Public), b: listener(server, Compatible), key: client.Public},
		{name: "NULL to strict", a: dialler(KeyPair{}, Key{}), b: listener(server, Strict), causeA: CauseMechanism, causeB: CauseMechanism},
		{name: "CURVE to NULL", a: dialler(client, server.Public), b: listener(KeyPair{}, NullOnly), causeA: CauseMechanism, causeB: CauseMechanism},
		{name: "wrong server", a: dialler(client, other.Public), b: listener(server, Strict), causeB: CauseCrypto},
		{name: "a server key of zeros but one", a: dialler(client, Key{1}), b: listener(server, Strict), causeA: CauseCrypto},
	} {
		p := &pair{a: tt.a, b: tt.b}
		p.run()
		if causeOf(p.errA) != tt.causeA || causeOf(p.errB) != tt.causeB || (p.errA != nil) != (tt.causeA != "") || (p.errB != nil) != (tt.causeB != "") {
			t.Errorf("%s: %v; %v", tt.name, p.errA, p.errB)
			continue
		}
		if tt.causeA != "" || tt.causeB != "" {
			continue
		}
		if !p.complete() {
			t.Errorf("%s: not complete", tt.name)
			continue
		}
		ma, ka := p.a.mech.peer()
		mb, kb := p.b.mech.peer()
		if ma != (metadata{"ROUTER", "oracle-1"}) || mb != (metadata{"DEALER", "leaf-1"}) || kb != tt.key || ka != tt.a.serverKey {
			t.Errorf("%s: %v %v; %v %v", tt.name, ma, ka, mb, kb)
		}
	}
}

// TestSocketTypes: each kind of socket speaks with its counterparts only (37/ZMTP, The Socket-Type Property), and says ERROR
// to others, unless it is a CURVE client.
func TestSocketTypes(t *testing.T) {
	server, client := keys(t), keys(t)
	kinds := []socketType{typeDealer, typeRouter, typePub, typeSub}
	allowed := map[string]bool{
		"DEALER DEALER": true, "DEALER ROUTER": true, "ROUTER DEALER": true, "ROUTER ROUTER": true, "PUB SUB": true, "SUB PUB": true,
	}
	for _, curve := range []bool{false, true} {
		for _, a := range kinds {
			for _, b := range kinds {
				name := fmt.Sprintf("%s %s, CURVE %v", a, b, curve)
				p := &pair{a: dialler(KeyPair{}, Key{}), b: listener(KeyPair{}, NullOnly)}
				if curve {
					p = &pair{a: dialler(client, server.Public), b: listener(server, Strict)}
				}
				p.a.kind, p.b.kind = a, b
				p.run()
				if ok := allowed[string(a)+" "+string(b)]; ok != p.complete() {
					t.Errorf("%s: %v; %v", name, p.errA, p.errB)
				} else if !ok && (causeOf(p.errB) != CauseSocketType || causeOf(p.errA) != CauseRefused) {
					t.Errorf("%s: %v; %v", name, p.errA, p.errB)
				}
			}
		}
	}
	p := &pair{a: dialler(KeyPair{}, Key{}), b: listener(KeyPair{}, NullOnly)}
	p.a.identity = "\x00mine"
	p.run()
	if causeOf(p.errB) != CauseIdentity {
		t.Errorf("a reserved identity: %v", p.errB)
	}
}

// TestTrafficBehindHandshake: what comes together with the last command is not lost.
func TestTrafficBehindHandshake(t *testing.T) {
	early := appendFrame(nil, 0, []byte("early"))
	p := &pair{a: dialler(KeyPair{}, Key{}), b: listener(KeyPair{}, NullOnly)}
	p.sent = func(fromA bool, b []byte) []byte {
		if len(b) > 0 && len(b) != greetingSize {
			b = append(bytes.Clone(b), early...)
		}
		return b
	}
	p.run()
	if !p.complete() || !bytes.Equal(p.a.left, early) || !bytes.Equal(p.b.left, early) {
		t.Errorf("left are %q and %q; %v %v", p.a.left, p.b.left, p.errA, p.errB)
	}
}

// TestHandshakeInPieces: it does not matter how the octets arrive.
func TestHandshakeInPieces(t *testing.T) {
	server, client := keys(t), keys(t)
	for _, mode := range []Mode{Strict, Compatible} {
		a, b := dialler(client, server.Public), listener(server, mode)
		toB, toA := a.start(), b.start()
		for len(toA) > 0 || len(toB) > 0 {
			if len(toB) > 0 {
				out, err := b.input(toB[:1])
				check(t, err)
				toA, toB = append(toA, out...), toB[1:]
				if b.status == authorise {
					out, err := b.admit()
					check(t, err)
					toA = append(toA, out...)
				}
			}
			if len(toA) > 0 {
				out, err := a.input(toA[:1])
				check(t, err)
				toB, toA = append(toB, out...), toA[1:]
			}
		}
		if a.status != done || b.status != done {
			t.Errorf("mode %d: not complete", mode)
		}
	}
}

// TestTampering: a single changed bit in what CURVE protects ends the handshake; nobody gets in as somebody else.
func TestTampering(t *testing.T) {
	server, client := keys(t), keys(t)
	rapid.Check(t, func(t *rapid.T) {
		p := &pair{a: dialler(client, server.Public), b: listener(server, Strict)}
		sending, which := 0, rapid.IntRange(0, 5).Draw(t, "which")
		at, bit := rapid.IntRange(0, 600).Draw(t, "octet"), rapid.IntRange(0, 7).Draw(t, "bit")
		hit := false
		p.sent = func(fromA bool, b []byte) []byte {
			if len(b) == 0 {
				return b
			}
			if sending == which && at < len(b) && !harmless(which, at, bit) {
				b = bytes.Clone(b)
				b[at] ^= 1 << bit
				hit = true
			}
			sending++
			return b
		}
		p.run()
		if hit == p.complete() {
			t.Fatalf("changed %v, complete %v; %v; %v", hit, p.complete(), p.errA, p.errB)
		}
	})
}

// harmless are bits without a meaning: padding, minor version and as-server of greetings, the padding of HELLO, the top bit of
// its point (RFC 7748 ignores it), and its nonce as long as it grows, for HELLO's box proves it.
func harmless(which, at, bit int) bool {
	if which < 2 {
		return at > 0 && at < 9 || at == 9 && bit > 0 || at == greetingMajor && bit > 1 || at == greetingMinor || at >= greetingServer
	}
	const hello = 2 + 1 + len(cmdHello)
	return which == 2 && (at >= hello+2 && at < hello+74 || at == hello+105 && bit == 7)
}

// curved returns what carries frames between two CURVE sockets, client to server.
func curved(t testing.TB) (sealer, opener) {
	server, client := keys(t), keys(t)
	p := &pair{a: dialler(client, server.Public), b: listener(server, Strict)}
	p.run()
	if !p.complete() {
		t.Fatal(p.errA, p.errB)
	}
	s, _ := p.a.mech.traffic()
	_, o := p.b.mech.traffic()
	return s, o
}

func TestCurveMessages(t *testing.T) {
	s, o := curved(t)
	open := func(sealed []byte) (frame, error) {
		d := decoder{limit: 1 << 20}
		f, rest, ok, err := d.next(sealed)
		if !ok || err != nil || len(rest) > 0 || f.flags != 0 {
			t.Fatalf("sealed is a frame with flags %d, %d octets behind it, %v %v", f.flags, len(rest), ok, err)
		}
		return o.open(f)
	}
	for _, size := range []int{0, 1, 31, 32, 33, 221, 222, 223, 100_000} {
		for _, flags := range []byte{0, flagMore, flagCommand} {
			body := bytes.Repeat([]byte{7}, size)
			f, err := open(s.seal(nil, flags, body))
			if err != nil || f.flags != flags || !bytes.Equal(f.body, body) || !f.owned {
				t.Fatalf("%d octets with flags %d: %d with %d, %v", size, flags, len(f.body), f.flags, err)
			}
		}
	}
	sealed := s.seal(nil, 0, []byte("once"))
	if _, err := open(sealed); err != nil {
		t.Fatal(err)
	}
	if _, err := open(sealed); causeOf(err) != CauseNonce {
		t.Errorf("replayed: %v", err)
	}
	for name, change := range map[string]struct {
		with func([]byte) []byte
		want Cause
	}{
		"damaged":         {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, CauseCrypto},
		"another command": {func(b []byte) []byte { b[3] ^= 1; return b }, CauseCommand},
		"another nonce":   {func(b []byte) []byte { b[2+8+3] ^= 1; return b }, CauseCrypto},
		"cut":             {func(b []byte) []byte { b[1] = 32; return b[:34] }, CauseCommand},
		"empty":           {func(b []byte) []byte { return []byte{0, 0} }, CauseCommand},
	} {
		if _, err := open(change.with(s.seal(nil, 0, []byte("x")))); causeOf(err) != change.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForeignVouch: a client that holds another secret key than that of the public one it shows does not get in.
func TestForeignVouch(t *testing.T) {
	server, client, victim := keys(t), keys(t), keys(t)
	p := &pair{a: dialler(KeyPair{Public: victim.Public, Secret: client.Secret}, server.Public), b: listener(server, Strict)}
	p.run()
	if causeOf(p.errB) != CauseCrypto || p.complete() {
		t.Errorf("%v", p.errB)
	}
	// Neither does one whose key is of low order, for which everybody could vouch.
	p = &pair{a: dialler(KeyPair{Public: Key{1}, Secret: client.Secret}, server.Public), b: listener(server, Strict)}
	p.run()
	if causeOf(p.errB) != CauseCrypto || p.complete() {
		t.Errorf("%v", p.errB)
	}
}
