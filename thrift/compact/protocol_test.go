package compact_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	"pgregory.net/rapid"

	"openr/thrift/compact"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/types"
)

// value is any value that Thrift can carry, without a schema.
type value struct {
	kind      thrift.TType
	number    int64 // of bool and the integers
	text      string
	fields    []field // of a struct
	elem, key thrift.TType
	elems     []value
	keys      []value // of a map, beside elems
	asBinary  bool    // text is written and read as binary
}

type field struct {
	id int16
	value
}

var scalars = []thrift.TType{thrift.BOOL, thrift.BYTE, thrift.I16, thrift.I32, thrift.I64, thrift.STRING}
var nested = []thrift.TType{thrift.STRUCT, thrift.LIST, thrift.SET, thrift.MAP}

func drawKind(t *rapid.T, depth int) thrift.TType {
	if depth <= 0 {
		return rapid.SampledFrom(scalars).Draw(t, "kind")
	}
	return rapid.SampledFrom(slices.Concat(scalars, nested)).Draw(t, "kind")
}

// draw returns a value of the given kind, at most depth levels deep.
func draw(t *rapid.T, kind thrift.TType, depth int) value {
	v := value{kind: kind}
	switch kind {
	case thrift.BOOL:
		v.number = int64(rapid.IntRange(0, 1).Draw(t, "bool"))
	case thrift.BYTE:
		v.number = int64(rapid.Int8().Draw(t, "byte"))
	case thrift.I16:
		v.number = int64(rapid.Int16().Draw(t, "i16"))
	case thrift.I32:
		v.number = int64(rapid.Int32().Draw(t, "i32"))
	case thrift.I64:
		v.number = rapid.Int64().Draw(t, "i64")
	case thrift.STRING:
		v.text, v.asBinary = string(rapid.SliceOf(rapid.Byte()).Draw(t, "text")), rapid.Bool().Draw(t, "binary")
	case thrift.STRUCT:
		for range rapid.IntRange(0, 6).Draw(t, "fields") {
			v.fields = append(v.fields, field{rapid.Int16().Draw(t, "id"), draw(t, drawKind(t, depth-1), depth-1)})
		}
	default:
		v.elem, v.key = drawKind(t, depth-1), rapid.SampledFrom(scalars).Draw(t, "key")
		for range rapid.IntRange(0, 20).Draw(t, "size") {
			v.elems = append(v.elems, draw(t, v.elem, depth-1))
			if kind == thrift.MAP {
				v.keys = append(v.keys, draw(t, v.key, depth-1))
			}
		}
		if kind == thrift.MAP && len(v.elems) == 0 {
			v.elem, v.key = 0, 0
		}
		if kind != thrift.MAP {
			v.key = 0
		}
	}
	return v
}

func (v value) write(p thrift.TProtocol) error {
	ctx := context.Background()
	switch v.kind {
	case thrift.BOOL:
		return p.WriteBool(ctx, v.number == 1)
	case thrift.BYTE:
		return p.WriteByte(ctx, int8(v.number))
	case thrift.I16:
		return p.WriteI16(ctx, int16(v.number))
	case thrift.I32:
		return p.WriteI32(ctx, int32(v.number))
	case thrift.I64:
		return p.WriteI64(ctx, v.number)
	case thrift.STRING:
		if v.asBinary {
			return p.WriteBinary(ctx, []byte(v.text))
		}
		return p.WriteString(ctx, v.text)
	case thrift.STRUCT:
		err := p.WriteStructBegin(ctx, "value")
		for _, f := range v.fields {
			err = errors.Join(err, p.WriteFieldBegin(ctx, "field", f.kind, f.id), f.value.write(p), p.WriteFieldEnd(ctx))
		}
		return errors.Join(err, p.WriteFieldStop(ctx), p.WriteStructEnd(ctx))
	case thrift.MAP:
		err := p.WriteMapBegin(ctx, v.key, v.elem, len(v.elems))
		for i := range v.elems {
			err = errors.Join(err, v.keys[i].write(p), v.elems[i].write(p))
		}
		return errors.Join(err, p.WriteMapEnd(ctx))
	case thrift.SET:
		err := p.WriteSetBegin(ctx, v.elem, len(v.elems))
		for _, e := range v.elems {
			err = errors.Join(err, e.write(p))
		}
		return errors.Join(err, p.WriteSetEnd(ctx))
	}
	err := p.WriteListBegin(ctx, v.elem, len(v.elems))
	for _, e := range v.elems {
		err = errors.Join(err, e.write(p))
	}
	return errors.Join(err, p.WriteListEnd(ctx))
}

// read reads a value like the one given, which tells only what is text and what is binary.
func read(p thrift.TProtocol, like value) (v value, err error) {
	ctx := context.Background()
	v.kind, v.asBinary = like.kind, like.asBinary
	switch v.kind {
	case thrift.BOOL:
		var b bool
		if b, err = p.ReadBool(ctx); b {
			v.number = 1
		}
	case thrift.BYTE:
		var n int8
		n, err = p.ReadByte(ctx)
		v.number = int64(n)
	case thrift.I16:
		var n int16
		n, err = p.ReadI16(ctx)
		v.number = int64(n)
	case thrift.I32:
		var n int32
		n, err = p.ReadI32(ctx)
		v.number = int64(n)
	case thrift.I64:
		v.number, err = p.ReadI64(ctx)
	case thrift.STRING:
		if like.asBinary {
			var b []byte
			b, err = p.ReadBinary(ctx)
			v.text = string(b)
		} else {
			v.text, err = p.ReadString(ctx)
		}
	case thrift.STRUCT:
		_, err = p.ReadStructBegin(ctx)
		for i := 0; err == nil; i++ {
			var f field
			var kind thrift.TType
			if _, kind, f.id, err = p.ReadFieldBegin(ctx); err != nil || kind == thrift.STOP {
				break
			}
			if i >= len(like.fields) || like.fields[i].kind != kind {
				return v, fmt.Errorf("field %d has type %v", i, kind)
			}
			f.value, err = read(p, like.fields[i].value)
			v.fields = append(v.fields, f)
			err = errors.Join(err, p.ReadFieldEnd(ctx))
		}
		err = errors.Join(err, p.ReadStructEnd(ctx))
	default:
		n := 0
		switch v.kind {
		case thrift.MAP:
			v.key, v.elem, n, err = p.ReadMapBegin(ctx)
		case thrift.SET:
			v.elem, n, err = p.ReadSetBegin(ctx)
		default:
			v.elem, n, err = p.ReadListBegin(ctx)
		}
		for i := 0; i < n && err == nil; i++ {
			var e value
			if v.kind == thrift.MAP {
				e, err = read(p, like.keys[i])
				v.keys = append(v.keys, e)
			}
			if err == nil {
				e, err = read(p, like.elems[i])
				v.elems = append(v.elems, e)
			}
		}
	}
	return v, err
}

func overMemory(b []byte) (*thrift.TMemoryBuffer, thrift.TProtocol) {
	buf := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(b)}
	return buf, thrift.NewTCompactProtocolConf(buf, nil)
}

// TestSameAsApache writes arbitrary structs with the protocol and with Apache's, which must make the same bytes; reads
// them back; and skips them as unknown fields.
func TestSameAsApache(t *testing.T) {
	ours := compact.New() // for all: it is to be used again and again
	rapid.Check(t, func(t *rapid.T) {
		v := draw(t, thrift.STRUCT, 4)
		buf, apache := overMemory(nil)
		if err := v.write(apache); err != nil {
			t.Fatal(err)
		}
		want := buf.Bytes()
		ours.ResetWrite([]byte("before"))
		if err := v.write(ours); err != nil {
			t.Fatal(err)
		}
		got, ok := bytes.CutPrefix(ours.Written(), []byte("before"))
		if !ok || !bytes.Equal(got, want) {
			t.Fatalf("wrote\n%x, Apache's writes\n%x", got, want)
		}
		ours.ResetRead(want)
		back, err := read(ours, v)
		if err != nil || !reflect.DeepEqual(back, v) || len(ours.Unread()) != 0 {
			t.Fatalf("read %v, %v, %d bytes left; want %v", back, err, len(ours.Unread()), v)
		}
		ours.ResetRead(want)
		if err := ours.Skip(context.Background(), thrift.STRUCT); err != nil || len(ours.Unread()) != 0 {
			t.Fatalf("skipped: %v, %d bytes left", err, len(ours.Unread()))
		}
		cut := want[:rapid.IntRange(0, len(want)-1).Draw(t, "cut")]
		ours.ResetRead(cut)
		if err := ours.Skip(context.Background(), thrift.STRUCT); err == nil {
			t.Fatalf("%d of %d bytes were skipped without error", len(cut), len(want))
		}
		ours.ResetRead(cut)
		if _, err := read(ours, v); err == nil {
			t.Fatalf("%d of %d bytes were read without error", len(cut), len(want))
		}
	})
}

// TestMessages reads envelopes of both versions and writes the one that is set; version 1 is Apache's.
func TestMessages(t *testing.T) {
	ctx := t.Context()
	for _, version := range []int{1, 2} {
		for _, seq := range []int32{0, 1, 300, math.MaxInt32, -1} {
			p := compact.New()
			p.SetVersion(version)
			if err := p.WriteMessageBegin(ctx, "getMyNodeName", thrift.CALL, seq); err != nil {
				t.Fatal(err)
			}
			b := p.Written()
			if version == 1 {
				buf, apache := overMemory(nil)
				apache.WriteMessageBegin(ctx, "getMyNodeName", thrift.CALL, seq)
				if !bytes.Equal(b, buf.Bytes()) {
					t.Errorf("wrote %x, Apache's %x", b, buf.Bytes())
				}
			}
			p = compact.New()
			p.ResetRead(b)
			name, kind, got, err := p.ReadMessageBegin(ctx)
			if err != nil || name != "getMyNodeName" || kind != thrift.CALL || got != seq || p.Version() != version {
				t.Errorf("version %d, id %d: %q, %v, %d, version %d, %v", version, seq, name, kind, got, p.Version(), err)
			}
			for n := range b {
				p.ResetRead(b[:n])
				if _, _, _, err := p.ReadMessageBegin(ctx); err == nil {
					t.Errorf("%d of %d bytes were read", n, len(b))
				}
			}
		}
	}
	p := compact.New()
	for _, bad := range [][]byte{{0x82, 0x23, 0, 0}, {0x80, 0x21, 0, 0}, {0x82, 0x20, 0, 0}} {
		p.ResetRead(bad)
		if _, _, _, err := p.ReadMessageBegin(ctx); err == nil {
			t.Errorf("%x was read", bad)
		}
	}
	if p.WriteMessageBegin(ctx, "m", thrift.REPLY, 0); p.Written()[1] != 2<<5|2 {
		t.Errorf("without a version: %x", p.Written())
	}
}

// TestDouble shows that doubles are big-endian.
func TestDouble(t *testing.T) {
	p := compact.New()
	p.WriteDouble(t.Context(), 1.5)
	if want := binary.BigEndian.AppendUint64(nil, math.Float64bits(1.5)); !bytes.Equal(p.Written(), want) {
		t.Errorf("wrote %x, want %x", p.Written(), want)
	}
	p.ResetRead(p.Written())
	if v, err := p.ReadDouble(t.Context()); v != 1.5 || err != nil {
		t.Errorf("read %v, %v", v, err)
	}
}

// TestFloatIsSkipped has fields of fbthrift's type float, 4 bytes long, before, in and after what is known.
func TestFloatIsSkipped(t *testing.T) {
	const float = "3f800000"
	b := unhex(t, "1d"+float+"1804"+hex.EncodeToString([]byte("area"))+"1c"+"1d"+float+"29"+"2d"+float+float+"00"+"1d"+float+"00")
	p := compact.New()
	p.ResetRead(b)
	if err := p.Skip(t.Context(), thrift.STRUCT); err != nil || len(p.Unread()) != 0 {
		t.Errorf("%v, %d bytes left", err, len(p.Unread()))
	}
}

// TestUUID moves 16 bytes; a field of the type cannot be written, since its number means float to fbthrift.
func TestUUID(t *testing.T) {
	p := compact.New()
	want := thrift.Tuuid{1, 2, 15: 16}
	p.WriteUUID(t.Context(), want)
	p.ResetRead(p.Written())
	if got, err := p.ReadUUID(t.Context()); got != want || err != nil {
		t.Errorf("read %v, %v", got, err)
	}
	if err := p.WriteFieldBegin(t.Context(), "", thrift.UUID, 1); err == nil {
		t.Error("a field of type uuid was written")
	}
}

// TestAnyFieldOrder reads a Value whose fields come in other orders, the short and the long form mixed, and with unknown
// fields of every type in between.
func TestAnyFieldOrder(t *testing.T) {
	want := &kvstore.Value{Version: 3, Value: []byte{}, OriginatorId: "node-a", TTL: 7, TtlVersion: 1}
	const (
		name    = "066e6f64652d61"
		unknown = "21" + "12" + "13ff" + "1408" + "1508" + "16ffffffffffffffffff01" + "170000000000000000" + "1803414243" + // 7 to 14: bools to binary
			"1928" + "0161" + "0162" + "1a21" + "0102" + "1b01" + "8c" + "0161" + "1500" + "00" + "1c" + "1b00" + "00" // 15 to 18: list, set, map, struct
	)
	for order, b := range map[string]string{
		"as C++ declares":   "1606" + "28" + name + "080400" + "260e" + "1602" + "00", // 1, 3, 2, 4, 5
		"down":              "060a02" + "06080e" + "0806" + name + "080400" + "060206" + "00",
		"up, long":          "060206" + "080400" + "0806" + name + "06080e" + "060a02" + "00",
		"with unknown ones": "1606" + "1800" + "18" + name + "160e" + "1602" + unknown + "060a02" + "00",
	} {
		got := kvstore.NewValue()
		if err := compact.Unmarshal(unhex(t, b), got); err != nil || !got.Equals(want) {
			t.Errorf("%s: %v, %v; want %v", order, got, err, want)
		}
	}
}

// TestNesting reads and writes structs as deep as allowed and one deeper; unknown containers too.
func TestNesting(t *testing.T) {
	ctx := t.Context()
	for _, over := range []bool{false, true} {
		depth := compact.MaxDepth
		if over {
			depth++
		}
		in := append(bytes.Repeat([]byte{0x1c}, depth-1), bytes.Repeat([]byte{0}, depth)...)
		p := compact.New()
		p.ResetRead(in)
		if err := p.Skip(ctx, thrift.STRUCT); (err != nil) != over {
			t.Errorf("%d structs skipped: %v", depth, err)
		}
		p.ResetRead(in)
		p.ResetWrite(nil)
		var readErr, writeErr error
		for range depth {
			_, err := p.ReadStructBegin(ctx)
			readErr = errors.Join(readErr, err)
			writeErr = errors.Join(writeErr, p.WriteStructBegin(ctx, ""))
		}
		if (readErr != nil) != over || (writeErr != nil) != over {
			t.Errorf("%d structs: %v, %v", depth, readErr, writeErr)
		}
		lists := append(bytes.Repeat([]byte{0x19}, depth-1), 0x09)
		p.ResetRead(lists)
		if err := p.Skip(ctx, thrift.LIST); (err != nil) != over {
			t.Errorf("%d lists skipped: %v", depth, err)
		}
	}
	p := compact.New()
	if p.ReadStructEnd(ctx) == nil || p.WriteStructEnd(ctx) == nil {
		t.Error("a struct ended that had not begun")
	}
}

// TestClaims reads headers that claim more than there is.
func TestClaims(t *testing.T) {
	ctx := t.Context()
	huge := "ffffffff0f"
	for name, c := range map[string]struct {
		b    string
		read func(p *compact.Protocol) error
	}{
		"string": {huge, func(p *compact.Protocol) error { _, err := p.ReadString(ctx); return err }},
		"binary": {"03aabb", func(p *compact.Protocol) error { _, err := p.ReadBinary(ctx); return err }},
		"list":   {"f8" + huge + "00", func(p *compact.Protocol) error { _, _, err := p.ReadListBegin(ctx); return err }},
		"set":    {"380000", func(p *compact.Protocol) error { _, _, err := p.ReadSetBegin(ctx); return err }},
		"map":    {"0288000000", func(p *compact.Protocol) error { _, _, _, err := p.ReadMapBegin(ctx); return err }},
		"type":   {"1f00", func(p *compact.Protocol) error { _, _, err := p.ReadListBegin(ctx); return err }},
		"i32":    {"808080808001", func(p *compact.Protocol) error { _, err := p.ReadI32(ctx); return err }},
		"i64":    {"8080808080808080808001", func(p *compact.Protocol) error { _, err := p.ReadI64(ctx); return err }},
		"name":   {"8221000a61", func(p *compact.Protocol) error { _, _, _, err := p.ReadMessageBegin(ctx); return err }},
	} {
		p := compact.New()
		p.ResetRead(unhex(t, c.b))
		if err := c.read(p); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	p := compact.New()
	p.ResetRead(unhex(t, "f801"+"00"))
	if elem, n, err := p.ReadListBegin(ctx); elem != thrift.STRING || n != 1 || err != nil {
		t.Errorf("an honest list: %v, %d, %v", elem, n, err)
	}
}

// TestNothingShared changes the bytes after they were read.
func TestNothingShared(t *testing.T) {
	want := &kvstore.KvStoreServiceSetKvStoreKeyValsArgs{Area: "0", SetParams: &kvstore.KeySetParams{
		KeyVals: map[string]*kvstore.Value{"key": {OriginatorId: "node", Value: []byte("data")}}}}
	b := compact.Marshal(want)
	got := kvstore.NewKvStoreServiceSetKvStoreKeyValsArgs()
	if err := compact.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	clear(b)
	if v := got.SetParams.KeyVals["key"]; got.Area != "0" || v == nil || v.OriginatorId != "node" || string(v.Value) != "data" {
		t.Errorf("%v", got)
	}
	first, second := compact.Marshal(want), compact.Marshal(&kvstore.KvStoreServiceSetKvStoreKeyValsArgs{Area: "other"})
	if again := compact.Marshal(want); !bytes.Equal(first, again) || bytes.Equal(first, second) {
		t.Error("a later Marshal changed what an earlier one had returned")
	}
}

// TestNoAllocation writes and reads without strings.
func TestNoAllocation(t *testing.T) {
	ctx := t.Context()
	p := compact.New()
	b := make([]byte, 0, 256)
	text := []byte("some text")
	if n := testing.AllocsPerRun(100, func() {
		p.ResetWrite(b)
		p.WriteStructBegin(ctx, "s")
		p.WriteFieldBegin(ctx, "f", thrift.I64, 1)
		p.WriteI64(ctx, 1<<40)
		p.WriteFieldBegin(ctx, "f", thrift.BOOL, 2)
		p.WriteBool(ctx, true)
		p.WriteFieldBegin(ctx, "f", thrift.STRING, 3)
		p.WriteBinary(ctx, text)
		p.WriteFieldBegin(ctx, "f", thrift.STRING, 4)
		p.WriteString(ctx, "text")
		p.WriteFieldStop(ctx)
		p.WriteStructEnd(ctx)
		p.ResetRead(p.Written())
		p.ReadStructBegin(ctx)
		p.ReadFieldBegin(ctx)
		p.ReadI64(ctx)
		p.ReadFieldBegin(ctx)
		p.ReadBool(ctx)
		p.ReadFieldBegin(ctx)
		p.Skip(ctx, thrift.STRING)
		p.ReadFieldBegin(ctx)
		p.Skip(ctx, thrift.STRING)
		p.ReadFieldBegin(ctx)
		p.ReadStructEnd(ctx)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestTransport moves bytes through the transport, as Apache's own protocols do.
func TestTransport(t *testing.T) {
	p := compact.New()
	tr := p.Transport()
	io.WriteString(tr, "abc")
	p.ResetRead(p.Written())
	if left := tr.RemainingBytes(); left != 3 || !tr.IsOpen() || tr.Open() != nil || tr.Flush(t.Context()) != nil {
		t.Errorf("%d bytes remain", left)
	}
	if b, err := io.ReadAll(tr); string(b) != "abc" || err != nil {
		t.Errorf("read %q, %v", b, err)
	}
	if tr.Close() != nil {
		t.Error("it does not close")
	}
}

// watched is a Protocol that tells whether type float was met, where Apache's sees something else.
type watched struct {
	*compact.Protocol
	float bool
}

const float = thrift.TType(19)

func (w *watched) ReadFieldBegin(ctx context.Context) (string, thrift.TType, int16, error) {
	name, kind, id, err := w.Protocol.ReadFieldBegin(ctx)
	w.float = w.float || kind == float
	return name, kind, id, err
}

func (w *watched) ReadMapBegin(ctx context.Context) (thrift.TType, thrift.TType, int, error) {
	key, elem, n, err := w.Protocol.ReadMapBegin(ctx)
	w.float = w.float || key == float || elem == float
	return key, elem, n, err
}

func (w *watched) ReadListBegin(ctx context.Context) (thrift.TType, int, error) {
	elem, n, err := w.Protocol.ReadListBegin(ctx)
	w.float = w.float || elem == float
	return elem, n, err
}

func (w *watched) ReadSetBegin(ctx context.Context) (thrift.TType, int, error) {
	return w.ReadListBegin(ctx)
}

func (w *watched) Skip(ctx context.Context, kind thrift.TType) error {
	return thrift.SkipDefaultDepth(ctx, w, kind)
}

// FuzzAgainstApache reads arbitrary bytes as structs with the protocol and with Apache's: what both accept is the same.
// The protocol's own Skip agrees with the runtime's.
func FuzzAgainstApache(f *testing.F) {
	f.Add(unhex(f, capturedSet))
	f.Add(unhex(f, capturedAdjacencies))
	f.Add(unhex(f, capturedPrefix))
	f.Add([]byte{0x1d, 0, 0, 0, 0, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := t.Context()
		for _, make := range []func() thrift.TStruct{
			func() thrift.TStruct { return kvstore.NewKvStoreServiceSetKvStoreKeyValsArgs() },
			func() thrift.TStruct { return types.NewAdjacencyDatabase() },
			func() thrift.TStruct { return types.NewPrefixDatabase() },
		} {
			ours, theirs := make(), make()
			w := &watched{Protocol: compact.New()}
			w.ResetRead(b)
			err := ours.Read(ctx, w)
			_, apache := overMemory(bytes.Clone(b))
			if theirs.Read(ctx, apache) == nil && err == nil && !w.float && !reflect.DeepEqual(ours, theirs) {
				t.Errorf("read\n%v, Apache's\n%v", ours, theirs)
			}
			fast := make()
			if fastErr := compact.Unmarshal(b, fast); !w.float && (fastErr == nil) != (err == nil) || err == nil && !reflect.DeepEqual(ours, fast) {
				t.Errorf("with the own Skip: %v, %v; with the runtime's: %v, %v", fast, fastErr, ours, err)
			}
		}
	})
}
