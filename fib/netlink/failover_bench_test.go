package netlink

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	vnl "github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"openr/internal/rtnl"
	"openr/msg"
)

// lookout asks the kernel over and over where packets to some destinations go.
type lookout struct {
	conn *rtnl.Conn
	to   []netip.Addr
}

// index returns the interface by which packets to an address leave; 0 if there is no route.
func (l *lookout) index(b *testing.B, to netip.Addr) (index uint32) {
	l.conn.Seq++
	seq := l.conn.Seq
	m := begin(nil, unix.RTM_GETROUTE, 0, seq, unix.RtMsg{Family: family(to), Dst_len: uint8(to.BitLen())})
	m = rtnl.AppendAddr(m, unix.RTA_DST, to)
	rtnl.End(m, 0)
	must(b, l.conn.Send(m))
	must(b, l.conn.Receive(func(h unix.NlMsghdr, payload []byte) bool {
		if h.Seq == seq && h.Type == unix.RTM_NEWROUTE {
			if r, ok := parseRoute(payload); ok {
				index = r.single.index
			}
		}
		return true
	}))
	return index
}

// moved waits until packets to all destinations leave by an interface, and returns when it has seen that.
func (l *lookout) moved(b *testing.B, index uint32) time.Time {
	for deadline := time.Now().Add(time.Minute); ; {
		ready := true
		for _, to := range l.to {
			if ready = l.index(b, to) == index; !ready {
				break
			}
		}
		switch now := time.Now(); {
		case ready:
			return now
		case now.After(deadline):
			b.Fatal("the routes have not moved")
		}
	}
}

// BenchmarkFailover measures how long after a link goes down the first and the last of many prefixes behind it take the other way:
//
//   - memory: the other way is an alternate that the Programmer brings in when it hears of the link, by which time the kernel has
//     deleted all routes
//   - found: the same, but the Programmer is told by Link before the kernel has noticed anything
//   - standing: the alternate stands in the group
//   - ecmp: the other way stands there as an equal
//   - group: there is nothing in reserve, but all routes have one group; the link stays up and its neighbour is lost
//   - routes: each route has next hops of its own, and a program that hears of the link sends each anew
//
// down is an interface that is set down, carrier one that loses its carrier: this, the kernel acts upon a little later by
// itself (linkwatch), within a second if there was another such event in the last second.
func BenchmarkFailover(b *testing.B) {
	for _, c := range []struct {
		name, link     string
		routes, backup []string
		standing       int
		multipath      bool
		moved          bool // by a message
	}{
		{"memory/down", "eth0", []string{"fe80::1 eth0"}, []string{"fe80::1 eth1"}, 0, false, false},
		{"memory/carrier", "peer0", []string{"fe80::1 eth0"}, []string{"fe80::1 eth1"}, 0, false, false},
		{"found/carrier", "told", []string{"fe80::1 eth0"}, []string{"fe80::1 eth1"}, 0, false, false},
		{"standing/down", "eth0", []string{"fe80::1 eth0"}, []string{"fe80::1 eth1"}, 1, false, false},
		{"standing/carrier", "peer0", []string{"fe80::1 eth0"}, []string{"fe80::1 eth1"}, 1, false, false},
		{"ecmp/down", "eth0", []string{"fe80::1 eth0", "fe80::1 eth1"}, nil, 0, false, false},
		{"group/neighbour", "", []string{"fe80::1 eth0"}, nil, 0, false, true},
		{"routes/down", "eth0", []string{"fe80::1 eth0"}, nil, 0, true, true},
	} {
		for _, count := range []int{1, 1000, 100000} {
			b.Run(fmt.Sprintf("%s/%d", c.name, count), func(b *testing.B) {
				w := enter(b)
				var peer []string // arguments of ip to reach the other end of eth0
				var there *vnl.Handle
				// As an operator is advised to: changes of a group are not told as changes of each route.
				must(b, os.WriteFile("/proc/sys/net/ipv4/nexthop_compat_mode", []byte("0"), 0))
				p, err := New(Options{Table: mainTable, Protocol: testProtocol, Metric: testMetric, MultipathRoutes: c.multipath, Standing: c.standing})
				must(b, err)
				defer func() { must(b, p.Close()) }()
				w.p = p
				l := newLoad(6, count, 1)
				update, other := make([]msg.Route, count), make([]msg.Route, count)
				first, second := route("::/0", c.routes...).NextHops, route("::/0", "fe80::1 eth1").NextHops
				var backup []msg.NextHop
				if c.backup != nil {
					backup = route("::/0", c.backup...).NextHops
				}
				for i, prefix := range l.prefixes {
					update[i] = msg.Route{Prefix: prefix, NextHops: first, Backup: backup}
					other[i] = msg.Route{Prefix: prefix, NextHops: second}
				}
				conn, err := dial()
				must(b, err)
				defer func() { must(b, conn.Close()) }()
				if c.link == "peer0" { // the other end is elsewhere: what the kernel does there is not to be measured
					elsewhere := fmt.Sprintf("failover-%d", os.Getpid())
					ip(b, "netns", "add", elsewhere)
					defer ip(b, "netns", "del", elsewhere)
					ip(b, "link", "set", "peer0", "netns", elsewhere, "up")
					peer = []string{"-n", elsewhere}
					ns, err := netns.GetFromName(elsewhere)
					must(b, err)
					there, err = vnl.NewHandleAt(ns)
					must(b, err)
					defer there.Close()
					must(b, ns.Close())
				}
				look := &lookout{conn: conn}
				for i := range min(count, 50) {
					look.to = append(look.to, l.prefixes[(i+1)*count/min(count, 50)-1].Addr().Next())
				}
				slices.Reverse(look.to) // the last first: it decides
				eth1 := uint32(w.link("eth1").Attrs().Index)
				var took, head []time.Duration
				for b.Loop() {
					if c.link == "told" {
						w.p.Link("eth0", true)
					}
					ip(b, append(slices.Clone(peer), "link", "set", "peer0", "up")...)
					w.mend()
					eventually(b, "routes are in", func() bool {
						failed, err := w.p.Apply(context.Background(), update, nil)
						must(b, err)
						return len(failed) == 0
					})
					if c.link == "peer0" {
						time.Sleep(1500 * time.Millisecond) // an event alone, not one of a row
					}
					runtime.GC()                      // not in between:
					percent := debug.SetGCPercent(-1) // what is measured is the kernel
					var start atomic.Int64
					var done sync.WaitGroup
					var link vnl.Link
					switch c.link {
					case "eth0":
						link = w.link(c.link)
					case "peer0":
						link, err = there.LinkByName(c.link)
						must(b, err)
					}
					ready := make(chan bool)
					done.Go(func() {
						<-ready
						start.Store(time.Now().UnixNano())
						switch c.link {
						case "eth0":
							must(b, linkDown(w, link))
						case "peer0":
							must(b, there.LinkSetDown(link))
						case "told":
							w.p.Link("eth0", false)
						}
						if c.moved {
							if link != nil {
								<-w.p.Invalidated()
							}
							if _, err := w.p.Apply(context.Background(), other, nil); err != nil {
								b.Error(err)
							}
						}
					})
					ready <- true
					first := &lookout{conn: conn, to: look.to[:1]}
					early := first.moved(b, eth1)
					at := look.moved(b, eth1)
					done.Wait()
					debug.SetGCPercent(percent)
					head = append(head, time.Duration(early.UnixNano()-start.Load()))
					took = append(took, time.Duration(at.UnixNano()-start.Load()))
				}
				slices.Sort(took)
				slices.Sort(head)
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(head[len(head)/2].Seconds()*1e3, "ms-one")
				b.ReportMetric(took[len(took)/2].Seconds()*1e3, "ms-median")
				b.ReportMetric(took[len(took)-1].Seconds()*1e3, "ms-worst")
			})
		}
	}
}

// linkDown sets a link down by a socket of the world's namespace, from any thread.
func linkDown(w *world, link vnl.Link) error {
	c := w.p.watch.request
	w.p.watch.mu.Lock()
	defer w.p.watch.mu.Unlock()
	c.Seq++
	m := make([]byte, rtnl.HeaderLen+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_SETLINK)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	binary.NativeEndian.PutUint32(m[8:], c.Seq)
	binary.NativeEndian.PutUint32(m[rtnl.HeaderLen+4:], uint32(link.Attrs().Index))
	binary.NativeEndian.PutUint32(m[rtnl.HeaderLen+12:], unix.IFF_UP) // ifi_change
	rtnl.End(m, 0)
	var err error
	if failed := c.Exchange(m, c.Seq, 1, func(_ int, why rtnl.Error) { err = why }); failed != nil {
		return failed
	}
	return err
}
