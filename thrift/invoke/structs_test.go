package invoke

import (
	"encoding/binary"
	"strings"
	"testing"

	"openr/thrift/gen/openrctrl"
)

// TestManyEmptyStructs decodes a list of empty structs, which are one byte each, and hundreds in memory.
func TestManyEmptyStructs(t *testing.T) {
	const n = 1 << 20
	heads := map[Encoding][]byte{
		Compact: binary.AppendUvarint([]byte{0x19, 0xfc}, n),
		Binary:  binary.BigEndian.AppendUint32([]byte{15, 0, 1, 12}, n),
	}
	for e, head := range heads {
		err := Unmarshal(e, append(head, make([]byte, n+1)...), openrctrl.NewOpenrCtrlAdvertisePrefixesArgs())
		if err == nil || !strings.Contains(err.Error(), "more structs") {
			t.Errorf("encoding %d: got %v", e, err)
		}
	}
}
