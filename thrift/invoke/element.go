package invoke

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
)

// Element returns a struct whose field 0 is v: the form in which a stream's elements travel. Writing it writes v; reading
// it reads into v.
func Element(v thrift.TStruct) thrift.TStruct { return element{v} }

type element struct{ value thrift.TStruct }

func (e element) Write(ctx context.Context, p thrift.TProtocol) error {
	if err := p.WriteStructBegin(ctx, "element"); err != nil {
		return err
	}
	if err := p.WriteFieldBegin(ctx, "success", thrift.STRUCT, 0); err != nil {
		return err
	}
	if err := e.value.Write(ctx, p); err != nil {
		return err
	}
	if err := p.WriteFieldEnd(ctx); err != nil {
		return err
	}
	if err := p.WriteFieldStop(ctx); err != nil {
		return err
	}
	return p.WriteStructEnd(ctx)
}

func (e element) Read(ctx context.Context, p thrift.TProtocol) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	found := false
	for {
		_, kind, id, err := p.ReadFieldBegin(ctx)
		if err != nil {
			return err
		}
		if kind == thrift.STOP {
			break
		}
		if id == 0 && kind == thrift.STRUCT {
			found, err = true, e.value.Read(ctx, p)
		} else {
			err = p.Skip(ctx, kind)
		}
		if err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
	if !found {
		return thrift.NewTApplicationException(thrift.MISSING_RESULT, "the stream's element has no field 0")
	}
	return p.ReadStructEnd(ctx)
}
