package coop

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"openr/endpoint"
)

// MaxName bounds names of nodes and areas, in bytes.
const MaxName = endpoint.MaxName

// reader takes fields from a body. After the first error every read returns zeros.
type reader struct {
	b     []byte
	err   error
	names [64]string // some of those read before, by hash: records repeat the same few
}

var readers = sync.Pool{New: func() any { return &reader{} }}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *reader) bytes(n int, field string) []byte {
	if len(r.b) < n {
		r.fail(malformed("%s: %d bytes are left, want %d", field, len(r.b), n))
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u8(field string) uint8 {
	if p := r.bytes(1, field); p != nil {
		return p[0]
	}
	return 0
}

func (r *reader) u16(field string) uint16 {
	if p := r.bytes(2, field); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if p := r.bytes(4, field); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64(field string) uint64 {
	if p := r.bytes(8, field); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) name(field string) string {
	p := r.bytes(int(r.u8(field)), field)
	if len(p) == 0 {
		return ""
	}
	known := &r.names[mix(fnv(fnvOffset, p))%uint64(len(r.names))]
	if *known != string(p) {
		*known = string(p)
	}
	return *known
}

// flag reads a byte that is 0 or 1.
func (r *reader) flag(field string) bool {
	v := r.u8(field)
	if v > 1 {
		r.fail(malformed("%s: %d, want 0 or 1", field, v))
	}
	return v == 1
}

// enum reads a byte between low and high.
func (r *reader) enum(field string, low, high uint8) uint8 {
	v := r.u8(field)
	if r.err == nil && (v < low || v > high) {
		r.fail(malformed("%s: %d, want %d-%d", field, v, low, high))
	}
	return v
}

// addr reads an address; one of no bytes is the zero Addr.
func (r *reader) addr(field string) netip.Addr {
	switch n := r.u8(field); n {
	case 0:
		return netip.Addr{}
	case 4:
		if p := r.bytes(4, field); p != nil {
			return netip.AddrFrom4([4]byte(p))
		}
		return netip.Addr{}
	case 16:
		a, _ := netip.AddrFromSlice(r.bytes(16, field))
		if a.Is4In6() {
			r.fail(malformed("%s: %v, want IPv4 as 4 bytes", field, a))
		}
		return a
	default:
		r.fail(malformed("%s: address of %d bytes, want 0, 4 or 16", field, n))
		return netip.Addr{}
	}
}

func (r *reader) mac(field string) (m endpoint.MAC) {
	copy(m[:], r.bytes(len(m), field))
	return m
}

// count reads how many elements follow: at most limit, and not more than fit into what is left at least bytes each.
func (r *reader) count(field string, limit, least int) int {
	n := int(r.u16(field))
	switch {
	case r.err != nil:
	case n > limit:
		r.fail(oversized("%s: %d, want at most %d", field, n, limit))
	case n*least > len(r.b):
		r.fail(malformed("%s: %d do not fit into %d bytes", field, n, len(r.b)))
	}
	if r.err != nil {
		return 0
	}
	return n
}

func (r *reader) record(rec *endpoint.Record) {
	p := r.bytes(recordFixed, "fields of fixed length of a record")
	if p == nil {
		return
	}
	rec.BD = endpoint.BD(binary.BigEndian.Uint32(p))
	copy(rec.MAC[:], p[4:])
	rec.VRF = endpoint.VRF(binary.BigEndian.Uint32(p[10:]))
	rec.Group = binary.BigEndian.Uint32(p[14:])
	rec.VLAN = binary.BigEndian.Uint16(p[18:])
	rec.Flags = endpoint.Flags(binary.BigEndian.Uint16(p[20:]))
	rec.Status = endpoint.Status(p[22])
	rec.Seq = binary.BigEndian.Uint32(p[23:])
	rec.TS = int64(binary.BigEndian.Uint64(p[27:]))
	rec.Epoch = binary.BigEndian.Uint64(p[35:])
	rec.Penalty = binary.BigEndian.Uint16(p[43:])
	rec.TEP = r.addr("tunnel address")
	rec.PrevTEP = r.addr("previous tunnel address")
	rec.PrevPrevTEP = r.addr("tunnel address before the previous one")
	rec.Publisher = r.name("publisher")
	rec.Port = r.name("port")
	if n := r.count("addresses", 1<<16-1, 9); n > 0 { // more than endpoint.MaxIPs is for Validate to refuse, record by record
		rec.IPs = make([]endpoint.IP, n)
		for i := range rec.IPs {
			rec.IPs[i] = endpoint.IP{Addr: r.addr("address"), TS: int64(r.u64("time stamp of an address"))}
		}
	}
}

const (
	recordFixed = 4 + 6 + 4 + 4 + 2 + 2 + 1 + 4 + 8 + 8 + 2
	recordLeast = recordFixed + 3 + 2 + 2
)

func appendRecord(b []byte, rec *endpoint.Record) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(rec.BD))
	b = append(b, rec.MAC[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(rec.VRF))
	b = binary.BigEndian.AppendUint32(b, rec.Group)
	b = binary.BigEndian.AppendUint16(b, rec.VLAN)
	b = binary.BigEndian.AppendUint16(b, uint16(rec.Flags))
	b = append(b, byte(rec.Status))
	b = binary.BigEndian.AppendUint32(b, rec.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(rec.TS))
	b = binary.BigEndian.AppendUint64(b, rec.Epoch)
	b = binary.BigEndian.AppendUint16(b, rec.Penalty)
	b = appendAddr(b, rec.TEP)
	b = appendAddr(b, rec.PrevTEP)
	b = appendAddr(b, rec.PrevPrevTEP)
	b = appendName(b, rec.Publisher)
	b = appendName(b, rec.Port)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rec.IPs)))
	for i := range rec.IPs {
		b = appendAddr(b, rec.IPs[i].Addr)
		b = binary.BigEndian.AppendUint64(b, uint64(rec.IPs[i].TS))
	}
	return b
}

// recordSize is how many bytes appendRecord appends.
func recordSize(rec *endpoint.Record) int {
	n := recordFixed + addrSize(rec.TEP) + addrSize(rec.PrevTEP) + addrSize(rec.PrevPrevTEP) + 1 + len(rec.Publisher) + 1 + len(rec.Port) + 2
	for i := range rec.IPs {
		n += addrSize(rec.IPs[i].Addr) + 8
	}
	return n
}

func recordSizes(recs []endpoint.Record) (n int) {
	for i := range recs {
		n += recordSize(&recs[i])
	}
	return n
}

// sizeOf is about how many bytes a body's appendTo appends, so that what grows large is not copied again and again.
func sizeOf(b Body) int {
	const most = 128 // what most bodies need, without their lists
	switch b := b.(type) {
	case *Publish:
		n := most
		for i := range b.Items {
			n += 1 + recordSize(&b.Items[i].Record)
		}
		return n
	case *Delta:
		return most + recordSizes(b.Records)
	case *Chunk:
		return most + recordSizes(b.Records)
	case *Sync:
		return most + recordSizes(b.Records)
	case *Ack:
		return most + 8*len(b.Results)
	case *Hello:
		return most + 20*len(b.Interest)
	case *Interest:
		return most + 20*len(b.Domains)
	case *Digest:
		return most + 8*len(b.Hashes) + 32*len(b.Leaves)
	}
	return most
}

func addrSize(a netip.Addr) int { return 1 + a.BitLen()/8 }

func appendAddr(b []byte, a netip.Addr) []byte {
	switch {
	case a.Is4():
		v := a.As4()
		return append(append(b, 4), v[:]...)
	case a.Is6():
		v := a.As16()
		return append(append(b, 16), v[:]...)
	}
	return append(b, 0)
}

func appendName(b []byte, s string) []byte { return append(append(b, byte(len(s))), s...) }

func appendFlag(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func (r *reader) records() []endpoint.Record {
	n := r.count("records", MaxRecords, recordLeast)
	if n == 0 {
		return nil
	}
	recs := make([]endpoint.Record, n)
	for i := range recs {
		r.record(&recs[i])
	}
	return recs
}

func appendRecords(b []byte, recs []endpoint.Record) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(recs)))
	for i := range recs {
		b = appendRecord(b, &recs[i])
	}
	return b
}

// batcher cuts a sequence of records into messages.
type batcher struct {
	records, bytes int
}

// full reports whether rec does not fit into the present message, and counts it in the one that it goes to.
func (b *batcher) full(rec *endpoint.Record) bool {
	size := recordSize(rec)
	if b.records == MaxRecords || b.records > 0 && b.bytes+size > batchBytes {
		b.records, b.bytes = 1, size
		return true
	}
	b.records++
	b.bytes += size
	return false
}
