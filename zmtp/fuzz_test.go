package zmtp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"openr/internal/allocs"
)

// FuzzGreeting: whatever comes first is refused or understood, the same in one piece and octet by octet.
func FuzzGreeting(f *testing.F) {
	f.Add(append(opening(), greeting{mechanism: mechanismCurve}.rest()...))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, ok, err := parseGreeting(b)
		for n := range b {
			switch _, early, earlyErr := parseGreeting(b[:n]); {
			case early && n < greetingSize:
				t.Fatalf("%d octets were enough", n)
			case earlyErr != nil && err == nil:
				t.Fatalf("the beginning is refused, the whole is not: %v", earlyErr)
			}
		}
		if ok && err == nil {
			again := append(append(opening()[:greetingMinor], g.minor), g.rest()...)
			if back, ok, err := parseGreeting(again); !ok || err != nil || back != g {
				t.Fatalf("%+v became %+v, %v", g, back, err)
			}
		}
	})
}

// FuzzFrames: a stream costs what has come of it, and the pieces in which it comes do not matter.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, flagMore, []byte("a")), 0, bytes.Repeat([]byte("b"), 300)), uint8(3))
	f.Add([]byte{flagLong, 0, 0, 0, 0, 0x0f, 0xff, 0xff, 0xff, 1, 2, 3}, uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		const limit = 256 << 20
		whole, errWhole := decodeAll(limit, b)
		var pieces [][]byte
		for rest := b; len(rest) > 0; {
			n := min(len(rest), int(piece)+1)
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		cut, errCut := decodeAll(limit, pieces...)
		if causeOf(errWhole) != causeOf(errCut) || len(whole) != len(cut) {
			t.Fatalf("%d frames and %v, in pieces %d and %v", len(whole), errWhole, len(cut), errCut)
		}
		var again []byte
		for i := range whole {
			if whole[i].flags != cut[i].flags || !bytes.Equal(whole[i].body, cut[i].body) {
				t.Fatalf("frame %d differs", i)
			}
			again = appendFrame(again, whole[i].flags, whole[i].body)
		}
		if back, err := decodeAll(limit, again); err != nil || len(back) != len(whole) {
			t.Fatalf("%d frames encode to %d, %v", len(whole), len(back), err)
		}
		allocs.Bound(t, len(b), 0, 128, func() { decodeAll(limit, pieces...) })
	})
}

// FuzzCommands: commands and their data are refused or understood.
func FuzzCommands(f *testing.F) {
	f.Add(metadata{"DEALER", "leaf-1"}.append(appendCommand(nil, cmdReady)))
	f.Add(appendError(nil, "400"))
	f.Add(appendPing(nil, maxTTL))
	f.Add(appendCommand(nil, cmdSubscribe, []byte("ep/7")))
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 32, func() {
			name, data, err := splitCommand(b)
			if err != nil {
				return
			}
			if back := appendCommand(nil, name, data); !bytes.Equal(back, b) {
				t.Fatalf("%q became %q", b, back)
			}
			if ttl, context, err := parsePing(data); err == nil && (ttl < 0 || ttl > maxTTL || len(context) > maxPingContext) {
				t.Fatalf("PING %v %q", ttl, context)
			}
			if reason, err := parseError(data); err == nil && len(reason) > 255 {
				t.Fatalf("ERROR %q", reason)
			}
			if m, err := parseMetadata(data); err == nil {
				if back, err := parseMetadata(metadata{m.socketType, m.identity}.append(nil)); err != nil || back.socketType != m.socketType {
					t.Fatalf("%+v became %+v, %v", m, back, err)
				}
			}
		})
	})
}

// seeded makes the same random numbers each time.
func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

// recorded returns what the client sends to the server that fuzzServer makes, and the server to the client.
func recorded(curve bool) (client, server []byte) {
	p := &pair{a: fuzzDialler(curve), b: fuzzListener(Compatible)}
	p.sent = func(fromA bool, b []byte) []byte {
		if fromA {
			client = append(client, b...)
		} else {
			server = append(server, b...)
		}
		return b
	}
	p.run()
	return client, server
}

func fuzzKeys(n byte) KeyPair {
	k, _ := GenerateKeys(seeded(n))
	return k
}

func fuzzDialler(curve bool) *handshaker {
	h := dialler(KeyPair{}, Key{})
	if curve {
		h = dialler(fuzzKeys(1), fuzzKeys(2).Public)
	}
	h.random = seeded(3)
	return h
}

func fuzzListener(mode Mode) *handshaker {
	h := listener(fuzzKeys(2), mode)
	h.random = seeded(4)
	return h
}

// FuzzHandshake: whatever a client sends to a listening socket, NULL or CURVE, it costs little; only who holds a key gets in
// with it. Randomness is fixed, so that recorded handshakes work and mutations of them come far.
func FuzzHandshake(f *testing.F) {
	for _, curve := range []bool{false, true} {
		client, _ := recorded(curve)
		f.Add(client, uint8(200))
		f.Add(append(client, appendFrame(nil, 0, []byte("early"))...), uint8(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		for _, mode := range []Mode{NullOnly, Strict, Compatible} {
			var h *handshaker
			allocs.Bound(t, len(b), 64<<10, 256, func() {
				h = fuzzListener(mode)
				h.start()
				for rest := b; len(rest) > 0 && h.status == shaking; {
					n := min(len(rest), int(piece)+1)
					if _, err := h.input(rest[:n]); err != nil {
						h.status = shaking
						return
					}
					rest = rest[n:]
				}
			})
			if h.status != authorise {
				continue
			}
			if _, key := h.mech.peer(); mode == Strict && key.IsZero() {
				t.Fatal("somebody came in without a key")
			} else if !key.IsZero() && key != fuzzKeys(1).Public {
				t.Fatalf("somebody came in with the key %v, whose secret half nobody has", key)
			}
		}
	})
}

// FuzzHandshakeDialled: the same for what a server sends.
func FuzzHandshakeDialled(f *testing.F) {
	for _, curve := range []bool{false, true} {
		_, server := recorded(curve)
		f.Add(server, uint8(200))
		f.Add(append(server, appendFrame(nil, 0, []byte("early"))...), uint8(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		for _, curve := range []bool{false, true} {
			allocs.Bound(t, len(b), 64<<10, 256, func() {
				h := fuzzDialler(curve)
				h.start()
				for rest := b; len(rest) > 0 && h.status == shaking; {
					n := min(len(rest), int(piece)+1)
					if _, err := h.input(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			})
		}
	})
}

// FuzzCurveCommands puts mutated plain text into boxes that open: what a peer that has a key may try.
func FuzzCurveCommands(f *testing.F) {
	f.Add(metadata{"DEALER", "leaf-1"}.append(nil), []byte{0, 'x'}, uint64(3))
	f.Add([]byte{}, []byte{innerCommand, 4, 'P', 'I', 'N', 'G'}, uint64(1))
	f.Fuzz(func(t *testing.T, properties, inner []byte, nonce uint64) {
		client, server := fuzzDialler(true), fuzzListener(Strict)
		toClient, _ := server.input(client.start())
		toServer, err := client.input(append(server.start(), toClient...))
		if err != nil {
			t.Fatal(err)
		}
		toClient, err = server.input(toServer)
		if err != nil {
			t.Fatal(err)
		}
		c := client.mech.(*curveClient)
		c.own = metadata{}
		_, data, err := splitCommand(toClient[2:])
		if err != nil {
			t.Fatal(err)
		}
		initiate, err := c.welcome(data)
		if err != nil {
			t.Fatal(err)
		}
		// The same INITIATE with other properties.
		head := 1 + len(cmdInitiate) + cookieSize + 8
		plain, ok := c.session.open(nil, initiate[head:], counted(nonceInitiate, 2))
		if !ok {
			t.Fatal("our own INITIATE does not open")
		}
		plain = append(plain[:32+vouchSize], properties...)
		initiate = c.session.seal(initiate[:head], plain, counted(nonceInitiate, 2))
		_, err = server.input(appendFrame(nil, flagCommand, initiate))
		if m, metaErr := parseMetadata(properties); metaErr != nil && len(initiate) < handshakeLimit && causeOf(err) != causeOf(metaErr) {
			t.Fatalf("properties with %v: %v", metaErr, err)
		} else if err == nil && server.status == authorise && m.socketType == "" {
			t.Fatal("a peer without a type came in")
		}
		// A MESSAGE with any inside.
		key := shared{1}
		o := newCurveOpener(&key, nonceClient, 2)
		body := appendCommand(nil, cmdMessage)
		body = binary.BigEndian.AppendUint64(body, nonce)
		body = key.seal(body, inner, counted(nonceClient, nonce))
		allocs.Bound(t, len(body), 0, 16, func() {
			o.last = 2
			opened, err := o.open(frame{body: body})
			if (err == nil) != (nonce > 2 && len(inner) > 0 && inner[0] <= innerCommand) {
				t.Fatalf("nonce %d, %q: %v", nonce, inner, err)
			}
			if err == nil && !bytes.Equal(opened.body, inner[1:]) {
				t.Fatalf("%q opened to %q", inner, opened.body)
			}
		})
	})
}
