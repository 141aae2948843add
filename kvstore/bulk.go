package kvstore

import (
	"context"
	"errors"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	wire "openr/thrift/gen/kvstore"
)

// Bulk are the methods of KvStoreService that carry many keys, as a processor runs them. They read and write what the
// generated code would, but into lists and from snapshots: generated structs, and two maps of them, cost more than all the
// rest of a request. Errors become KvStoreErrors.
type Bulk struct {
	// Set answers setKvStoreKeyVals and setKvStoreKeyValues. The set is for KvStore.Set.
	Set func(ctx context.Context, area string, set KeySet) (map[string]NoMergeReason, error)
	// Dump and DumpHashes answer getKvStoreKeyValsFilteredArea and getKvStoreHashFilteredArea, with what KvStore.Dump says.
	Dump, DumpHashes func(ctx context.Context, area string, p DumpParams) (SyncAnswer, error)
}

const (
	setMethod       = "setKvStoreKeyVals"
	setReasonMethod = "setKvStoreKeyValues"
	hashMethod      = "getKvStoreHashFilteredArea"
)

var errNoSet = errors.New("argument setParams is missing")

// Functions returns the methods by name.
func (b Bulk) Functions() map[string]thrift.TProcessorFunction {
	return map[string]thrift.TProcessorFunction{
		setMethod: function(setMethod, func(ctx context.Context, in thrift.TProtocol) (thrift.TStruct, error) {
			_, failed, err := b.set(ctx, in)
			return &wire.KvStoreServiceSetKvStoreKeyValsResult{Error: failed}, err
		}),
		setReasonMethod: function(setReasonMethod, func(ctx context.Context, in thrift.TProtocol) (thrift.TStruct, error) {
			reasons, failed, err := b.set(ctx, in)
			if failed != nil {
				return &wire.KvStoreServiceSetKvStoreKeyValuesResult{Error: failed}, nil
			}
			return &wire.KvStoreServiceSetKvStoreKeyValuesResult{Success: NoMergeReasonsToThrift(reasons)}, err
		}),
		syncMethod: dumpFunction(syncMethod, b.Dump),
		hashMethod: dumpFunction(hashMethod, b.DumpHashes),
	}
}

// set reads the arguments and sets the values. The error is that they do not decode.
func (b Bulk) set(ctx context.Context, in thrift.TProtocol) (reasons map[string]NoMergeReason, failed *wire.KvStoreError, err error) {
	var args setArgs
	if err := args.Read(ctx, in); err != nil {
		return nil, nil, err
	}
	if !args.given {
		return nil, declared(errNoSet), nil
	}
	reasons, err = b.Set(ctx, args.area, args.set)
	return reasons, declared(err), nil
}

func dumpFunction(name string, dump func(context.Context, string, DumpParams) (SyncAnswer, error)) thrift.TProcessorFunction {
	return function(name, func(ctx context.Context, in thrift.TProtocol) (thrift.TStruct, error) {
		var args dumpArgs
		if err := args.Read(ctx, in); err != nil {
			return nil, err
		}
		answer, err := dump(ctx, args.area, args.params)
		return &dumpResult{name, answer, declared(err)}, nil
	})
}

// declared returns err as the exception that the methods declare; nil of nil.
func declared(err error) *wire.KvStoreError {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*wire.KvStoreError](err); ok {
		return e
	}
	return &wire.KvStoreError{Message: err.Error()}
}

// function makes a processor's function of one that reads the arguments and returns the result struct, or an error if the
// arguments do not decode.
func function(name string, call func(ctx context.Context, in thrift.TProtocol) (thrift.TStruct, error)) thrift.TProcessorFunction {
	return thrift.WrappedTProcessorFunction{Wrapped: func(ctx context.Context, seq int32, in, out thrift.TProtocol) (bool, thrift.TException) {
		result, err := call(ctx, in)
		if err != nil {
			return false, thrift.WrapTException(err)
		}
		if err = out.WriteMessageBegin(ctx, name, thrift.REPLY, seq); err == nil {
			err = result.Write(ctx, out)
		}
		if err == nil {
			err = out.WriteMessageEnd(ctx)
		}
		if err == nil {
			err = out.Flush(ctx)
		}
		if err != nil {
			return false, &thrift.ProcessorError{WriteError: thrift.WrapTException(err)}
		}
		return true, nil
	}}
}

// setArgs are the arguments of the methods that set keys.
type setArgs struct {
	set   KeySet
	area  string
	given bool // there is a set
}

// Read reads what the generated argument struct would write.
func (a *setArgs) Read(ctx context.Context, p thrift.TProtocol) error {
	return readStruct(ctx, p, func(id int16, kind thrift.TType) (taken bool, err error) {
		switch {
		case id == 1 && kind == thrift.STRUCT:
			a.given = true
			return true, a.readSet(ctx, p)
		case id == 2 && kind == thrift.STRING:
			a.area, err = p.ReadString(ctx)
			return true, err
		}
		return false, nil
	})
}

func (a *setArgs) readSet(ctx context.Context, p thrift.TProtocol) error {
	s := &a.set
	return readStruct(ctx, p, func(id int16, kind thrift.TType) (taken bool, err error) {
		switch {
		case id == 2 && kind == thrift.MAP:
			s.list, err = readValues(ctx, p)
		case id == 5 && kind == thrift.LIST:
			s.NodeIDs, err = readStrings(ctx, p)
		case id == 7 && kind == thrift.I64:
			var ms int64
			ms, err = p.ReadI64(ctx)
			s.Timestamp = time.UnixMilli(ms)
		case id == 8 && kind == thrift.STRING:
			s.SenderID, err = p.ReadString(ctx)
		default:
			return false, nil
		}
		return true, err
	})
}

// dumpArgs are the arguments of the methods that dump an area.
type dumpArgs struct {
	params DumpParams
	area   string
}

// Read reads what the generated argument struct would write.
func (a *dumpArgs) Read(ctx context.Context, p thrift.TProtocol) error {
	a.params = DumpParams{thrift: true, IgnoreTTL: true}
	return readStruct(ctx, p, func(id int16, kind thrift.TType) (taken bool, err error) {
		switch {
		case id == 1 && kind == thrift.STRUCT:
			return true, a.readParams(ctx, p)
		case id == 2 && kind == thrift.STRING:
			a.area, err = p.ReadString(ctx)
			return true, err
		}
		return false, nil
	})
}

func (a *dumpArgs) readParams(ctx context.Context, p thrift.TProtocol) error {
	d := &a.params
	return readStruct(ctx, p, func(id int16, kind thrift.TType) (taken bool, err error) {
		switch {
		case id == 2 && kind == thrift.MAP:
			d.digest, err = readValues(ctx, p)
		case id == 3 && (kind == thrift.SET || kind == thrift.LIST):
			d.Originators, err = readStrings(ctx, p) // a set begins as a list does, in all encodings
		case id == 4 && kind == thrift.I32:
			var oper int32
			oper, err = p.ReadI32(ctx)
			d.And = oper == int32(wire.FilterOperator_AND)
		case id == 5 && kind == thrift.LIST:
			d.Keys, err = readStrings(ctx, p)
		case id == 6 && kind == thrift.BOOL:
			d.IgnoreTTL, err = p.ReadBool(ctx)
		case id == 7 && kind == thrift.BOOL:
			d.DoNotPublishValue, err = p.ReadBool(ctx)
		case id == 8 && kind == thrift.STRING:
			d.SenderID, err = p.ReadString(ctx)
		default:
			return false, nil
		}
		return true, err
	})
}

// dumpResult is the result of the methods that dump an area.
type dumpResult struct {
	method string
	answer SyncAnswer
	err    *wire.KvStoreError
}

// Read implements thrift.TStruct; nobody reads answers with it.
func (r *dumpResult) Read(ctx context.Context, p thrift.TProtocol) error {
	return p.Skip(ctx, thrift.STRUCT)
}

// Write writes what the generated result struct would.
func (r *dumpResult) Write(ctx context.Context, p thrift.TProtocol) error {
	w := encoder{ctx: ctx, p: p}
	w.begin(r.method + "_result")
	if r.err != nil {
		w.field("error", thrift.STRUCT, 1)
		w.check(r.err.Write(ctx, p))
		w.end()
		return w.err
	}
	w.field("success", thrift.STRUCT, 0)
	w.begin("Publication")
	w.field("keyVals", thrift.MAP, 2)
	w.answer(&r.answer)
	w.field("expiredKeys", thrift.LIST, 3)
	w.names(nil)
	if r.answer.ToBeUpdated != nil {
		w.field("tobeUpdatedKeys", thrift.LIST, 5)
		w.names(r.answer.ToBeUpdated)
	}
	w.field("area", thrift.STRING, 7)
	w.check(p.WriteString(ctx, r.answer.Area))
	w.end()
	w.end()
	return w.err
}

// answer writes the values of an answer.
func (w *encoder) answer(a *SyncAnswer) {
	w.check(w.p.WriteMapBegin(w.ctx, thrift.STRING, thrift.STRUCT, len(a.items)+len(a.KeyVals)))
	for _, it := range a.items {
		w.check(w.p.WriteString(w.ctx, it.key))
		v := a.shown(it)
		if w.value(&v); w.err != nil {
			return
		}
	}
	for key, v := range a.KeyVals {
		w.check(w.p.WriteString(w.ctx, key))
		w.value(&v)
	}
	w.check(w.p.WriteMapEnd(w.ctx))
}

func (w *encoder) names(names []string) {
	w.check(w.p.WriteListBegin(w.ctx, thrift.STRING, len(names)))
	for _, name := range names {
		w.check(w.p.WriteString(w.ctx, name))
	}
	w.check(w.p.WriteListEnd(w.ctx))
}
