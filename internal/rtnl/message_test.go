package rtnl

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"openr/internal/allocs"
)

// TestParseErrors: an error answer names the reason, with or without the message that it is about.
func TestParseErrors(t *testing.T) {
	message := Begin(nil, unix.RTM_NEWNEIGH, 0, 1)
	message = End(append(message, make([]byte, 5)...), 0)
	text := AppendAttr(nil, unix.NLMSGERR_ATTR_MSG, []byte("no such port.\x00"))
	errno := unix.ENODEV
	code := binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno)))
	for _, c := range []struct {
		flags   uint16
		payload []byte
		want    string
	}{
		{0, slices.Concat(code, message), "no such device (ENODEV)"},
		{unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED, slices.Concat(code, message[:HeaderLen], text), "no such device (ENODEV): no such port"},
		{unix.NLM_F_ACK_TLVS, slices.Concat(code, message, make([]byte, 3), text), "no such device (ENODEV): no such port"},
		{unix.NLM_F_ACK_TLVS, code, "no such device (ENODEV)"},
	} {
		if got := ParseError(unix.NlMsghdr{Type: unix.NLMSG_ERROR, Flags: c.flags}, c.payload); got.Error() != c.want || !errors.Is(got, unix.ENODEV) {
			t.Errorf("%q, want %q", got.Error(), c.want)
		}
	}
	if got := ParseError(unix.NlMsghdr{Type: unix.NLMSG_ERROR}, make([]byte, 4)); got.Errno != 0 {
		t.Errorf("success is %v", got)
	}
}

// TestRoundTrip: messages with attributes are read as they were written, several in a row, and padding is skipped.
func TestRoundTrip(t *testing.T) {
	var b []byte
	for seq := range uint32(3) {
		start := len(b)
		b = Begin(b, unix.RTM_NEWLINK, unix.NLM_F_CREATE, seq)
		b = AppendAttr(b, 1, []byte{1, 2, 3, 4, 5})
		b = AppendUint32(b, 2, 0xdeadbeef)
		b = AppendAddr(b, 3, netip.MustParseAddr("192.0.2.1"))
		b = AppendNest(b, 4, func(b []byte) []byte { return AppendAddr(b, 5, netip.MustParseAddr("2001:db8::1")) })
		End(b, start)
	}
	RequestAck(b)
	messages := 0
	EachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
		flags := uint16(unix.NLM_F_CREATE | unix.NLM_F_REQUEST)
		if messages == 0 {
			flags |= unix.NLM_F_ACK
		}
		if h.Type != unix.RTM_NEWLINK || h.Flags != flags || h.Seq != uint32(messages) {
			t.Errorf("header %+v", h)
		}
		messages++
		attrs := 0
		EachAttr(payload, func(typ uint16, v []byte) {
			attrs++
			switch typ {
			case 1:
				if !slices.Equal(v, []byte{1, 2, 3, 4, 5}) {
					t.Errorf("bytes %x", v)
				}
			case 2:
				if Uint32(v) != 0xdeadbeef || Uint32(v[:3]) != 0 {
					t.Errorf("number %x", v)
				}
			case 3:
				if a, _ := netip.AddrFromSlice(v); a != netip.MustParseAddr("192.0.2.1") {
					t.Errorf("address %v", a)
				}
			case 4:
				EachAttr(v, func(typ uint16, v []byte) {
					if a, _ := netip.AddrFromSlice(v); typ != 5 || a != netip.MustParseAddr("2001:db8::1") {
						t.Errorf("nested address %v", a)
					}
				})
			}
		})
		if attrs != 4 {
			t.Errorf("%d attributes", attrs)
		}
		return true
	})
	if messages != 3 {
		t.Errorf("%d messages", messages)
	}
}

// TestConn: the kernel's answers reach who has asked, one by one and in a batch, and so do its reasons to refuse.
func TestConn(t *testing.T) {
	c, err := Dial(unix.NETLINK_ROUTE, 1<<20, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	link := func(b []byte, seq, index uint32, flags uint16) []byte {
		start := len(b)
		b = append(Begin(b, unix.RTM_GETLINK, flags, seq), make([]byte, unix.SizeofIfInfomsg)...)
		binary.NativeEndian.PutUint32(b[start+HeaderLen+4:], index)
		return End(b, start)
	}
	links := 0
	err = c.Dump(func(seq uint32) []byte { return link(nil, seq, 0, unix.NLM_F_DUMP) }, func() { links = 0 }, func(h unix.NlMsghdr, _ []byte) {
		if h.Type == unix.RTM_NEWLINK && h.Pid == c.Port {
			links++
		}
	})
	if err != nil || links == 0 {
		t.Errorf("a dump shows %d interfaces, %v", links, err)
	}
	const missing = 1 << 30
	var got []unix.Errno
	batch := link(link(nil, c.Seq+1, 1, 0), c.Seq+2, missing, 0)
	first := c.Seq + 1
	c.Seq += 2
	if err := c.Ask(batch, first, 2, func(i int, _ uint16, _ []byte, why Error) { got = append(got, why.Errno) }); err != nil || !slices.Equal(got, []unix.Errno{0, unix.ENODEV}) {
		t.Errorf("a batch of questions: %v, %v", got, err)
	}
	if err := c.One(func(seq uint32) []byte { return link(nil, seq, 1, 0) }, func(typ uint16, _ []byte, why Error) {
		if typ != unix.RTM_NEWLINK || why.Errno != 0 {
			t.Errorf("one question: type %d, %v", typ, why)
		}
	}); err != nil {
		t.Error(err)
	}
	if err := c.Do(func(seq uint32) []byte { return link(nil, seq, missing, 0) }); !errors.Is(err, unix.ENODEV) {
		t.Errorf("a request that cannot be: %v", err)
	}
	if err := (*Conn)(nil).Close(); err != nil {
		t.Error(err)
	}
}

// TestAnswersLost: after answers did not fit into the socket's buffer the next request is answered.
func TestAnswersLost(t *testing.T) {
	c, err := Dial(unix.NETLINK_ROUTE, 1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := unix.SetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil { // the least that there is
		t.Fatal(err)
	}
	link := func(b []byte, seq uint32) []byte {
		start := len(b)
		b = append(Begin(b, unix.RTM_GETLINK, 0, seq), make([]byte, unix.SizeofIfInfomsg)...)
		binary.NativeEndian.PutUint32(b[start+HeaderLen+4:], 1<<30)
		return End(b, start)
	}
	for range 3 {
		var batch []byte
		first := c.Seq + 1
		for range 200 {
			c.Seq++
			batch = link(batch, c.Seq)
		}
		if err := c.Ask(batch, first, 200, func(int, uint16, []byte, Error) {}); !errors.Is(err, ErrLost) {
			t.Fatalf("200 answers at once: %v", err)
		}
		if err := c.Do(func(seq uint32) []byte { return link(nil, seq) }); !errors.Is(err, unix.ENODEV) {
			t.Fatalf("then: %v", err)
		}
	}
}

// FuzzMessages reads anything as what the kernel sends.
func FuzzMessages(f *testing.F) {
	f.Add(End(AppendUint32(Begin(nil, unix.NLMSG_ERROR, 0, 1), 1, 2), 0))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		allocs.Bound(t, len(b), 0, 64, func() {
			EachMessage(b, func(h unix.NlMsghdr, payload []byte) bool {
				ParseError(h, payload)
				EachAttr(payload, func(uint16, []byte) {})
				return true
			})
			for _, typ := range []uint16{unix.NLMSG_ERROR, unix.NLMSG_DONE} {
				for _, flags := range []uint16{0, unix.NLM_F_ACK_TLVS, unix.NLM_F_ACK_TLVS | unix.NLM_F_CAPPED} {
					ParseError(unix.NlMsghdr{Type: typ, Flags: flags}, b)
				}
			}
		})
	})
}
