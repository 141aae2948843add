package platform

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"openr/fib"
	"openr/internal/allocs"
	"openr/thrift/invoke"
)

// FuzzRequests calls every method with arguments that are anything: that is answered, and costs no more memory than so much
// for each byte.
func FuzzRequests(f *testing.F) {
	p := New(Options{Open: func(Client) (fib.Programmer, error) { return nil, errors.New("no table here") }})
	service := p.Service()
	names := slices.Sorted(maps.Keys(service.Processor.ProcessorMap()))
	for i := range names {
		for _, args := range [][]byte{
			{0},
			{0x14, 0xa4, 0x0c, 0x19, 0x1c, 0, 0},
			{0x14, 0xa4, 0x0c, 0x19, 0x1c, 0x1c, 0x1c, 0x18, 4, 10, 0, 0, 0, 0, 0x14, 16, 0, 0x39, 0x0c, 0, 0},
			{0x14, 0xa4, 0x0c, 0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07},
		} {
			f.Add(uint8(i), args)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, args []byte) {
		method := names[int(which)%len(names)]
		allocs.Bound(t, len(args), 256<<10, 4<<10, func() {
			a := service.Invoke(t.Context(), invoke.Request{Method: method, Encoding: invoke.Compact, Args: args}, nil)
			if a.Status == invoke.Internal {
				t.Errorf("%s: %s", method, a.What)
			}
		})
	})
}
