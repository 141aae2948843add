package spark

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/sys/unix"

	"openr/msg"
)

// However much comes in on one interface, nothing is lost of what comes in on another.
func TestFloodCrowdsOutNobodyElse(t *testing.T) {
	const port = 7777
	nsA, nsB := newNamespace(t), newNamespace(t)
	quietA, quietB := link(nsA, nsB, "qa", "qb", "fe80::a/64", "fe80::b/64")
	loudA, loudB := link(nsA, nsB, "la", "lb", "fe80::1a/64", "fe80::1b/64")
	s, err := nsB.open(port, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := errors.Join(s.Join(quietB.Index), s.Join(loudB.Index)); err != nil {
		t.Fatal(err)
	}
	send := func(index, times int, text string) {
		nsA.do(func() error {
			fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			for range times {
				if err := unix.Sendto(fd, []byte(text), 0, &unix.SockaddrInet6{Port: port, Addr: group.As16(), ZoneId: uint32(index)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	const rounds = 50
	buf := make([]byte, maxPacketSize)
	for range rounds {
		send(loudA.Index, 2000, "loud") // more than a buffer holds, and most of it is still there afterwards
		send(quietA.Index, 1, "quiet")
		for n := 1; ; n++ {
			r, err := s.Receive(buf)
			if err != nil {
				t.Fatal(err)
			}
			if string(buf[:r.Size]) == "quiet" {
				if r.Index != quietB.Index {
					t.Errorf("it came on interface %d", r.Index)
				}
				break
			}
			if n == 2000*rounds {
				t.Fatal("it was lost")
			}
		}
	}
}

// What strangers send is bounded for all of them together; neighbours are not among them.
func TestStrangersShareOneLimit(t *testing.T) {
	var r rateLimit
	now := simStart
	good, admitted := netip.MustParseAddr("fe80::600d"), 0
	if ok, _ := r.admit(now, good); !ok || !r.admitStranger(now, good) {
		t.Fatal("the first packet is refused")
	}
	r.trust(good)
	for i := range 3000 {
		src := data16(i)
		if i > 255 {
			src = netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)})
		}
		if ok, _ := r.admit(now, src); ok && r.admitStranger(now, src) {
			admitted++
		}
	}
	if admitted > maxStrangersPackets || admitted < maxStrangersPackets-maxPacketsPerSecond {
		t.Errorf("%d packets of strangers admitted", admitted)
	}
	now = now.Add(900 * time.Millisecond)
	if ok, own := r.admit(now, good); !ok || !own || !r.admitStranger(now, good) {
		t.Error("a neighbour's packet is refused")
	}
	for i := range 3000 { // a second later all windows but the neighbour's may be forgotten
		r.admit(now.Add(time.Second), netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x81, 14: byte(i >> 8), 15: byte(i)}))
	}
	if r.sources[good] == nil {
		t.Error("the neighbour's window is forgotten")
	}
	r.distrust(good)
	if ok := r.admitStranger(now, good); ok {
		t.Error("who is no neighbour any more is still admitted")
	}
}

// Packets that are wrong are counted for their interface, and the log says of each cause where it was, once a minute.
func TestBlame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newChecker()
		log, lines := observer.New(zap.WarnLevel)
		k.core.log = zap.New(log)
		now := simStart
		k.core.OnInterfaces(now, msg.Interfaces{"e0": {Name: "e0", Index: 1, Up: true, Addrs: []netip.Prefix{netip.MustParsePrefix("fe80::1/64")}}})
		for range 3 {
			k.core.OnPacket(now, 1, peerAddr, 64, now, nil)
			k.core.OnPacket(now, 1, peerAddr, 255, now, []byte{0xff})
			k.core.OnPacket(now, 9, peerAddr, 1, now, nil) // where nobody is wanted
			now = now.Add(25 * time.Second)
		}
		now = now.Add(time.Minute)
		k.core.OnPacket(now, 1, peerAddr, 64, now, nil)
		var got []string
		for _, l := range lines.All() {
			m := l.ContextMap()
			got = append(got, fmt.Sprintf("%v %v from %v: %v", m["interface"], m["cause"], m["source"], m["packets"]))
		}
		want := []string{
			"e0 " + cntHopLimit + " from fe80::aaaa: 1", "e0 " + cntUndecodable + " from fe80::aaaa: 1", "e0 " + cntHopLimit + " from fe80::aaaa: 3",
		}
		if !slices.Equal(got, want) {
			t.Errorf("logged\n%q\nwant\n%q", got, want)
		}
	})
}
