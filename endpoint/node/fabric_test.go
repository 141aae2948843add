package node

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"openr/config"
	"openr/endpoint"
	"openr/endpoint/coop"
	"openr/endpoint/linux"
	"openr/lsdb"
	"openr/monitor"
	"openr/msg"
	"openr/queue"
)

const inside = "OPENR_TEST_INSIDE"

// TestMain runs the tests in a network namespace of their own, where the loopback has the tunnel addresses of all nodes.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		c := exec.Command("/proc/self/exe", os.Args[1:]...)
		c.Env = append(os.Environ(), inside+"=1")
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		err := c.Run()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "these tests make a network namespace and must run as root:", err)
			os.Exit(1)
		}
		return
	}
	if err := loopback(); err != nil {
		fmt.Fprintln(os.Stderr, "no tunnel addresses:", err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

const mostNodes = 8

func tunnelAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 200, 0, byte(i)}) }

func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	for i := range mostNodes {
		if err == nil {
			err = netlink.AddrAdd(lo, &netlink.Addr{IPNet: netlink.NewIPNet(tunnelAddress(i).AsSlice())})
		}
	}
	return err
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

const hosts endpoint.BD = 10100

// fabric is nodes with all that there is of them but the kernel, which is played here, and so is the link-state database.
type fabric struct {
	t     testing.TB
	nodes []*fabricNode

	mu     sync.Mutex // guards what follows
	store  map[msg.AreaKey]lsdb.Value
	stores []*queue.Queue[msg.Publication] // those of the nodes that run
}

type fabricNode struct {
	*Node
	f        *fabric
	i        int
	config   *config.Config
	counters *monitor.Counters
	played   *playedKernel
	stop     func()
}

// playedKernel is the kernel of a leaf: it does what it is told, and has seen frames of some hosts.
type playedKernel struct {
	mu     sync.Mutex // guards what follows
	events *queue.Queue[[]endpoint.Event]
	here   map[endpoint.Key]string     // behind which port
	there  map[endpoint.Key]netip.Addr // behind which leaf
}

func (k *playedKernel) Apply(_ context.Context, actions []endpoint.Action) ([]linux.Failure, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range actions {
		switch a.Kind {
		case endpoint.ProgramLocal:
			k.here[a.Key] = a.Port
			delete(k.there, a.Key)
		case endpoint.ProgramRemote:
			k.there[a.Key] = a.TEP
			delete(k.here, a.Key)
		case endpoint.Remove:
			delete(k.here, a.Key)
			delete(k.there, a.Key)
		}
	}
	return nil, nil
}

func (k *playedKernel) Found() (out []endpoint.Action, _ error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, tep := range k.there {
		out = append(out, endpoint.Action{Kind: endpoint.ProgramRemote, Key: key, TEP: tep})
	}
	return out, nil
}

func (k *playedKernel) Close() {}

// open starts a kernel that tells what it has: MAC addresses.
func (k *playedKernel) open(o linux.Options) (kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = o.Events
	for key, port := range k.here {
		k.events.Push([]endpoint.Event{{Kind: endpoint.Learned, Key: key, Port: port}})
	}
	return k, nil
}

func (k *playedKernel) tep(key endpoint.Key) netip.Addr {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.there[key]
}

// newFabric starts nodes, each of "leaf", "oracle" or "leaf, oracle".
func newFabric(t testing.TB, security string, roles ...string) *fabric {
	f := &fabric{t: t, store: map[msg.AreaKey]lsdb.Value{}}
	dir := t.TempDir()
	for i, role := range roles {
		section := fmt.Sprintf(`{"enable": true, "leaf": %t, "oracle": %t, "security": %q, "tunnel_addresses": [%q], "port": %d, "key_file": %q`,
			strings.Contains(role, "leaf"), strings.Contains(role, "oracle"), security, tunnelAddress(i), 2028+2*i, filepath.Join(dir, fmt.Sprint("key", i)))
		if strings.Contains(role, "leaf") {
			section += fmt.Sprintf(`, "bridge_domains": [{"id": %d, "bridge": "br", "vxlan": "vx"}]`, hosts)
		}
		c, _, err := config.Parse("test.conf", fmt.Appendf(nil, `{"node_name": "n%d", "dryrun": true, "areas": [{"area_id": "a"}], "endpoint": %s}}`, i, section))
		if err != nil {
			t.Fatal(err)
		}
		n := &fabricNode{f: f, i: i, config: c, played: &playedKernel{here: map[endpoint.Key]string{}, there: map[endpoint.Key]netip.Addr{}}}
		f.nodes = append(f.nodes, n)
		n.start()
	}
	t.Cleanup(func() {
		for _, n := range f.nodes {
			n.stop()
		}
	})
	return f
}

// start runs a node until stop is called.
func (n *fabricNode) start() {
	ctx, cancel := context.WithCancel(context.Background())
	publications, requests := queue.New(msg.MergePublications), queue.New(msg.MergeKeyRequests)
	n.counters = monitor.NewCounters()
	n.Node = New(Options{Config: n.config, Counters: n.counters, Publications: publications, KeyRequests: requests, Prefixes: queue.New(msg.MergePrefixes)})
	n.openKernel = n.played.open
	var wg sync.WaitGroup
	wg.Go(func() { _ = n.Run(ctx) })
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-requests.C():
				r, _ := requests.Take()
				for key, req := range r {
					n.f.set(key, lsdb.Value{Originator: n.config.NodeName, Data: req.Data})
				}
			}
		}
	})
	n.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		n.f.mu.Lock()
		defer n.f.mu.Unlock()
		n.f.stores = slices.DeleteFunc(n.f.stores, func(q *queue.Queue[msg.Publication]) bool { return q == publications })
	})
	n.f.mu.Lock()
	defer n.f.mu.Unlock()
	p := msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{}, Synced: true}
	for key, v := range n.f.store {
		p.KeyVals[key] = v
	}
	n.f.stores = append(n.f.stores, publications)
	publications.Push(p)
}

// set floods a key.
func (f *fabric) set(key msg.AreaKey, v lsdb.Value) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store[key] = v
	for _, q := range f.stores {
		q.Push(msg.Publication{KeyVals: map[msg.AreaKey]lsdb.Value{key: v}})
	}
}

func (f *fabric) drain(i int, on bool) {
	name := f.nodes[i].config.NodeName
	db := lsdb.AdjacencyDatabase{Node: name, Area: "a", Overloaded: on}
	f.set(msg.AreaKey{Area: "a", Key: lsdb.AdjKey(name)}, lsdb.Value{Originator: name, Data: db.Marshal()})
}

// hears has a leaf see a frame of a host, which is ARP if there is an address.
func (n *fabricNode) hears(k endpoint.Key, ip netip.Addr) {
	n.f.t.Helper()
	eventually(n.f.t, "the leaf runs", func() bool {
		n.played.mu.Lock()
		defer n.played.mu.Unlock()
		return n.played.events != nil
	})
	n.played.events.Push([]endpoint.Event{{Kind: endpoint.Learned, Key: k, Port: "h1", IP: ip}})
}

// known returns an endpoint as a node shows it; zero: it does not.
func (n *fabricNode) known(k endpoint.Key) Status {
	list, err := n.Known(n.f.t.Context(), Name{Key: k})
	if err != nil || len(list) != 1 {
		return Status{}
	}
	return list[0]
}

func (n *fabricNode) tep() netip.Addr { return tunnelAddress(n.i) }

func (f *fabric) sees(i int, k endpoint.Key, at int, what string, more func(Status) bool) {
	f.t.Helper()
	eventually(f.t, fmt.Sprintf("n%d sees %v at n%d, %s", i, k, at, what), func() bool {
		s := f.nodes[i].known(k)
		return s.Node == f.nodes[at].config.NodeName && (more == nil || more(s))
	})
}

func (f *fabric) ready() {
	f.t.Helper()
	for _, n := range f.nodes {
		eventually(f.t, n.config.NodeName+" knows that all oracles are ready", func() bool {
			all, err := n.Oracles(f.t.Context())
			return err == nil && len(all) > 0 && !slices.ContainsFunc(all, func(o Oracle) bool { return !o.Ready })
		})
	}
}

func hostKey(i byte) endpoint.Key {
	return endpoint.Key{BD: hosts, MAC: endpoint.MAC{2, 0, 0, 0, 7, i}}
}

func hostIP(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 168, 100, i}) }

func has(ip netip.Addr) func(Status) bool {
	return func(s Status) bool {
		return slices.ContainsFunc(s.IPs, func(v endpoint.IPView) bool { return v.Addr == ip })
	}
}

// TestLeafAndOracleAtOnce (requirements A2 to A5, A7 to A14, C7, C9, C12 to C15, C19): nodes that are leaf and oracle at once, one
// that is an oracle only and one that is a leaf only. Hosts come, move among them and go, from what the kernel sees of them to what
// other kernels are told; everybody agrees, and each sees who has a session.
func TestLeafAndOracleAtOnce(t *testing.T) {
	f := newFabric(t, "strict", "leaf, oracle", "leaf, oracle", "oracle", "leaf")
	f.ready()
	leaves := []int{0, 1, 3}
	for _, at := range leaves {
		f.nodes[at].hears(hostKey(byte(at)), hostIP(byte(at)))
	}
	for i := range f.nodes {
		for _, at := range leaves {
			f.sees(i, hostKey(byte(at)), at, "with its address", has(hostIP(byte(at))))
		}
	}
	k := hostKey(0)
	for step, at := range []int{1, 3, 0, 3} {
		before := []int{0, 1, 3, 0}[step]
		f.nodes[at].hears(k, hostIP(0))
		for i := range f.nodes {
			f.sees(i, k, at, "after a move", nil)
		}
		f.sees(before, k, at, "as a bounce entry", func(s Status) bool { return s.State == endpoint.Bounce })
		eventually(t, "the kernel of the old leaf sends it on", func() bool { return f.nodes[before].played.tep(k) == f.nodes[at].tep() })
	}
	f.nodes[0].played.events.Push([]endpoint.Event{{Kind: endpoint.Learned, Key: hostKey(9), Port: "h1"}, {Kind: endpoint.PortDown, Port: "h1"}, {Kind: endpoint.PortUp, Port: "h1"}})
	for key, want := range map[endpoint.Key][]endpoint.ChangeKind{
		k:          {endpoint.Attach, endpoint.BounceStart, endpoint.BounceEnd, endpoint.Attach, endpoint.BounceStart},
		hostKey(9): {endpoint.Attach, endpoint.Detach},
	} {
		eventually(t, fmt.Sprintf("the history of %v is shown", key), func() bool {
			all, err := f.nodes[0].Changes()
			if err != nil {
				t.Fatal(err)
			}
			var kinds []endpoint.ChangeKind
			for _, c := range all {
				if c.Key == key && !c.IP.IsValid() {
					kinds = append(kinds, c.Kind)
				}
			}
			return slices.Equal(kinds, want)
		})
	}
	for _, n := range f.nodes {
		eventually(t, n.config.NodeName+" has a session with every other oracle, and shows how many records there are if it is one", func() bool {
			all, err := n.Oracles(t.Context())
			if err != nil || len(all) != 3 {
				return false
			}
			for _, o := range all {
				if !o.Self && (!o.Linked || !o.State.Accepted) || !o.Ready || o.Self && o.Records != len(leaves) {
					return false
				}
			}
			return true
		})
	}

	// One of them starts again, as both.
	f.nodes[0].stop()
	f.nodes[0].start()
	f.ready()
	for i := range f.nodes {
		for _, at := range leaves[1:] {
			f.sees(i, hostKey(byte(at)), at, "after a restart", has(hostIP(byte(at))))
		}
	}
}

// TestRestartedLeafHasItsAddresses: of a leaf that starts again, the hosts whose MAC addresses the kernel still has keep the
// addresses that the directory knows of them, without a word of theirs; those of others are forgotten.
func TestRestartedLeafHasItsAddresses(t *testing.T) {
	f := newFabric(t, "strict", "oracle", "oracle", "leaf", "leaf")
	f.ready()
	l, stays, gone, moved := f.nodes[2], hostKey(1), hostKey(2), hostKey(3)
	for i, k := range []endpoint.Key{stays, gone, moved} {
		l.hears(k, hostIP(byte(i+1)))
		l.hears(k, hostIP(byte(i+101)))
	}
	for i := range f.nodes {
		for j, k := range []endpoint.Key{stays, gone, moved} {
			f.sees(i, k, 2, "with its second address", has(hostIP(byte(j+101))))
		}
	}
	seq := l.known(stays).Seq
	l.stop()
	f.nodes[3].hears(moved, netip.Addr{})
	f.sees(0, moved, 3, "while its leaf is away", nil)
	l.played.mu.Lock()
	delete(l.played.here, gone)
	l.played.mu.Unlock()
	l.start()
	f.ready()
	for i := range f.nodes {
		f.sees(i, stays, 2, "with both addresses after a restart", func(s Status) bool { return has(hostIP(1))(s) && has(hostIP(101))(s) && s.Seq >= seq })
	}
	eventually(t, "what was not found is forgotten", func() bool { return f.nodes[3].known(gone).Node == "" && f.nodes[0].known(gone).Node == "" })
	eventually(t, "who has moved has lost its addresses here", func() bool {
		l.hears(gone, hostIP(3)) // somebody else has one of them now
		s := l.known(gone)
		return has(hostIP(3))(s) && !has(hostIP(3))(l.known(moved))
	})
}

// TestDrainedLeafShows: endpoints behind a drained leaf are shown as drained everywhere until they are heard at another leaf or
// the drain is over; they stay there although the drained leaf still hears them.
func TestDrainedLeafShows(t *testing.T) {
	f := newFabric(t, "strict", "oracle", "leaf", "leaf")
	f.ready()
	drained, other := f.nodes[1], f.nodes[2]
	k, stays := hostKey(1), hostKey(2)
	drained.hears(k, hostIP(1))
	drained.hears(stays, hostIP(2))
	is := func(on bool) func(Status) bool { return func(s Status) bool { return s.Drained == on } }
	for i := range f.nodes {
		f.sees(i, k, 1, "not drained", is(false))
		f.sees(i, stays, 1, "not drained", is(false))
	}
	f.drain(1, true)
	for i := range f.nodes {
		f.sees(i, k, 1, "drained", is(true))
		f.sees(i, stays, 1, "drained", is(true))
		shown := 0
		if err := f.nodes[i].Each(t.Context(), func(s Status) bool {
			if s.Drained {
				shown++
			}
			return true
		}); err != nil || shown != 2 {
			t.Errorf("n%d shows %d drained, %v", i, shown, err)
		}
	}
	other.hears(k, hostIP(1))
	for range 10 {
		f.sees(0, k, 2, "after it was heard there", is(false))
		f.sees(1, k, 2, "after it was heard there", is(false))
		drained.hears(k, netip.Addr{})
		eventually(t, "the claim was refused", func() bool { return drained.known(k).State == endpoint.Bounce })
	}
	f.sees(2, k, 2, "all the time", nil)
	if n := len(drained.mustFaults(t)); n > 0 {
		t.Errorf("%d faults", n)
	}
	f.drain(1, false)
	for i := range f.nodes {
		f.sees(i, stays, 1, "not drained any more", is(false))
	}
	eventually(t, "the leaf that is not drained any more has it again", func() bool {
		drained.hears(k, hostIP(1))
		return f.nodes[0].known(k).Node == "n1" && other.known(k).Node == "n1"
	})
}

func (n *fabricNode) mustFaults(t *testing.T) []endpoint.Fault {
	t.Helper()
	list, err := n.Faults(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestLeave: a node that leaves for good is no member any more, and what it has published is gone soon; it is all back when it
// comes again.
func TestLeave(t *testing.T) {
	f := newFabric(t, "strict", "oracle", "leaf, oracle", "leaf")
	f.ready()
	n, k := f.nodes[1], hostKey(1)
	n.hears(k, hostIP(1))
	for i := range f.nodes {
		f.sees(i, k, 1, "at first", nil)
	}
	for range 2 { // twice is as once
		if err := n.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	f.mu.Lock()
	for _, role := range []coop.Role{coop.RoleLeaf, coop.RoleOracle} {
		if v := f.store[msg.AreaKey{Area: "a", Key: coop.MemberKey(role, "n1")}]; len(v.Data) != 0 {
			t.Errorf("the store has it as %v: %s", role, v.Data)
		}
	}
	f.mu.Unlock()
	for _, i := range []int{0, 2} {
		eventually(t, fmt.Sprintf("n%d has nothing of it", i), func() bool {
			all, err := f.nodes[i].Oracles(t.Context())
			return f.nodes[i].known(k).Node == "" && err == nil && len(all) == 1
		})
	}
	n.stop()
	n.start()
	f.ready()
	for i := range f.nodes {
		f.sees(i, k, 1, "when it has come again", has(hostIP(1)))
	}
}

// TestLeaveWaits: whoever has a node leave waits no longer than they want for a store that does not answer, and the node says
// nothing of itself afterwards.
func TestLeaveWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := queue.New(msg.MergeKeyRequests)
		n := New(Options{Config: parsed(t, `{}`), Publications: queue.New(msg.MergePublications), KeyRequests: requests})
		n.roster.area, n.area = "0", "0"
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- n.Run(ctx) }()
		m := leafMember("leaf1")
		n.tell(m)
		n.Publications.Push(publication(t, "", m))
		synctest.Wait()
		requests.Take()
		bounded, done := context.WithTimeout(ctx, time.Minute)
		defer done()
		if err := n.Leave(bounded); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the store does not answer: %v", err)
		}
		r, _ := requests.Take()
		if req := r[msg.AreaKey{Area: "0", Key: coop.MemberKey(coop.RoleLeaf, "leaf1")}]; req.Op != msg.KeyClear || req.Data == nil {
			t.Errorf("the store is told %+v", r)
		}
		n.tell(m)
		synctest.Wait()
		if r, ok := requests.Take(); ok {
			t.Errorf("afterwards the store is told %+v", r)
		}
		cancel()
		<-ended
		if err := n.Leave(t.Context()); !errors.Is(err, queue.ErrStopped) {
			t.Errorf("after the end: %v", err)
		}
	})
}

// TestCompatible: with "security" compatible, members that speak in the clear take part beside those that encrypt, and who is no
// member does not; with strict, they do not either.
func TestCompatible(t *testing.T) {
	for _, security := range []string{"compatible", "strict"} {
		t.Run(security, func(t *testing.T) {
			f := newFabric(t, security, "leaf, oracle", "oracle", "leaf")
			f.ready()
			keyed := hostKey(1)
			f.nodes[2].hears(keyed, hostIP(1))
			for i := range f.nodes {
				f.sees(i, keyed, 2, "from a leaf that encrypts", nil)
			}

			// A leaf of another make, which has no key, and one of which nobody has heard.
			plain := func(name string, i int, member bool) *coop.Client {
				teps := []netip.Addr{tunnelAddress(i)}
				c, err := coop.NewClient(coop.ClientOptions{Citizen: coop.CitizenOptions{Node: name, Area: "a", Epoch: 1, TEPs: teps}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan struct{})
				go func() {
					defer close(done)
					_ = c.Run(ctx)
				}()
				t.Cleanup(func() {
					cancel()
					<-done
				})
				if member {
					m := coop.Member{Node: name, Role: coop.RoleLeaf, TEPs: teps, Epoch: 1, Domains: []endpoint.BD{hosts}}
					data, err := m.Value()
					if err != nil {
						t.Fatal(err)
					}
					f.set(msg.AreaKey{Area: "a", Key: coop.MemberKey(coop.RoleLeaf, name)}, lsdb.Value{Originator: name, Data: data})
				}
				for _, i := range []int{0, 1} {
					m := coop.Member{Node: f.nodes[i].config.NodeName, Role: coop.RoleOracle, TEPs: []netip.Addr{tunnelAddress(i)},
						Session: netip.AddrPortFrom(tunnelAddress(i), uint16(2028+2*i)).String(), Feed: netip.AddrPortFrom(tunnelAddress(i), uint16(2029+2*i)).String()}
					if err := c.SetOracle(t.Context(), m); err != nil {
						t.Fatal(err)
					}
				}
				if err := errors.Join(c.SetInterest(t.Context(), []endpoint.BD{hosts}), c.Complete(t.Context())); err != nil {
					t.Fatal(err)
				}
				return c
			}
			publish := func(c *coop.Client, name string, i int, k endpoint.Key) {
				c.Publish(&endpoint.Record{Key: k, TEP: tunnelAddress(i), Port: "p", Seq: 1, TS: time.Now().UnixNano(), Publisher: name}, endpoint.CauseLearn)
			}
			clear, stranger := hostKey(3), hostKey(4)
			publish(plain("stranger", 4, false), "stranger", 4, stranger)
			publish(plain("clear", 3, true), "clear", 3, clear)
			if security == "compatible" {
				for i := range f.nodes {
					eventually(t, fmt.Sprintf("n%d hears of the leaf in the clear", i), func() bool { return f.nodes[i].known(clear).Node == "clear" })
				}
			} else {
				for i := range 2 {
					eventually(t, "the leaf in the clear was turned away", func() bool {
						return f.nodes[i].refusals() > 2
					})
					if s := f.nodes[i].known(clear); s.Node != "" {
						t.Errorf("n%d has heard of it: %+v", i, s)
					}
				}
			}
			// Something that is taken later shows that the stranger had its time.
			f.nodes[2].hears(hostKey(5), hostIP(5))
			for i := range f.nodes {
				f.sees(i, hostKey(5), 2, "later", nil)
				if s := f.nodes[i].known(stranger); s.Node != "" {
					t.Errorf("n%d has heard of who is no member: %+v", i, s)
				}
			}
		})
	}
}

// refusals returns how many connections have failed at the handshake or later.
func (n *fabricNode) refusals() (sum int64) {
	for name, v := range n.counters.Snapshot() {
		if strings.HasPrefix(name, "zmtp.error.") && strings.HasSuffix(name, ".count") {
			sum += v
		}
	}
	return sum
}
