package rpc

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"openr/thrift/gen/fb303core"
	"openr/thrift/invoke"
)

// TestAnswersNobodyTakes has clients ask for much and read nothing: more than all answers together may take. They are the
// ones that pay for it, and whoever reads gets his answer.
func TestAnswersNobodyTakes(t *testing.T) {
	const limit, answer, clients = 40 << 20, 8 << 20, 12
	long := strings.Repeat("x", answer)
	f := serve(t, &handler{getOption: func(context.Context, string) (string, error) { return long, nil }}, func(s *Server) { s.MaxWorking = limit })
	frame := append(bytes.Clone(setup[:100]), rocketRequest(t)...)
	for name, ask := range map[string][]byte{"framed": compactCall("a"), "rocket": frame} {
		t.Run(name, func(t *testing.T) {
			before, _ := f.counters.Get(counterMemory + ".count")
			var conns []net.Conn
			for range clients {
				c := f.raw(t)
				c.(*net.TCPConn).SetReadBuffer(4 << 10)
				c.Write(ask)
				conns = append(conns, c)
			}
			f.waitCount(t, counterMemory, before+clients-limit/answer)
			if n, _ := f.counters.Get(counterWorking); n > limit {
				t.Errorf("%d bytes are held, limit %d", n, limit)
			}
			_, port, _ := net.SplitHostPort(f.addr)
			for _, d := range []Dialect{Framed, THeader, Rocket} {
				conn, err := Dial(t.Context(), "127.0.0.1:"+port, DialOptions{Dialect: d, RequestTimeout: 20 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if got, err := fb303core.NewBaseServiceClient(conn.Client()).GetOption(t.Context(), ""); err != nil || got != long {
					t.Errorf("%v: %d bytes, %v", d, len(got), err)
				}
			}
			for _, c := range conns {
				c.Close()
			}
			eventually(t, func() error {
				if n, _ := f.counters.Get(counterWorking); n != 0 {
					return fmt.Errorf("%d bytes are still held", n)
				}
				return nil
			})
		})
	}
}

// rocketRequest is a frame that calls getOption.
func rocketRequest(t *testing.T) []byte {
	t.Helper()
	args, err := invoke.Marshal(invoke.Compact, nil, &fb303core.BaseServiceGetOptionArgs{Key: "a"})
	if err != nil {
		t.Fatal(err)
	}
	meta := append([]byte{0x15, 4, 0x18, 9}, "getOption\x15\x00\x00"...) // compact, name, single request and response
	body := append(append([]byte{0, 0, 0, 1, 0x11, 0, 0, 0, byte(len(meta))}, meta...), args...)
	return append([]byte{0, 0, byte(len(body))}, body...)
}

// TestFinishedRequestsMakeRoom has clients send long requests and not take the long answers: that keeps no room from other
// requests.
func TestFinishedRequestsMakeRoom(t *testing.T) {
	const answer = 8 << 20
	long := strings.Repeat("x", answer)
	f := serve(t, &handler{getOption: func(context.Context, string) (string, error) { return long, nil }}, nil)
	for range 4 {
		c := f.raw(t)
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		c.Write(compactCall(strings.Repeat("k", 1<<20)))
	}
	f.waitCount(t, counterRequests, 4)
	eventually(t, func() error {
		if n, _ := f.counters.Get(counterReceiving); n != 0 {
			return fmt.Errorf("%d bytes are held for requests", n)
		}
		return nil
	})
}
