package kvstore

import (
	"encoding/binary"
	"math/bits"
)

// Hash returns the hash by which stores tell whether they hold the same content: over version and originator, and over
// data unless it is nil. It is what C++ Open/R computes when it is built with Boost 1.82 or later
// (common/Util.cpp, generateHash; boost/container_hash). Builds with an older Boost compute other numbers: a mismatch
// costs a transfer of the value in a full synchronization, nothing else.
func Hash(version int64, originator string, data []byte) int64 {
	h := hashCombine(0, uint64(version))
	h = hashCombine(h, hashBytes([]byte(originator)))
	if data != nil {
		h = hashCombine(h, hashBytes(data))
	}
	return int64(h)
}

// hashCombine is boost::hash_combine of a 64-bit build.
func hashCombine(h, k uint64) uint64 {
	const m = 0x0e9846af9b1a615d
	x := h + 0x9e3779b9 + k
	x ^= x >> 32
	x *= m
	x ^= x >> 32
	x *= m
	return x ^ x>>28
}

// hashBytes is boost::hash<std::string> ("mulx") of a 64-bit build.
func hashBytes(b []byte) uint64 {
	const q, k = 0x9e3779b97f4a7c15, 0xdf442d22ce4859b9
	w := mulx(q, k)
	h := w ^ uint64(len(b))
	for ; len(b) >= 8; b = b[8:] {
		w += q
		h ^= mulx(binary.LittleEndian.Uint64(b)+w, k)
	}
	w += q
	h ^= mulx(hashTail(b)+w, k)
	return mulx(h+w, k)
}

// hashTail folds the last 0 to 7 bytes into a word.
func hashTail(b []byte) uint64 {
	switch n := len(b); {
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(b[n-4:]))<<((n-4)*8) | uint64(binary.LittleEndian.Uint32(b))
	case n >= 1:
		x1, x2 := (n-1)&2, n>>1
		return uint64(b[x1])<<(x1*8) | uint64(b[x2])<<(x2*8) | uint64(b[0])
	}
	return 0
}

func mulx(x, y uint64) uint64 {
	hi, lo := bits.Mul64(x, y)
	return hi ^ lo
}
