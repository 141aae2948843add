package lsdb

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/compact"
	"openr/thrift/gen/types"
)

// Decoder decodes the contents of keys as the generated code does, but without its structs, and keeps one copy of each name
// that comes again: those of nodes, areas and tags. It is for one goroutine at a time.
type Decoder struct {
	p     *compact.Protocol
	names map[string]string
	whole string // what is being read, if names are to be parts of it
	tails map[string]tail
	heads int // fields read of which quick relies on there being one: the node, and an entry's prefix
}

// What a Decoder remembers at most: so many names and tails, and of what length.
const (
	maxNames, maxNameLength = 1 << 17, 64
	maxTails, maxTailLength = 1 << 12, 128
)

// NewDecoder returns a Decoder that has seen nothing yet.
func NewDecoder() *Decoder {
	return &Decoder{p: compact.New(), names: map[string]string{}, tails: map[string]tail{}}
}

// Advertisement is a PrefixDatabase in another form: what most prefixes have in common stands in one place.
type Advertisement struct {
	Node       string
	Prefix     netip.Prefix
	Entry      *PrefixEntry // without its prefix, shared by all that say the same; not to be changed
	Delete     bool
	PerfEvents []PerfEvent
}

// tail is what the bytes behind the prefix say, if that is what anybody may say of any prefix.
type tail struct {
	entry   *PrefixEntry
	deletes bool
}

// Advertisement decodes the content of a prefix: key as PrefixDatabase does. Values differ in node and prefix, which come
// first, but most say the same after that: only the first of these is looked at field by field.
func (d *Decoder) Advertisement(b []byte) (Advertisement, error) {
	node, prefix, rest, quick := cut(b)
	if quick {
		if t, known := d.tails[string(rest)]; known {
			return Advertisement{Node: d.intern(node), Prefix: prefix, Entry: t.entry, Delete: t.deletes}, nil
		}
	}
	db, err := d.PrefixDatabase(b)
	if err != nil {
		return Advertisement{}, err
	}
	a := Advertisement{Node: db.Node, Prefix: db.Entry.Prefix, Entry: new(PrefixEntry), Delete: db.Delete, PerfEvents: db.PerfEvents}
	*a.Entry = db.Entry
	a.Entry.Prefix = netip.Prefix{}
	if quick && d.heads == 2 && db.PerfEvents == nil && len(rest) <= maxTailLength {
		if len(d.tails) >= maxTails {
			clear(d.tails)
		}
		d.tails[string(rest)] = tail{a.Entry, a.Delete}
	}
	return a, nil
}

// cut takes the node and the prefix from a PrefixDatabase with one entry that begins as everybody writes them: field 1, the
// node; field 3, a list of one struct; of that field 1, a struct with field 1, a struct with nothing but field 1, the address,
// and with field 2, the length. ok is false if there is anything else.
func cut(b []byte) (node []byte, prefix netip.Prefix, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != 0x18 || b[1] >= 0x80 || len(b) < 2+int(b[1]) {
		return nil, prefix, nil, false
	}
	node, b = b[2:2+b[1]], b[2+b[1]:]
	const before = "\x29\x1c\x1c\x1c\x18"
	if len(b) < len(before)+1 || string(b[:len(before)]) != before {
		return nil, prefix, nil, false
	}
	size := int(b[len(before)])
	b = b[len(before)+1:]
	if size != 4 && size != 16 || len(b) < size+5 || b[size] != 0 || b[size+1] != 0x14 {
		return nil, prefix, nil, false
	}
	addr, _ := netip.AddrFromSlice(b[:size])
	length, n := binary.Uvarint(b[size+2 : size+4]) // zigzag: twice the length
	b = b[size+2:]
	if n <= 0 || length%2 != 0 || b[n] != 0 {
		return nil, prefix, nil, false
	}
	prefix, err := toNetwork(addr, size, int16(length/2))
	return node, prefix, b[n+1:], err == nil
}

// decoders are for those who decode a single value.
var decoders = sync.Pool{New: func() any { return NewDecoder() }}

var background = context.Background()

// PrefixDatabase decodes the content of a prefix: key. It is an error if it does not hold exactly one valid entry.
func (d *Decoder) PrefixDatabase(b []byte) (PrefixDatabase, error) {
	d.p.ResetRead(b)
	d.heads = 0
	var (
		db     PrefixDatabase
		count  int
		prefix rawPrefix
	)
	err := d.fields(func(id int16, kind thrift.TType) (err error) {
		switch {
		case id == 1 && kind == thrift.STRING:
			d.heads++
			db.Node, err = d.name()
		case id == 3 && kind == thrift.LIST:
			count, err = d.list(func(int) error { return d.prefixEntry(&db.Entry, &prefix) })
		case id == 4 && kind == thrift.STRUCT:
			db.PerfEvents, err = d.perfEvents()
		case id == 5 && kind == thrift.BOOL:
			db.Delete, err = d.p.ReadBool(background)
		default:
			err = d.p.Skip(background, kind)
		}
		return err
	})
	if err != nil {
		return PrefixDatabase{}, fmt.Errorf("prefix database: %w", err)
	}
	if count != 1 {
		return PrefixDatabase{}, fmt.Errorf("prefix database of %q holds %d entries, want exactly 1", db.Node, count)
	}
	if db.Entry.Prefix, err = prefix.network(); err != nil {
		return PrefixDatabase{}, fmt.Errorf("prefix database of %q: %w", db.Node, err)
	}
	return db, nil
}

// AdjacencyDatabase decodes the content of an adj: key. Area is what the sender wrote; the area of the publication counts
// (Open/R decision/Decision.cpp). The names within adjacencies are parts of one copy of b: to look up each of them costs more.
func (d *Decoder) AdjacencyDatabase(b []byte) (AdjacencyDatabase, error) {
	d.p.ResetRead(b)
	d.whole = string(b)
	defer func() { d.whole = "" }()
	var db AdjacencyDatabase
	err := d.fields(func(id int16, kind thrift.TType) (err error) {
		switch {
		case id == 1 && kind == thrift.STRING:
			db.Node, err = d.part()
		case id == 2 && kind == thrift.BOOL:
			db.Overloaded, err = d.p.ReadBool(background)
		case id == 3 && kind == thrift.LIST:
			db.Adjacencies = nil
			_, err = d.list(func(n int) error {
				if db.Adjacencies == nil {
					db.Adjacencies = make([]Adjacency, 0, min(n, 1+len(b)/16)) // none takes less
				}
				db.Adjacencies = append(db.Adjacencies, Adjacency{})
				return d.adjacency(&db.Adjacencies[len(db.Adjacencies)-1])
			})
		case id == 5 && kind == thrift.STRUCT:
			db.PerfEvents, err = d.perfEvents()
		case id == 6 && kind == thrift.STRING:
			db.Area, err = d.name()
		case id == 7 && kind == thrift.I32:
			db.MetricIncrement, err = d.p.ReadI32(background)
		default:
			err = d.p.Skip(background, kind)
		}
		return err
	})
	if err != nil {
		return AdjacencyDatabase{}, fmt.Errorf("adjacency database: %w", err)
	}
	if db.Adjacencies == nil {
		db.Adjacencies = []Adjacency{}
	}
	return db, nil
}

// fields calls read for each field of a struct.
func (d *Decoder) fields(read func(id int16, kind thrift.TType) error) error {
	if _, err := d.p.ReadStructBegin(background); err != nil {
		return err
	}
	for {
		_, kind, id, err := d.p.ReadFieldBegin(background)
		if err != nil {
			return err
		}
		if kind == thrift.STOP {
			return d.p.ReadStructEnd(background)
		}
		if err := read(id, kind); err != nil {
			return fmt.Errorf("field %d: %w", id, err)
		}
	}
}

// list calls read for each of the n elements of a list or set, and returns n.
func (d *Decoder) list(read func(n int) error) (n int, err error) {
	_, n, err = d.p.ReadListBegin(background)
	for i := 0; i < n && err == nil; i++ {
		err = read(n)
	}
	return n, err
}

// text returns the bytes of a string, a part of what is read.
func (d *Decoder) text() ([]byte, error) {
	b := d.p.Unread()
	if err := d.p.Skip(background, thrift.STRING); err != nil {
		return nil, err
	}
	b = b[:len(b)-len(d.p.Unread())]
	_, n := binary.Uvarint(b)
	return b[n:], nil
}

// name returns a string, the same one for all that say the same.
func (d *Decoder) name() (string, error) {
	b, err := d.text()
	if err != nil {
		return "", err
	}
	return d.intern(b), nil
}

// part returns a string as a part of d.whole.
func (d *Decoder) part() (string, error) {
	b, err := d.text()
	end := len(d.whole) - len(d.p.Unread())
	return d.whole[end-len(b) : end], err
}

func (d *Decoder) intern(b []byte) string {
	if known, ok := d.names[string(b)]; ok {
		return known
	}
	s := string(b)
	if len(s) <= maxNameLength {
		if len(d.names) >= maxNames {
			clear(d.names)
		}
		d.names[s] = s
	}
	return s
}

// nameList returns a list or set of strings, nil if it is empty.
func (d *Decoder) nameList() (list []string, err error) {
	_, err = d.list(func(int) error {
		s, err := d.name()
		list = append(list, s)
		return err
	})
	return list, err
}

// address returns the bytes of a BinaryAddress.
func (d *Decoder) address() (addr []byte, err error) {
	err = d.fields(func(id int16, kind thrift.TType) (err error) {
		if id == 1 && kind == thrift.STRING {
			addr, err = d.text()
			return err
		}
		return d.p.Skip(background, kind)
	})
	return addr, err
}

// rawPrefix is an IpPrefix as it was sent.
type rawPrefix struct {
	there  bool
	addr   []byte
	length int16
}

func (r rawPrefix) network() (netip.Prefix, error) {
	if !r.there {
		return netip.Prefix{}, errNoPrefix
	}
	addr, _ := netip.AddrFromSlice(r.addr)
	return toNetwork(addr, len(r.addr), r.length)
}

func (d *Decoder) prefix() (r rawPrefix, err error) {
	r.there = true
	err = d.fields(func(id int16, kind thrift.TType) (err error) {
		switch {
		case id == 1 && kind == thrift.STRUCT:
			r.addr, err = d.address()
		case id == 2 && kind == thrift.I16:
			r.length, err = d.p.ReadI16(background)
		default:
			err = d.p.Skip(background, kind)
		}
		return err
	})
	return r, err
}

// enum reads a number that names one of several values.
func enum[T ~int64](d *Decoder, to *T) error {
	v, err := d.p.ReadI32(background)
	*to = T(v)
	return err
}

// prefixEntry reads an entry, all but its prefix.
func (d *Decoder) prefixEntry(e *PrefixEntry, prefix *rawPrefix) error {
	*e, *prefix = PrefixEntry{}, rawPrefix{}
	return d.fields(func(id int16, kind thrift.TType) (err error) {
		switch {
		case id == 1 && kind == thrift.STRUCT:
			d.heads++
			*prefix, err = d.prefix()
		case id == 2 && kind == thrift.I32:
			err = enum(d, &e.Type)
		case id == 4 && kind == thrift.I32:
			err = enum(d, &e.ForwardingType)
		case id == 7 && kind == thrift.I32:
			err = enum(d, &e.ForwardingAlgorithm)
		case id == 8 && kind == thrift.I64:
			e.MinNexthop, err = d.p.ReadI64(background)
		case id == 10 && kind == thrift.STRUCT:
			err = d.metrics(&e.Metrics)
		case id == 11 && kind == thrift.SET:
			if e.Tags, err = d.nameList(); len(e.Tags) > 1 {
				slices.Sort(e.Tags)
				e.Tags = slices.Compact(e.Tags)
			}
		case id == 12 && kind == thrift.LIST:
			e.AreaStack, err = d.nameList()
		case id == 13 && kind == thrift.I64:
			e.Weight, err = d.p.ReadI64(background)
		default:
			err = d.p.Skip(background, kind)
		}
		return err
	})
}

func (d *Decoder) metrics(m *PrefixMetrics) error {
	*m = PrefixMetrics{}
	return d.fields(func(id int16, kind thrift.TType) (err error) {
		if kind != thrift.I32 {
			return d.p.Skip(background, kind)
		}
		v, err := d.p.ReadI32(background)
		switch id {
		case 2:
			m.PathPreference = v
		case 3:
			m.SourcePreference = v
		case 4:
			m.Distance = v
		case 5:
			m.Drain = v
		}
		return err
	})
}

func (d *Decoder) adjacency(a *Adjacency) error {
	a.Weight = 1
	return d.fields(func(id int16, kind thrift.TType) (err error) {
		var addr []byte
		switch {
		case id == 1 && kind == thrift.STRING:
			a.Node, err = d.part()
		case id == 2 && kind == thrift.STRING:
			a.IfName, err = d.part()
		case id == 3 && kind == thrift.STRUCT:
			addr, err = d.address()
			a.NextHopV6, _ = netip.AddrFromSlice(addr)
		case id == 4 && kind == thrift.I32:
			a.Metric, err = d.p.ReadI32(background)
		case id == 5 && kind == thrift.STRUCT:
			addr, err = d.address()
			if a.NextHopV4, _ = netip.AddrFromSlice(addr); !a.NextHopV4.Is4() || a.NextHopV4.IsUnspecified() {
				a.NextHopV4 = netip.Addr{}
			}
		case id == 7 && kind == thrift.BOOL:
			a.Overloaded, err = d.p.ReadBool(background)
		case id == 8 && kind == thrift.I32:
			a.RTT, err = d.p.ReadI32(background)
		case id == 9 && kind == thrift.I64:
			a.Timestamp, err = d.p.ReadI64(background)
		case id == 10 && kind == thrift.I64:
			a.Weight, err = d.p.ReadI64(background)
		case id == 11 && kind == thrift.STRING:
			a.OtherIfName, err = d.part()
		case id == 12 && kind == thrift.BOOL:
			a.OnlyUsedByOther, err = d.p.ReadBool(background)
		case id == 13 && kind == thrift.I32:
			a.MetricIncrement, err = d.p.ReadI32(background)
		default:
			err = d.p.Skip(background, kind)
		}
		return err
	})
}

func (d *Decoder) perfEvents() ([]PerfEvent, error) {
	t := types.NewPerfEvents()
	if err := t.Read(background, d.p); err != nil {
		return nil, err
	}
	return perfEventsFromThrift(t), nil
}
