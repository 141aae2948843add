package rocket

import (
	"bytes"
	"testing"

	"openr/internal/allocs"
)

// FuzzFragments feeds a stream of frames to what puts messages together: that costs what has come, not what is announced,
// and no more than the limit is kept.
func FuzzFragments(f *testing.F) {
	for _, c := range []struct{ file, begin string }{{"testdata/server-probe.txt", "case"}, {"testdata/session.txt", "session"}} {
		names, sessions := recorded(f, c.file, c.begin)
		for _, name := range names {
			var all []byte
			for _, r := range sessions[name] {
				all = append(all, r.bytes...)
			}
			f.Add(all)
		}
	}
	for _, frames := range [][]frame{
		{{stream: 1, kind: typeRequestResponse, flags: flagFollows, data: []byte("ab")}, {stream: 1, kind: typePayload, flags: flagFollows, data: []byte("cd")}, {stream: 1, kind: typePayload, data: []byte("e")}},
		{{stream: 1, kind: typeRequestResponse, flags: flagFollows}, {stream: 3, kind: typeRequestResponse, flags: flagFollows}, {stream: 1, kind: typePayload}},
		{{stream: 1, kind: typePayload, flags: flagFollows | flagNext, meta: []byte("m"), data: bytes.Repeat([]byte("x"), 1000)}},
	} {
		var all []byte
		for i := range frames {
			all = appendFrame(all, &frames[i])
		}
		f.Add(all)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 1 << 20
		allocs.Bound(t, len(b), 0, 4<<10, func() {
			a := assembler{limit: limit}
			for rest := b; len(rest) > lengthSize; {
				size := int(rest[0])<<16 | int(rest[1])<<8 | int(rest[2])
				rest = rest[lengthSize:]
				size = min(size, len(rest))
				if fr, err := parseFrame(rest[:size]); err == nil {
					_, complete, err := a.add(fr)
					if complete && err != nil {
						t.Fatal("complete and broken")
					}
					if err != nil {
						return
					}
				}
				if a.held > limit {
					t.Fatalf("%d bytes are held, limit %d", a.held, limit)
				}
				rest = rest[size:]
			}
		})
	})
}

// FuzzMetadataCost: neither metadata nor SETUP cost more memory than so much for each byte.
func FuzzMetadataCost(f *testing.F) {
	f.Add(unhex(f, "1504181d6765744b7653746f72654b657956616c7346696c7465726564417265611500258827950 41c1c2c00000000"), false)
	f.Add(unhex(f, "7c1c00003c150015c8010000"), false)
	f.Add(unhex(f, "0f00010c7fffffff"), true)
	f.Add(unhex(f, "1bffffffff0788"), false)
	f.Add(appendSetup(nil, "agent", "host"), false)
	f.Fuzz(func(t *testing.T, b []byte, binary bool) {
		allocs.Bound(t, len(b), 0, 1<<10, func() {
			_, _ = readRequestMetadata(b, binary)
			readPayloadMetadata(b, binary, responseIDs)
			readPayloadMetadata(b, binary, elementIDs)
			readRPCError(b)
			readServerPush(b)
			parseSetup(frame{kind: typeSetup, flags: flagMetadata, data: b})
		})
	})
}
