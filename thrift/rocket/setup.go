package rocket

import (
	"encoding/binary"
	"fmt"
)

// The protocol versions of both our sides, and those of C++ Open/R of today.
const (
	minVersion = 8
	maxVersion = 10
)

const (
	mimeCompact = "application/x-rocket-metadata+compact"
	mimeBinary  = "application/x-rocket-metadata+binary"
	mimePayload = "application/x-rocket-payload"

	protocolKey       = 0xf09f9a80
	protocolKeyLegacy = 1

	// keepaliveNever is what fbthrift's clients announce as keepalive and lifetime, in milliseconds: they send none.
	keepaliveNever = 0x7fffffff
)

// setupError is why a SETUP frame is refused; the client is told in these words.
type setupError struct {
	code errorCode
	text string
}

func (e *setupError) Error() string { return fmt.Sprintf("SETUP refused (%v): %s", e.code, e.text) }

func invalidSetup(format string, args ...any) *setupError {
	return &setupError{codeInvalidSetup, fmt.Sprintf(format, args...)}
}

// session is what a SETUP frame settles.
type session struct {
	version  int32
	binary   bool // metadata of requests and responses is in the binary protocol
	agent    string
	hostname string
}

// parseSetup reads a SETUP frame and decides about it.
func parseSetup(f frame) (session, *setupError) {
	var s session
	b := f.data
	if f.stream != 0 || len(b) < 12 {
		return s, invalidSetup("Malformed SETUP frame")
	}
	if major, minor := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]); major != 1 || minor != 0 {
		return s, &setupError{codeUnsupportedSetup, fmt.Sprintf("RSocket version %d.%d is not supported", major, minor)}
	}
	r := fieldReader{b: b[12:]}
	if f.flags&flagResume != 0 {
		r.take(int(r.fixed(2)))
	}
	metadataMime := string(r.take(int(r.byte())))
	dataMime := string(r.take(int(r.byte())))
	if r.bad {
		return s, invalidSetup("Malformed SETUP frame")
	}
	meta, _, err := parsePayload(r.b, f.flags)
	if err != nil || len(meta) == 0 {
		return s, invalidSetup("Missing required metadata in SETUP frame")
	}
	s.binary = metadataMime == mimeBinary && dataMime == mimePayload
	rocketMime := s.binary || metadataMime == mimeCompact && dataMime == mimePayload
	key := uint32(0)
	if len(meta) >= 4 {
		key = binary.BigEndian.Uint32(meta)
	}
	switch {
	case key == protocolKey || key == protocolKeyLegacy:
		meta = meta[4:]
	case !rocketMime:
		return s, invalidSetup("Incompatible Thrift version")
	}
	low, high, ok := s.read(meta)
	switch {
	case !ok:
		return s, invalidSetup("Error deserializing SETUP payload: underflow")
	case low > maxVersion || high < minVersion:
		return s, invalidSetup("Incompatible Rocket version")
	}
	s.version = min(high, maxVersion)
	if s.version >= 9 && !rocketMime {
		return s, invalidSetup("Unsupported MIME types")
	}
	return s, nil
}

// read takes what is used from RequestSetupMetadata, and returns the client's range of versions.
func (s *session) read(b []byte) (low, high int32, ok bool) {
	r := fieldReader{b: b, binary: s.binary}
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return low, high, !r.bad && len(r.b) == 0
		case id == 3 && k == kindI32:
			low = r.i32()
		case id == 4 && k == kindI32:
			high = r.i32()
		case id == 9 && k == kindStruct:
			s.readClient(&r)
		default:
			r.skip(k)
		}
	}
}

func (s *session) readClient(r *fieldReader) {
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return
		case id == 1 && k == kindString:
			s.agent = r.string()
		case id == 2 && k == kindString:
			s.hostname = r.string()
		default:
			r.skip(k)
		}
	}
}

// appendSetup writes the SETUP frame of a client, the same as fbthrift's C++ clients write.
func appendSetup(dst []byte, agent, hostname string) []byte {
	w := fieldWriter{b: binary.BigEndian.AppendUint32(nil, protocolKey)}
	w.i32(3, minVersion)
	w.i32(4, maxVersion)
	if agent != "" || hostname != "" {
		client := w.begin(9)
		if agent != "" {
			w.string(1, agent)
		}
		if hostname != "" {
			w.string(2, hostname)
		}
		w.end(client)
	}
	w.end(0)

	b := []byte{0, 1, 0, 0}
	b = binary.BigEndian.AppendUint32(b, keepaliveNever)
	b = binary.BigEndian.AppendUint32(b, keepaliveNever)
	for _, mime := range []string{mimeCompact, mimePayload} {
		b = append(append(b, byte(len(mime))), mime...)
	}
	b = append(b, byte(len(w.b)>>16), byte(len(w.b)>>8), byte(len(w.b)))
	return appendFrame(dst, &frame{kind: typeSetup, flags: flagMetadata, data: append(b, w.b...)})
}
