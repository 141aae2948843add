// Package compact turns generated Thrift structs into bare compact-protocol bytes and back: the form of Spark packets and
// of the values in KvStore (no message envelope, no transport header).
//
// Owns: nothing. Reads and writes: byte slices.
package compact

import (
	"bytes"
	"context"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"
)

// Marshal returns the compact encoding of s. It panics only if s itself cannot be written, which generated structs with
// all required parts set never do.
func Marshal(s thrift.TStruct) []byte {
	buf := thrift.NewTMemoryBufferLen(256)
	if err := s.Write(context.Background(), thrift.NewTCompactProtocolConf(buf, nil)); err != nil {
		panic(fmt.Sprintf("compact: writing %T to memory: %v", s, err))
	}
	return buf.Bytes()
}

// Unmarshal decodes b into s, which should be new. Unknown fields are skipped; bytes after the struct are ignored, as
// Open/R does. Memory use is bounded by a small multiple of len(b), whatever lengths b claims.
func Unmarshal(b []byte, s thrift.TStruct) error {
	if len(b) == 0 {
		return fmt.Errorf("compact: no bytes for %T", s)
	}
	buf := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(b)}
	conf := &thrift.TConfiguration{MaxMessageSize: int32(len(b)), MaxFrameSize: int32(len(b))}
	if err := s.Read(context.Background(), thrift.NewTCompactProtocolConf(buf, conf)); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}
