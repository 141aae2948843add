package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/lsdb"
	"openr/thrift/gen/network"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/invoke"
	"openr/thrift/rpc"
)

var update = flag.Bool("update", false, "write what is printed to testdata instead of comparing")

// now is the time at which the tests run.
var now = time.Unix(1_800_000_000, 0).UTC()

// fakeAgent is an agent made of stubs: node1, between node2 and node10, with a little of everything. Its methods are in
// the fake_<group>_test.go files; what has none panics, and breeze prints that the agent failed.
type fakeAgent struct {
	openrctrlcpp.OpenrCtrlCpp

	fibPort int32                // of the switch agent
	policy  *openrctrl.RibPolicy // nil: none is set
	streams map[string]invoke.StreamMethod

	mu    sync.Mutex
	asked []string // the requests that change something, as text
}

func (f *fakeAgent) GetMyNodeName(context.Context) (string, error) { return "node1", nil }

// did notes a request that changes something.
func (f *fakeAgent) did(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
}

// done returns what did has noted, and forgets it.
func (f *fakeAgent) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

// serve serves a handler on a port of its own and returns the port.
func serve(t *testing.T, handler openrctrlcpp.OpenrCtrlCpp) string {
	t.Helper()
	return start(t, newServer(handler), "[::1]:0")
}

// start runs a server until the end of the test and returns its port.
func start(t *testing.T, server *rpc.Server, address string) string {
	t.Helper()
	l, err := rpc.Listen(t.Context(), address, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
}

// newServer makes a server of a handler, and of the streams that it has.
func newServer(handler openrctrlcpp.OpenrCtrlCpp) *rpc.Server {
	service := &invoke.Service{Processor: openrctrlcpp.NewOpenrCtrlCppProcessor(handler)}
	if f, ok := handler.(*fakeAgent); ok {
		service.Streams = f.streams
	}
	return &rpc.Server{Service: service}
}

// scripted is a stream method that answers with first, then sends elements, and ends. asked, if not nil, sees the arguments.
func scripted[A any, P interface {
	*A
	thrift.TStruct
}](first thrift.TStruct, asked func(args P), elements ...thrift.TStruct) invoke.StreamMethod {
	return invoke.StreamMethod{
		NewArgs: func() thrift.TStruct { return P(new(A)) },
		Open: func(_ context.Context, args thrift.TStruct) (thrift.TStruct, invoke.Items, error) {
			if asked != nil {
				asked(args.(P))
			}
			return first, &script{elements}, nil
		},
	}
}

// script is a stream of elements that are known beforehand.
type script struct{ left []thrift.TStruct }

func (s *script) Next(context.Context) (thrift.TStruct, error) {
	if len(s.left) == 0 {
		return nil, io.EOF
	}
	next := s.left[0]
	s.left = s.left[1:]
	return next, nil
}

func (s *script) Close() {}

// breeze runs a command line and returns what it prints, to the error output last, and an exit code other than 0.
func breeze(t *testing.T, args ...string) string {
	t.Helper()
	out, _ := typed(t, "", args...)
	return out
}

// typed is breeze with an input; it returns the exit code as well.
func typed(t *testing.T, input string, args ...string) (string, int) {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(input), out: &out, errOut: &errOut, now: func() time.Time { return now }}
	code := a.execute(t.Context(), args)
	out.Write(errOut.Bytes())
	if code != 0 {
		fmt.Fprintf(&out, "exit code %d\n", code)
	}
	return out.String(), code
}

// golden runs command lines and compares what they print with testdata/<name>.golden. Quotes group words: "set-key k 'a b'".
func golden(t *testing.T, name, port string, lines ...string) {
	t.Helper()
	var got strings.Builder
	for _, line := range lines {
		out := breeze(t, append([]string{"--port", port}, words(line)...)...)
		out = strings.ReplaceAll(out, ":"+port, ":PORT")
		fmt.Fprintf(&got, "$ breeze %s\n%s\n", line, out)
	}
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s differs (run with -update, then look at the difference); it is now\n%s", file, got.String())
	}
}

// words splits a command line at spaces outside of '...'.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func ptr[T any](v T) *T { return &v }

// binary makes a Thrift address of text: "fe80::1", "fe80::1%eth0".
func binary(text string) *network.BinaryAddress {
	a := netip.MustParseAddr(text)
	b := &network.BinaryAddress{Addr: a.WithZone("").AsSlice()}
	if a.Zone() != "" {
		b.IfName = ptr(a.Zone())
	}
	return b
}

func ipPrefix(text string) *network.IpPrefix { return lsdb.Prefix(netip.MustParsePrefix(text)) }
