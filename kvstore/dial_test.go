package kvstore

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/config"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
	wire "openr/thrift/gen/kvstore"
	"openr/thrift/invoke"
)

// proxy stands before a server and lets through what speaks a dialect that the server is to know.
type proxy struct {
	net.Listener
	target   string
	noRocket atomic.Bool
	noHeader atomic.Bool
	mute     atomic.Bool  // what is not let through is not closed either
	rockets  atomic.Int32 // connections that began in Rocket
	headers  atomic.Int32 // connections that began in THeader
	others   atomic.Int32

	mu    sync.Mutex // guards what follows
	conns []net.Conn
}

func newProxy(t *testing.T, target msg.Peer) (*proxy, msg.Peer) {
	t.Helper()
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, target: net.JoinHostPort(target.Addr, strconv.Itoa(target.Port))}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cut()
		wg.Wait()
	})
	target.Port = l.Addr().(*net.TCPAddr).Port
	return p, target
}

// carry passes a connection on, if it begins right.
func (p *proxy) carry(c net.Conn) {
	defer c.Close()
	p.keep(c)
	begin := make([]byte, 6)
	if _, err := io.ReadFull(c, begin); err != nil {
		return
	}
	switch {
	case begin[4] == 0x0f && begin[5] == 0xff:
		if p.headers.Add(1); p.noHeader.Load() {
			return
		}
	case begin[0] == 0 && begin[3] == 0: // a SETUP frame, on stream 0
		if p.rockets.Add(1); p.noRocket.Load() {
			if p.mute.Load() {
				_, _ = io.Copy(io.Discard, c)
			}
			return
		}
	default:
		p.others.Add(1)
		return
	}
	s, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer s.Close()
	p.keep(s)
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = s.Write(begin); _, _ = io.Copy(s, c); s.Close() })
	_, _ = io.Copy(c, s)
	c.Close()
	wg.Wait()
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// dialler runs a store in those areas that reaches its peers with o.
func dialler(t *testing.T, o ThriftOptions, areas ...string) (*KvStore, *queue.Queue[msg.PeerUpdate], *monitor.Counters) {
	t.Helper()
	c := &config.Config{NodeName: "dialler"}
	for _, id := range areas {
		c.Areas = append(c.Areas, config.Area{ID: id})
	}
	peers, counters := queue.New(msg.MergePeers), monitor.NewCounters()
	k, err := New(Options{Config: c, Counters: counters, Peers: peers, Dial: DialThrift(o)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return k, peers, counters
}

// put sets a key and waits until the peer has it.
func reaches(t *testing.T, from, to *KvStore, area, key string, version int64) {
	t.Helper()
	if _, err := from.Set(t.Context(), area, KeySet{KeyVals: one(key, val(version, "o", "x"))}); err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("version %d of %s does not arrive", version, key), func() bool {
		vals, err := to.Get(t.Context(), area, []string{key})
		if err != nil {
			t.Fatal(err)
		}
		return vals[key].Version == version
	})
}

func TestPeerWithoutRocketIsSpokenToInTHeader(t *testing.T) {
	server, _, addr := serve(t, "server", "0")
	p, addr := newProxy(t, addr)
	p.noRocket.Store(true)
	k, peers, _ := dialler(t, ThriftOptions{}, "0")
	peers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "server"}: addr}})
	for i := range int64(20) {
		reaches(t, k, server, "0", "k", i+1)
	}
	if r, h := p.rockets.Load(), p.headers.Load(); r != 1 || h != 1 {
		t.Errorf("%d connections in Rocket, %d in THeader; want one each", r, h)
	}
	_ = k.calls.Do(t.Context(), func() {
		if w := k.core.areas["0"].peers["server"].window; w != 1 {
			t.Errorf("%d floods at a time; THeader takes turns", w)
		}
	})
	// The peer comes back as a newer version.
	p.noRocket.Store(false)
	p.noHeader.Store(true)
	p.cut()
	reaches(t, k, server, "0", "k", 100)
	eventually(t, "Rocket is not tried again", func() bool { return p.rockets.Load() > 1 })
	reaches(t, k, server, "0", "k", 101)
	_ = k.calls.Do(t.Context(), func() {
		if w := k.core.areas["0"].peers["server"].window; w != maxFlying {
			t.Errorf("%d floods at a time on Rocket", w)
		}
	})
	if p.others.Load() > 0 {
		t.Errorf("%d connections in no known dialect", p.others.Load())
	}
}

func TestPeerThatIsMuteInRocket(t *testing.T) {
	server, _, addr := serve(t, "server", "0")
	p, addr := newProxy(t, addr)
	p.noRocket.Store(true)
	p.mute.Store(true)
	k, peers, counters := dialler(t, ThriftOptions{}, "0")
	peers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "server"}: addr}})
	reaches(t, k, server, "0", "k", 1)
	if r, h := p.rockets.Load(), p.headers.Load(); r != 1 || h != 1 {
		t.Errorf("%d connections in Rocket, %d in THeader; want one each", r, h)
	}
	if n, _ := counters.Get("kvstore.thrift.num_full_sync_failure.count"); n != 1 {
		t.Errorf("%d failures", n)
	}
}

func TestLostConnectionIsNoReasonToLeaveRocket(t *testing.T) {
	server, _, addr := serve(t, "server", "0")
	p, addr := newProxy(t, addr)
	k, peers, _ := dialler(t, ThriftOptions{}, "0")
	peers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "server"}: addr}})
	for i := range int64(3) {
		reaches(t, k, server, "0", "k", i+1)
		p.cut()
	}
	reaches(t, k, server, "0", "k", 10)
	if p.headers.Load() > 0 {
		t.Errorf("%d connections in THeader", p.headers.Load())
	}
}

func TestAreasShareOneConnection(t *testing.T) {
	server, _, addr := serve(t, "server", "x", "y", "z")
	p, addr := newProxy(t, addr)
	k, peers, counters := dialler(t, ThriftOptions{}, "x", "y", "z")
	add := map[msg.AreaNode]msg.Peer{}
	for _, area := range []string{"x", "y", "z"} {
		add[msg.AreaNode{Area: area, Node: "server"}] = addr
	}
	peers.Push(msg.PeerUpdate{Initial: true, Add: add})
	all := func(version int64) {
		t.Helper()
		for _, area := range []string{"x", "y", "z"} {
			reaches(t, k, server, area, "k", version)
		}
	}
	all(1)
	if n := p.rockets.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	// An area that goes leaves it to the others.
	peers.Push(msg.PeerUpdate{Del: map[msg.AreaNode]bool{{Area: "y", Node: "server"}: true}})
	reaches(t, k, server, "x", "k", 2)
	reaches(t, k, server, "z", "k", 2)
	p.cut()
	reaches(t, k, server, "x", "k", 3)
	reaches(t, k, server, "z", "k", 3)
	if n := p.rockets.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
	if n, _ := counters.Get("kvstore.thrift.plaintext_client.count"); n == 0 {
		t.Error("connections are not counted")
	}
}

func TestPlaintextIfThePeerDoesNoTLS(t *testing.T) {
	server, _, addr := serve(t, "server", "0")
	k, peers, counters := dialler(t, ThriftOptions{TLS: &tls.Config{InsecureSkipVerify: true}, PlaintextFallback: true}, "0")
	peers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "server"}: addr}})
	reaches(t, k, server, "0", "k", 1)
	for name, want := range map[string]int64{
		"kvstore.thrift.plaintext_client.count":                                               1,
		"kvstore.thrift.semifuture_getKvStoreKeyValsFilteredArea.secure_client.failure.count": 1,
	} {
		if n, _ := counters.Get(name); n != want {
			t.Errorf("%s = %d, want %d", name, n, want)
		}
	}
	strict := DialThrift(ThriftOptions{TLS: &tls.Config{InsecureSkipVerify: true}})
	if c, err := strict(t.Context(), addr); err == nil {
		t.Errorf("plaintext without leave: %+v", c.Link())
	}
}

// A flood is encoded once for all peers, and read alike by those that speak Rocket and THeader.
func TestFloodIsEncodedOnce(t *testing.T) {
	var servers []*KvStore
	k, peers, _ := dialler(t, ThriftOptions{}, "0")
	add := map[msg.AreaNode]msg.Peer{}
	for i := range 4 {
		server, _, addr := serve(t, fmt.Sprint("s", i), "0")
		p, addr := newProxy(t, addr)
		p.noRocket.Store(i%2 == 1)
		add[msg.AreaNode{Area: "0", Node: fmt.Sprint("s", i)}] = addr
		servers = append(servers, server)
	}
	peers.Push(msg.PeerUpdate{Initial: true, Add: add})
	for i := range int64(10) {
		for _, s := range servers {
			reaches(t, k, s, "0", "k", i+1)
		}
	}
	args := &counted{KvStoreServiceSetKvStoreKeyValsArgs: wire.KvStoreServiceSetKvStoreKeyValsArgs{SetParams: KeySetToThrift(KeySet{KeyVals: one("l", val(1, "o", "x")), NodeIDs: []string{"dialler"}}), Area: "0"}}
	f := &Flood{Area: "0"}
	f.once.Do(func() { f.encoded = args.call() })
	for name, peer := range add {
		c, err := DialThrift(ThriftOptions{})(t.Context(), peer)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Flood(t.Context(), f); err != nil && name.Node != "s1" && name.Node != "s3" { // those do not take Rocket
			t.Error(err)
		}
		c.Close()
	}
	if n := args.written.Load(); n != 1 {
		t.Errorf("arguments were written %d times", n)
	}
	for i, s := range servers {
		vals, err := s.Get(t.Context(), "0", []string{"l"})
		if err != nil || len(vals) != (i+1)%2 {
			t.Errorf("s%d has %+v, %v", i, vals, err)
		}
	}
}

// Two stores that are each other's peers become equal, whatever they hold and however large it is.
func TestLargeStoresMeetOverTCP(t *testing.T) {
	x, xPeers, xAddr := serve(t, "x", "0")
	y, yPeers, yAddr := serve(t, "y", "0")
	both := manyValues(3 * manyKeys)
	mine, theirs := map[string]lsdb.Value{}, map[string]lsdb.Value{}
	i := 0
	for key, v := range both {
		if i%3 != 0 {
			mine[key] = v
		}
		if i%3 != 1 {
			theirs[key] = v
		}
		i++
	}
	for k, vals := range map[*KvStore]map[string]lsdb.Value{x: mine, y: theirs} {
		if _, err := k.Set(t.Context(), "0", KeySet{KeyVals: vals}); err != nil {
			t.Fatal(err)
		}
	}
	xPeers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "y"}: yAddr}})
	yPeers.Push(msg.PeerUpdate{Initial: true, Add: map[msg.AreaNode]msg.Peer{{Area: "0", Node: "x"}: xAddr}})
	status := ""
	defer func() { t.Log(status) }()
	for _, k := range []*KvStore{x, y} {
		eventually(t, "stores do not become equal", func() bool {
			s, err := k.Summary(t.Context())
			status = fmt.Sprintf("%d keys of %d, %+v, %v", s[0].Keys, len(both), s[0].Peers, err)
			return err == nil && s[0].Keys == len(both)
		})
	}
}

// counted is the arguments of a flood; it counts how often they are written.
type counted struct {
	wire.KvStoreServiceSetKvStoreKeyValsArgs
	written atomic.Int32
}

func (c *counted) Write(ctx context.Context, p thrift.TProtocol) error {
	c.written.Add(1)
	return c.KvStoreServiceSetKvStoreKeyValsArgs.Write(ctx, p)
}

func (c *counted) call() *invoke.Encoded { return invoke.NewEncoded("setKvStoreKeyVals", c) }
