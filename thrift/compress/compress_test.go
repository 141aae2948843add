package compress

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

var all = []Algorithm{None, Zlib, Zstd, LZ4, ZlibLess, ZstdLess, LZ4Less, ZlibMore, ZstdMore, LZ4More}

// noise returns n bytes that do not compress.
func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	b := make([]byte, n)
	r.Read(b)
	return b
}

// TestRoundTrip packs and unpacks bodies from empty to large, with a limit of exactly their size and one below it.
func TestRoundTrip(t *testing.T) {
	bodies := map[string][]byte{
		"empty": {}, "stop byte": {0}, "short": []byte("getMyNodeName"), "noise": noise(100_000), "zeros": make([]byte, 1<<20),
		"text": []byte(strings.Repeat("prefix:node-17:0:[fd00:17::/64] ", 10_000)),
	}
	for _, a := range all {
		for name, body := range bodies {
			t.Run(fmt.Sprintf("%s/%s", a, name), func(t *testing.T) {
				packed, err := Compress(a, []byte("before"), body)
				if err != nil {
					t.Fatal(err)
				}
				packed, found := bytes.CutPrefix(packed, []byte("before"))
				if !found {
					t.Fatal("what was in dst is gone")
				}
				if got, err := Decompress(a, packed, len(body)); err != nil || !bytes.Equal(got, body) {
					t.Errorf("unpacked %d bytes, %v; want %d", len(got), err, len(body))
				}
				if len(body) == 0 {
					return
				}
				if _, err := Decompress(a, packed, len(body)-1); !errors.Is(err, ErrTooLarge) {
					t.Errorf("with a limit one byte too low: %v", err)
				}
				if a == None {
					return
				}
				if _, err := Decompress(a, packed[:len(packed)-1], len(body)); !errors.Is(err, ErrCorrupt) {
					t.Errorf("without the last byte: %v", err)
				}
			})
		}
	}
}

// TestRoundTripProperty has bodies that repeat themselves so much that a frame, if short, holds many times its length.
func TestRoundTripProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.SampledFrom(all).Draw(t, "algorithm")
		pieces := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "pieces")
		body := bytes.Repeat(slices.Concat(pieces...), rapid.IntRange(0, 50).Draw(t, "times"))
		packed, err := Compress(a, nil, body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(a, packed, len(body)); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("unpacked %d bytes, %v; want %d", len(got), err, len(body))
		}
	})
}

// TestOthersBytes unpacks what other programs packed: the empty argument struct as a C++ client's zstd and zlib have it,
// zlib by the standard library, an LZ4 block made by hand.
func TestOthersBytes(t *testing.T) {
	var std bytes.Buffer
	w := zlib.NewWriter(&std)
	io.WriteString(w, strings.Repeat("openr", 1000))
	w.Close()
	for _, c := range []struct {
		a      Algorithm
		packed string
		want   string
	}{
		{Zstd, "28b52ffd200109000000", "\x00"},
		{Zlib, "789c63000000010001", "\x00"},
		{Zlib, hex.EncodeToString(std.Bytes()), strings.Repeat("openr", 1000)},
		{LZ4, "01" + "10" + "00", "\x00"},
		{LZ4, "00", ""},
		{LZ4, "0d" + "13" + "61" + "0100" + "50" + "6262626262", "aaaaaaaabbbbb"},
	} {
		packed, err := hex.DecodeString(c.packed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(c.a, packed, 1<<20); err != nil || string(got) != c.want {
			t.Errorf("%s %s: %q, %v; want %q", c.a, c.packed, got, err, c.want)
		}
	}
}

// TestZstdWithoutSize unpacks frames that do not say how much they hold, alone and several in a row, with others to be
// skipped between them.
func TestZstdWithoutSize(t *testing.T) {
	// A frame of one RLE block of 100,000 zeros: magic, descriptor (nothing known), window of 128 KiB, block header, byte.
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3}
	header := uint32(100_000<<3 | 1<<1 | 1)
	frame = append(frame, byte(header), byte(header>>8), byte(header>>16), 0)
	for n := range 4 {
		body, err := Decompress(Zstd, bytes.Repeat(frame, n), 300_000)
		if err != nil || len(body) != 100_000*n {
			t.Errorf("%d frames: %d bytes, %v", n, len(body), err)
		}
	}
	skipped := []byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 0xff, 0xff}
	if body, err := Decompress(Zstd, slices.Concat(skipped, frame, skipped, frame), 300_000); err != nil || len(body) != 200_000 {
		t.Errorf("with skippable frames: %d bytes, %v", len(body), err)
	}
	if _, err := Decompress(Zstd, bytes.Repeat(frame, 4), 300_000); !errors.Is(err, ErrTooLarge) {
		t.Errorf("beyond the limit: %v", err)
	}
}

// TestZstdStreamed unpacks what a streaming encoder makes, which does not know the size when it begins.
func TestZstdStreamed(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 100_000, 3 << 20} {
		for name, body := range map[string][]byte{"noise": noise(size), "text": bytes.Repeat([]byte("area"), size/4)} {
			var packed bytes.Buffer
			e, err := zstd.NewWriter(&packed)
			if err != nil {
				t.Fatal(err)
			}
			e.Write(body[:len(body)/2])
			e.Flush()
			e.Write(body[len(body)/2:])
			e.Close()
			if got, err := Decompress(Zstd, packed.Bytes(), len(body)); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%s of %d bytes: %d bytes, %v", name, len(body), len(got), err)
			}
			if size > 0 {
				if _, err := Decompress(Zstd, packed.Bytes(), len(body)-1); !errors.Is(err, ErrTooLarge) && len(body) > 0 {
					t.Errorf("%s of %d bytes, limit one lower: %v", name, len(body), err)
				}
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, a := range []Algorithm{-1, 4, 1000} {
		if _, err := Compress(a, nil, []byte{0}); !errors.Is(err, ErrUnknown) || a.Known() {
			t.Errorf("compress: %v", err)
		}
		if _, err := Decompress(a, []byte{0}, 10); !errors.Is(err, ErrUnknown) {
			t.Errorf("decompress: %v", err)
		}
	}
	if !Zstd.Known() || Zstd.String() != "zstd" || Algorithm(7).String() != "algorithm 7" {
		t.Errorf("names: %s, %s", Zstd, Algorithm(7))
	}
}

// lies are short bodies that claim to be long.
func lies() map[string]struct {
	a      Algorithm
	packed []byte
} {
	zstd := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0}, binary.LittleEndian.AppendUint64(nil, 64<<20)...)
	window := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00} // of 128 MiB; an empty last block
	return map[string]struct {
		a      Algorithm
		packed []byte
	}{
		"zstd content size": {Zstd, append(zstd, 0x01, 0x00, 0x00)},
		"zstd window":       {Zstd, window},
		"lz4 size":          {LZ4, append(binary.AppendUvarint(nil, 64<<20), 0x10, 0x00)},
	}
}

// TestClaimedEmpty unpacks a frame that claims no bytes and has a block of a hundred.
func TestClaimedEmpty(t *testing.T) {
	for _, limit := range []int{0, 1, 99, 100, 1 << 20} {
		body, err := Decompress(Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x30, 0x00, 0x23, 0x03, 0x00, 0x00}, limit)
		if err == nil {
			t.Errorf("limit %d: %d bytes", limit, len(body))
		}
	}
}

// TestLies measures what short bodies with large claims cost.
func TestLies(t *testing.T) {
	for name, lie := range lies() {
		Decompress(lie.a, lie.packed, 1<<30) // makes what is kept for later
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const times = 20
		for range times {
			Decompress(lie.a, lie.packed, 1<<30)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 1<<20 {
			t.Errorf("%s: %d bytes took %d of memory", name, len(lie.packed), each)
		}
	}
}

func TestConcurrent(t *testing.T) {
	body := bytes.Repeat([]byte("adj:node-1 "), 1000)
	var wg sync.WaitGroup
	for _, a := range slices.Concat(all, all) {
		wg.Go(func() {
			for range 20 {
				packed, err := Compress(a, nil, body)
				if err != nil {
					t.Error(err)
				}
				if got, err := Decompress(a, packed, len(body)); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s: %d bytes, %v", a, len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSynctest packs and unpacks in bubbles one after another, which must not share channels that one of them has made.
func TestSynctest(t *testing.T) {
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			for _, a := range all {
				packed, err := Compress(a, nil, []byte("body"))
				if err != nil {
					t.Fatal(err)
				}
				if body, err := Decompress(a, packed, 4); string(body) != "body" || err != nil {
					t.Errorf("%s: %q, %v", a, body, err)
				}
			}
		})
	}
}

// FuzzDecompress unpacks arbitrary bytes: within the limit, and whatever unpacks can be packed and unpacked again.
func FuzzDecompress(f *testing.F) {
	for _, a := range []Algorithm{Zlib, Zstd, LZ4} {
		packed, err := Compress(a, nil, []byte(strings.Repeat("fd00:1::/64 ", 40)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(int32(a), packed)
	}
	for _, lie := range lies() {
		f.Add(int32(lie.a), lie.packed)
	}
	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, a int32, packed []byte) {
		body, err := Decompress(Algorithm(a), packed, limit)
		if err != nil {
			if body != nil {
				t.Errorf("%d bytes beside the error %v", len(body), err)
			}
			return
		}
		if len(body) > limit {
			t.Fatalf("%d bytes beyond the limit", len(body))
		}
		again, err := Compress(Algorithm(a), nil, body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decompress(Algorithm(a), again, len(body)); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes became %d, %v", len(body), len(got), err)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	body := []byte(strings.Repeat("prefix:node-17:0:[fd00:17::/64] ", 1000))
	body = append(body, noise(20_000)...)
	for _, a := range []Algorithm{Zstd, ZstdMore, Zlib, LZ4} {
		packed, err := Compress(a, nil, body)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(a.String()+"/pack", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			dst := make([]byte, 0, 2*len(body))
			for b.Loop() {
				if _, err := Compress(a, dst, body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(a.String()+"/unpack", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := Decompress(a, packed, len(body)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
