package compact

import (
	"context"
	"io"

	"github.com/apache/thrift/lib/go/thrift"
)

// memory shows the byte slices of a Protocol as the transport that Apache's runtime wants under a protocol.
type memory struct{ p *Protocol }

var (
	_ thrift.TTransport     = memory{}
	_ thrift.TRichTransport = memory{}
)

func (m memory) Read(b []byte) (int, error) {
	n := copy(b, m.p.Unread())
	m.p.pos += n
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (m memory) ReadByte() (byte, error) { return m.p.byte() }

func (m memory) Write(b []byte) (int, error) {
	m.p.reserve(len(b))
	m.p.out = append(m.p.out, b...)
	return len(b), nil
}

func (m memory) WriteByte(b byte) error {
	m.p.reserve(1)
	m.p.out = append(m.p.out, b)
	return nil
}

func (m memory) WriteString(s string) (int, error) {
	m.p.reserve(len(s))
	m.p.out = append(m.p.out, s...)
	return len(s), nil
}

func (m memory) RemainingBytes() uint64      { return uint64(len(m.p.in) - m.p.pos) }
func (m memory) Flush(context.Context) error { return nil }
func (m memory) Open() error                 { return nil }
func (m memory) IsOpen() bool                { return true }
func (m memory) Close() error                { return nil }
