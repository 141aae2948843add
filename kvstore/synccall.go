package kvstore

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/lsdb"
	wire "openr/thrift/gen/kvstore"
)

// The call of a full synchronization carries all keys of a store. It is written from a snapshot and read into a list,
// without the generated structs between: those cost several allocations and two entries of maps for each key.

const syncMethod = "getKvStoreKeyValsFilteredArea"

// syncCall is the arguments of the method, with a digest as its filter.
type syncCall struct {
	area   string
	digest Digest
}

// Write writes what the generated argument struct would with the digest's Params as its filter.
func (c *syncCall) Write(ctx context.Context, p thrift.TProtocol) error {
	w := encoder{ctx: ctx, p: p}
	w.begin("getKvStoreKeyValsFilteredArea_args")
	w.field("filter", thrift.STRUCT, 1)
	w.begin("KeyDumpParams")
	w.field("keyValHashes", thrift.MAP, 2)
	w.check(p.WriteMapBegin(ctx, thrift.STRING, thrift.STRUCT, c.digest.mine.n))
	for it := range c.digest.mine.all() {
		w.check(p.WriteString(ctx, it.key))
		v := it.value.WithoutData()
		if w.value(&v); w.err != nil {
			return w.err
		}
	}
	w.check(p.WriteMapEnd(ctx))
	w.field("originatorIds", thrift.SET, 3)
	w.check(p.WriteSetBegin(ctx, thrift.STRING, 0))
	w.check(p.WriteSetEnd(ctx))
	w.field("keys", thrift.LIST, 5)
	w.check(p.WriteListBegin(ctx, thrift.STRING, 0))
	w.check(p.WriteListEnd(ctx))
	w.field("ignoreTtl", thrift.BOOL, 6)
	w.check(p.WriteBool(ctx, true))
	w.field("doNotPublishValue", thrift.BOOL, 7)
	w.check(p.WriteBool(ctx, false))
	if asker := c.digest.asker; asker != "" {
		w.field("senderId", thrift.STRING, 8)
		w.check(p.WriteString(ctx, asker))
	}
	w.end()
	w.field("area", thrift.STRING, 2)
	w.check(p.WriteString(ctx, c.area))
	w.end()
	return w.err
}

// Read implements thrift.TStruct; nobody reads calls with it.
func (c *syncCall) Read(ctx context.Context, p thrift.TProtocol) error {
	return p.Skip(ctx, thrift.STRUCT)
}

// encoder writes to a protocol until that fails.
type encoder struct {
	ctx context.Context
	p   thrift.TProtocol
	err error
}

func (w *encoder) check(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *encoder) begin(name string) { w.check(w.p.WriteStructBegin(w.ctx, name)) }

func (w *encoder) end() {
	w.check(w.p.WriteFieldStop(w.ctx))
	w.check(w.p.WriteStructEnd(w.ctx))
}

func (w *encoder) field(name string, kind thrift.TType, id int16) {
	w.check(w.p.WriteFieldBegin(w.ctx, name, kind, id))
}

func (w *encoder) number(name string, id int16, v int64) {
	w.field(name, thrift.I64, id)
	w.check(w.p.WriteI64(w.ctx, v))
}

// value writes a value, with its data if it has any.
func (w *encoder) value(v *lsdb.Value) {
	w.begin("Value")
	w.number("version", 1, v.Version)
	w.field("originatorId", thrift.STRING, 3) // in the order in which it is declared
	w.check(w.p.WriteString(w.ctx, v.Originator))
	if v.HasData() {
		w.field("value", thrift.STRING, 2)
		w.check(w.p.WriteBinary(w.ctx, v.Data))
	}
	w.number("ttl", 4, v.TTL)
	w.number("ttlVersion", 5, v.TTLVersion)
	if v.HasHash {
		w.number("hash", 6, v.Hash)
	}
	w.end()
}

// syncReply is the result of the method.
type syncReply struct {
	answer SyncAnswer
	given  bool // there is an answer
	err    *wire.KvStoreError
}

// result returns the answer, or why there is none.
func (r *syncReply) result() (SyncAnswer, error) {
	switch {
	case r.err != nil:
		return SyncAnswer{}, r.err
	case !r.given:
		return SyncAnswer{}, thrift.NewTApplicationException(thrift.MISSING_RESULT, syncMethod+": the answer holds no result")
	}
	return r.answer, nil
}

// Write implements thrift.TStruct; nobody writes replies with it.
func (r *syncReply) Write(context.Context, thrift.TProtocol) error {
	return thrift.NewTProtocolExceptionWithType(thrift.NOT_IMPLEMENTED, thrift.NewTTransportException(thrift.UNKNOWN_TRANSPORT_EXCEPTION, "a reply that is only read"))
}

// Read implements thrift.TStruct.
func (r *syncReply) Read(ctx context.Context, p thrift.TProtocol) error {
	return readStruct(ctx, p, func(id int16, kind thrift.TType) (bool, error) {
		switch {
		case id == 0 && kind == thrift.STRUCT:
			r.given = true
			return true, r.readAnswer(ctx, p)
		case id == 1 && kind == thrift.STRUCT:
			r.err = wire.NewKvStoreError()
			return true, r.err.Read(ctx, p)
		}
		return false, nil
	})
}

// readStruct hands each field to field, and skips those that it does not take.
func readStruct(ctx context.Context, p thrift.TProtocol, field func(id int16, kind thrift.TType) (taken bool, err error)) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, kind, id, err := p.ReadFieldBegin(ctx)
		if err != nil {
			return err
		}
		if kind == thrift.STOP {
			return p.ReadStructEnd(ctx)
		}
		taken, err := field(id, kind)
		if err == nil && !taken {
			err = p.Skip(ctx, kind)
		}
		if err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
}

func (r *syncReply) readAnswer(ctx context.Context, p thrift.TProtocol) error {
	return readStruct(ctx, p, func(id int16, kind thrift.TType) (taken bool, err error) {
		switch {
		case id == 2 && kind == thrift.MAP:
			r.answer.list, err = readValues(ctx, p)
		case id == 5 && kind == thrift.LIST:
			r.answer.ToBeUpdated, err = readStrings(ctx, p)
		case id == 7 && kind == thrift.STRING:
			r.answer.Area, err = p.ReadString(ctx)
		default:
			return false, nil
		}
		return true, err
	})
}

// Bytes that a value, and a name, take in an answer at least, as a guess of how many there are: what a length claims is
// believed only as far as there are bytes.
const (
	valueBytes = 64
	nameBytes  = 16
)

// roomFor returns how much room to make at once for size elements of each bytes or more.
func roomFor(p thrift.TProtocol, size, each int) int {
	return int(min(uint64(size), p.Transport().RemainingBytes()/uint64(each)))
}

func readStrings(ctx context.Context, p thrift.TProtocol) ([]string, error) {
	_, size, err := p.ReadListBegin(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, roomFor(p, size, nameBytes))
	for range size {
		s, err := p.ReadString(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, p.ReadListEnd(ctx)
}

// readValues reads a map of values into a list, which is never nil.
func readValues(ctx context.Context, p thrift.TProtocol) ([]change, error) {
	_, _, size, err := p.ReadMapBegin(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]change, 0, roomFor(p, size, valueBytes))
	names := names{}
	var v *lsdb.Value
	field := func(id int16, kind thrift.TType) (bool, error) { return readValueField(ctx, p, names, v, id, kind) }
	for range size {
		key, err := p.ReadString(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, change{key: key})
		v = &out[len(out)-1].value
		if err := readStruct(ctx, p, field); err != nil {
			return nil, err
		}
	}
	return out, p.ReadMapEnd(ctx)
}

func readValueField(ctx context.Context, p thrift.TProtocol, known names, v *lsdb.Value, id int16, kind thrift.TType) (taken bool, err error) {
	switch {
	case id == 2 && kind == thrift.STRING:
		if v.Data, err = p.ReadBinary(ctx); v.Data == nil {
			v.Data = []byte{}
		}
	case id == 3 && kind == thrift.STRING:
		v.Originator, err = known.read(ctx, p)
	case kind != thrift.I64:
		return false, nil
	case id == 1:
		v.Version, err = p.ReadI64(ctx)
	case id == 4:
		v.TTL, err = p.ReadI64(ctx)
	case id == 5:
		v.TTLVersion, err = p.ReadI64(ctx)
	case id == 6:
		v.Hash, err = p.ReadI64(ctx)
		v.HasHash = true
	default:
		return false, nil
	}
	return true, err
}

// names keeps one string of each name: many keys have the same originator.
type names map[string]string

// maxNames bounds how many names are known.
const maxNames = 1 << 14

func (n names) read(ctx context.Context, p thrift.TProtocol) (string, error) {
	s, err := p.ReadString(ctx)
	if err != nil {
		return "", err
	}
	if known, ok := n[s]; ok {
		return known, nil
	}
	if len(n) < maxNames {
		n[s] = s
	}
	return s, nil
}
