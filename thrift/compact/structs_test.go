package compact_test

import (
	"bytes"
	"strings"
	"testing"

	"openr/thrift/compact"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/types"
)

// TestManyEmptyStructs decodes a list of empty structs, which are one byte each, and hundreds in memory.
func TestManyEmptyStructs(t *testing.T) {
	const n = 1 << 20
	data := append([]byte{0x19, 0xfc, 0x80, 0x80, 0x40}, make([]byte, n+1)...) // field 1, a list of n structs
	err := compact.Unmarshal(data, openrctrl.NewOpenrCtrlAdvertisePrefixesArgs())
	if err == nil || !strings.Contains(err.Error(), "more structs") {
		t.Errorf("got %v", err)
	}
	args := openrctrl.NewOpenrCtrlAdvertisePrefixesArgs()
	for range 200 {
		args.Prefixes = append(args.Prefixes, types.NewPrefixEntry())
	}
	if err := compact.Unmarshal(compact.Marshal(args), openrctrl.NewOpenrCtrlAdvertisePrefixesArgs()); err != nil {
		t.Errorf("a few that are almost empty: %v", err)
	}
	if err := compact.Unmarshal(bytes.Clone(data[:4]), openrctrl.NewOpenrCtrlAdvertisePrefixesArgs()); err == nil {
		t.Error("a list without elements was taken")
	}
}
