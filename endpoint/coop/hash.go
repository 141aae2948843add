package coop

import (
	"encoding/binary"

	"openr/endpoint"
)

// Everybody has to compute the same hashes, so they are defined here: FNV-1a over the bytes below, mixed by the finaliser of
// MurmurHash3 so that all bits depend on all bytes. A set's hash is the exclusive or of its records' hashes, which takes
// records in and out in any order.

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func fnv(h uint64, p []byte) uint64 {
	for _, c := range p {
		h = (h ^ uint64(c)) * fnvPrime
	}
	return h
}

func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func keyHash(k endpoint.Key) uint64 {
	var b [10]byte
	binary.BigEndian.PutUint32(b[:], uint32(k.BD))
	copy(b[4:], k.MAC[:])
	return fnv(fnvOffset, b[:])
}

// bucketOf returns which bucket a key belongs to.
func bucketOf(k endpoint.Key) int { return int(mix(keyHash(k)) % Buckets) }

// statementHash returns the hash of what endpoint.Compare compares first. What an oracle adds to a record is not part of it.
func statementHash(rec *endpoint.Record) uint64 {
	var b [20]byte
	binary.BigEndian.PutUint32(b[:], rec.Seq)
	binary.BigEndian.PutUint64(b[4:], uint64(rec.TS))
	binary.BigEndian.PutUint64(b[12:], rec.Epoch)
	h := fnv(keyHash(rec.Key), b[:])
	for i := range len(rec.Publisher) {
		h = (h ^ uint64(rec.Publisher[i])) * fnvPrime
	}
	return mix(h)
}
