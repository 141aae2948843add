package zebra

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The third byte of a message tells whether a version follows. In version 0, which has none, the command stands there.
const (
	markerQuagga = 255 // versions 1 to 3
	markerFRR    = 254 // versions 4 and up, so that programs of the two suites cannot be mixed by mistake
)

// maxMessage is the longest message that zebra takes (ZEBRA_MAX_PACKET_SIZ). A longer one is dropped without a word.
const maxMessage = 16384

// header is what every ZAPI message begins with, all in network byte order. By version:
//
//	0     length 16, command 8
//	1, 2  length 16, marker 8, version 8, command 16
//	3, 4  length 16, marker 8, version 8, VRF 16, command 16
//	5, 6  length 16, marker 8, version 8, VRF 32, command 16
type header struct {
	length  int // of the whole message, header included
	version uint8
	vrf     uint32 // 0: the default VRF
	command uint16
}

// zapiVersions says by version who speaks it.
var zapiVersions = [...]string{
	0: "GNU Zebra, Quagga up to 0.98",
	1: "Quagga 0.99.3 to 0.99.20",
	2: "Quagga 0.99.21 to 0.99.23",
	3: "Quagga from 0.99.23",
	4: "FRR 2.0 to 3.0",
	5: "FRR 4.0 to 5.0",
	6: "FRR 6.0 to 10.7",
}

// versionError says that a message has a version that is not known, or not with its marker. Nothing after the version
// has been looked at.
type versionError struct{ marker, version uint8 }

func (e versionError) Error() string {
	s := fmt.Sprintf("ZAPI version %d with marker %d is unknown; known are", e.version, e.marker)
	for v, who := range zapiVersions {
		if m, _ := versionMarker(uint8(v)); m != 0 {
			s += fmt.Sprintf(" %d (marker %d: %s),", v, m, who)
		} else {
			s += fmt.Sprintf(" %d (no marker: %s),", v, who)
		}
	}
	return s[:len(s)-1]
}

// errShort says that the message goes on after the bytes that are there.
var errShort = errors.New("the message is incomplete")

// versionMarker returns the marker and the header's length of a version; no marker for version 0, no length for one that
// is not known.
func versionMarker(version uint8) (marker uint8, length int) {
	switch version {
	case 0:
		return 0, 3
	case 1, 2:
		return markerQuagga, 6
	case 3:
		return markerQuagga, 8
	case 4:
		return markerFRR, 8
	case 5, 6:
		return markerFRR, 10
	}
	return 0, 0
}

// parseHeader reads the header at the start of b and returns its length. errShort means that more bytes are needed, a
// versionError that the version is unknown.
func parseHeader(b []byte) (h header, n int, err error) {
	if len(b) < 3 {
		return h, 0, errShort
	}
	h.length = int(binary.BigEndian.Uint16(b))
	if m := b[2]; m == markerFRR || m == markerQuagga {
		if len(b) < 4 {
			return h, 0, errShort
		}
		h.version = b[3]
		marker, _ := versionMarker(h.version)
		if marker != m {
			return header{}, 0, versionError{m, h.version}
		}
	}
	_, n = versionMarker(h.version)
	switch {
	case len(b) < n:
		return h, 0, errShort
	case h.length < n:
		return h, 0, fmt.Errorf("a message of %d bytes is shorter than its header of %d", h.length, n)
	}
	switch n {
	case 3:
		h.command = uint16(b[2])
	case 6:
		h.command = binary.BigEndian.Uint16(b[4:])
	case 8:
		h.vrf = uint32(binary.BigEndian.Uint16(b[4:]))
		h.command = binary.BigEndian.Uint16(b[6:])
	case 10:
		h.vrf = binary.BigEndian.Uint32(b[4:])
		h.command = binary.BigEndian.Uint16(b[8:])
	}
	return h, n, nil
}

// appendHeader appends a header; finish enters the length when the rest is there.
func appendHeader(b []byte, h header) ([]byte, error) {
	marker, n := versionMarker(h.version)
	switch {
	case n == 0:
		return b, versionError{markerFRR, h.version}
	case n == 3 && (h.command >= markerFRR || h.vrf != 0):
		return b, fmt.Errorf("ZAPI version 0 has no room for command %d in VRF %d", h.command, h.vrf)
	case n == 6 && h.vrf != 0, n == 8 && h.vrf > math.MaxUint16:
		return b, fmt.Errorf("ZAPI version %d has no room for VRF %d", h.version, h.vrf)
	}
	b = append(b, 0, 0)
	if n == 3 {
		return append(b, uint8(h.command)), nil
	}
	b = append(b, marker, h.version)
	switch n {
	case 8:
		b = binary.BigEndian.AppendUint16(b, uint16(h.vrf))
	case 10:
		b = binary.BigEndian.AppendUint32(b, h.vrf)
	}
	return binary.BigEndian.AppendUint16(b, h.command), nil
}

// finish enters the length of the message that begins at start and ends with b.
func finish(b []byte, start int) ([]byte, error) {
	n := len(b) - start
	if n > maxMessage {
		return b[:start], fmt.Errorf("a message of %d bytes is too long; zebra takes %d", n, maxMessage)
	}
	binary.BigEndian.PutUint16(b[start:], uint16(n))
	return b, nil
}
