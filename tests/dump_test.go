package tests

import (
	"fmt"
	"math"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openr/lab"
	"openr/thrift/gen/kvstore"
	"openr/thrift/gen/openrctrl"
	"openr/thrift/rpc"
)

// TestDumpsDelayNoHello fills a store with a million keys and has several clients dump it at the same time, while the node's hellos are timed as they come out of the link. A dump that held one up for as long as a neighbour waits
// would cost an adjacency; the largest gap is printed.
func TestDumpsDelayNoHello(t *testing.T) {
	keys, clients := 1_000_000, 2
	if os.Getenv("OPENR_TEST_RACE") == "1" {
		keys = 100_000 // with the race detector everything takes ten times the memory
	}
	const interval, hold = time.Second, 3 * time.Second
	n := start(t, lab.Options{Topology: "line:2", Config: always(map[string]any{
		"spark_config": map[string]any{"hello_time_s": int(interval / time.Second), "hold_time_s": int(hold / time.Second)},
	})})
	n.must(n.Stop(1, syscall.SIGKILL)) // its own store need not take a million keys too
	hellos := n.listen(1, "to-n0")

	dial := func() (conn *rpc.Conn) {
		n.must(n.Do(0, func() (err error) {
			conn, err = rpc.Dial(t.Context(), "[::1]:2018", rpc.DialOptions{RequestTimeout: 5 * patience, MaxFrame: math.MaxInt32})
			return err
		}))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	writer := openrctrl.NewOpenrCtrlClient(dial().Client())
	const batch = 10_000
	for first := 0; first < keys; first += batch {
		set := kvstore.KeySetParams{KeyVals: kvstore.KeyVals{}}
		for i := range batch {
			set.KeyVals[fmt.Sprintf("load:%08d", first+i)] = &kvstore.Value{Version: 1, OriginatorId: "load", Value: []byte("12345678"), TTL: math.MinInt32}
		}
		n.must(writer.SetKvStoreKeyVals(t.Context(), &set, "0"))
	}
	hellos.during("writing", func() {})

	var dumps sync.WaitGroup
	hellos.during(fmt.Sprintf("%d clients dumping %d keys", clients, keys), func() {
		for range clients {
			reader := openrctrl.NewOpenrCtrlClient(dial().Client())
			dumps.Go(func() {
				p, err := reader.GetKvStoreKeyValsFilteredArea(t.Context(), kvstore.NewKeyDumpParams(), "0")
				if err != nil {
					t.Error(err)
				} else if len(p.KeyVals) < keys {
					t.Errorf("a dump has %d keys of %d", len(p.KeyVals), keys)
				}
			})
		}
		dumps.Wait()
	})
	if hellos.worst >= hold {
		t.Errorf("no hello for %v: a neighbour gives up after %v", hellos.worst, hold)
	}
	if hellos.count == 0 {
		t.Error("no hello was seen")
	}
}

// listener times the packets of neighbour discovery that come in on an interface.
type listener struct {
	t     *testing.T
	count int
	worst time.Duration // the longest time without one, over all calls of during

	mu    sync.Mutex
	times []time.Time
}

// listen starts to listen at node i.
func (n *network) listen(i int, ifName string) *listener {
	n.t.Helper()
	l := &listener{t: n.t}
	var fd int
	n.must(n.Do(i, func() error {
		link, err := n.Netlink(i).LinkByName(ifName)
		if err != nil {
			return err
		}
		const protocol = unix.ETH_P_IPV6>>8 | unix.ETH_P_IPV6&0xff<<8 // in network order
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link.Attrs().Index})
	}))
	file := os.NewFile(uintptr(fd), "packets")
	n.t.Cleanup(func() { file.Close() })
	go func() {
		b := make([]byte, 2048)
		for {
			size, err := file.Read(b)
			if err != nil {
				return
			}
			const udp, header, port = 17, 40, 6666
			if size > header+4 && b[6] == udp && int(b[header+2])<<8|int(b[header+3]) == port {
				l.mu.Lock()
				l.times = append(l.times, time.Now())
				l.mu.Unlock()
			}
		}
	}()
	return l
}

// during runs f and then waits for a packet, and notes the longest time without one between the last before and the first
// after.
func (l *listener) during(what string, f func()) {
	l.t.Helper()
	begin := time.Now()
	f()
	end := time.Now()
	for deadline := end.Add(patience); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		heard := len(l.times) > 0 && l.times[len(l.times)-1].After(end)
		l.mu.Unlock()
		if heard {
			break
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("no hello within %v after %s", patience, what)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	last, gap, n := begin, time.Duration(0), 0
	for _, t := range l.times {
		if t.Before(begin) {
			continue
		}
		gap, last = max(gap, t.Sub(last)), t
		n++
	}
	l.count += n
	l.worst = max(l.worst, gap)
	l.t.Logf("%s: %v, %d hellos, at most %v without one", what, end.Sub(begin).Round(time.Millisecond), n, gap.Round(time.Millisecond))
}
