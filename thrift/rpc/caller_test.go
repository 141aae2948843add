package rpc

import (
	"context"
	"net"
	"testing"

	"openr/thrift/gen/fb303core"
)

// TestCaller: a handler is told where the request came from, whatever the dialect; nobody is told outside of one.
func TestCaller(t *testing.T) {
	f := serve(t, &handler{getOption: func(ctx context.Context, _ string) (string, error) { return Caller(ctx), nil }}, nil)
	_, port, err := net.SplitHostPort(f.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []Dialect{Framed, THeader, Rocket} {
		conn, err := Dial(t.Context(), net.JoinHostPort("127.0.0.1", port), DialOptions{Dialect: d})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		got, err := fb303core.NewBaseServiceClient(conn.Client()).GetOption(t.Context(), "")
		if ip := net.ParseIP(got); err != nil || !ip.Equal(net.IPv4(127, 0, 0, 1)) {
			t.Errorf("%v: the caller is %q, %v", d, got, err)
		}
	}
	if got := Caller(t.Context()); got != "" {
		t.Errorf("without a request the caller is %q", got)
	}
}
