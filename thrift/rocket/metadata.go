package rocket

import (
	"fmt"

	"openr/thrift/compress"
	"openr/thrift/invoke"
)

// rpcKind is the kind of a call; the numbers are fbthrift's RpcKind.
type rpcKind int32

const (
	kindSingle   rpcKind = 0
	kindNoAnswer rpcKind = 1
	kindStream   rpcKind = 4
	kindSink     rpcKind = 6
	kindBidi     rpcKind = 7
)

// rpcErrorCode is fbthrift's ResponseRpcErrorCode.
type rpcErrorCode int32

const (
	rpcUnknown          rpcErrorCode = 0
	rpcOverload         rpcErrorCode = 1
	rpcTaskExpired      rpcErrorCode = 2
	rpcShutdown         rpcErrorCode = 4
	rpcParsingFailure   rpcErrorCode = 6
	rpcQueueTimeout     rpcErrorCode = 7
	rpcResponseTooBig   rpcErrorCode = 8
	rpcWrongKind        rpcErrorCode = 9
	rpcUnknownMethod    rpcErrorCode = 10
	rpcUnimplemented    rpcErrorCode = 16
	categoryInternal                 = 0
	categoryInvalid                  = 1
	categoryLoad                     = 2
	categoryShutdown                 = 3
	streamUnknown                    = 0 // StreamRpcErrorCode
	streamCreditTime                 = 1
	streamServerClosing              = 3
)

// rpcErrors says by what name, in which category and in which ERROR frame an error travels.
var rpcErrors = map[rpcErrorCode]struct {
	name     string
	category int32
	frame    errorCode
}{
	rpcUnknown:        {"UNKNOWN", categoryInternal, codeCanceled},
	rpcOverload:       {"OVERLOAD", categoryLoad, codeRejected},
	rpcTaskExpired:    {"TASK_EXPIRED", categoryInternal, codeCanceled},
	rpcShutdown:       {"SHUTDOWN", categoryShutdown, codeRejected},
	rpcParsingFailure: {"REQUEST_PARSING_FAILURE", categoryInvalid, codeInvalid},
	rpcQueueTimeout:   {"QUEUE_TIMEOUT", categoryLoad, codeRejected},
	rpcResponseTooBig: {"RESPONSE_TOO_BIG", categoryInternal, codeCanceled},
	rpcWrongKind:      {"WRONG_RPC_KIND", categoryInvalid, codeInvalid},
	rpcUnknownMethod:  {"UNKNOWN_METHOD", categoryInvalid, codeInvalid},
}

// requestMetadata is what this package uses of RequestRpcMetadata.
type requestMetadata struct {
	hasProtocol, hasName, hasKind bool

	protocol      invoke.Encoding
	name          []byte // a slice of the frame
	kind          rpcKind
	clientTimeout int32 // milliseconds; 0: none
	queueTimeout  int32 // milliseconds; 0: none
	compression   compress.Algorithm

	answer      compress.Algorithm // how the client would like the answer
	answerLimit int64              // answers of at most so many bytes are not to be compressed
}

func (m *requestMetadata) complete() bool {
	return m.hasProtocol && m.hasName && m.hasKind && (m.protocol == invoke.Compact || m.protocol == invoke.Binary)
}

func readRequestMetadata(b []byte, binary bool) (m requestMetadata, err error) {
	r := fieldReader{b: b, binary: binary}
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			if r.bad {
				return m, fmt.Errorf("%w: RequestRpcMetadata", errMetadata)
			}
			return m, nil
		case id == 1 && k == kindI32:
			m.protocol, m.hasProtocol = invoke.Encoding(r.i32()), true
		case id == 2 && k == kindString:
			m.name, m.hasName = r.bytes(), true
		case id == 3 && k == kindI32:
			m.kind, m.hasKind = rpcKind(r.i32()), true
		case id == 5 && k == kindI32:
			m.clientTimeout = r.i32()
		case id == 6 && k == kindI32:
			m.queueTimeout = r.i32()
		case id == 14 && k == kindI32:
			m.compression = compress.Algorithm(r.i32())
		case id == 15 && k == kindStruct:
			m.answer, m.answerLimit = readCompressionConfig(&r)
		default:
			r.skip(k)
		}
	}
}

func readCompressionConfig(r *fieldReader) (a compress.Algorithm, limit int64) {
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return a, limit
		case id == 1 && k == kindStruct:
			a = readCodecConfig(r)
		case id == 2 && k == kindI64:
			limit = r.i64()
		default:
			r.skip(k)
		}
	}
}

// codecs are the arms of CodecConfig with their algorithms by level preset (default, less, more).
var codecs = map[int16][3]compress.Algorithm{
	1: {compress.Zlib, compress.ZlibLess, compress.ZlibMore},
	2: {compress.Zstd, compress.ZstdLess, compress.ZstdMore},
	4: {compress.LZ4, compress.LZ4Less, compress.LZ4More},
}

func readCodecConfig(r *fieldReader) (a compress.Algorithm) {
	var last int16
	for {
		id, k := r.field(&last)
		levels, known := codecs[id]
		switch {
		case k == kindStop:
			return a
		case known && k == kindStruct:
			a = levels[readLevel(r)]
		default:
			r.skip(k)
		}
	}
}

func readLevel(r *fieldReader) (level int32) {
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return level
		case id == 1 && k == kindI32:
			if level = r.i32(); level < 0 || level > 2 {
				level = 0
			}
		default:
			r.skip(k)
		}
	}
}

// arm returns the arm of CodecConfig that asks for a.
func arm(a compress.Algorithm) (id int16, level int32) {
	for id, levels := range codecs {
		for level, b := range levels {
			if a == b {
				return id, int32(level)
			}
		}
	}
	return 0, 0
}

// appendRequestMetadata writes compact, the only form in which this package's client speaks.
func appendRequestMetadata(dst []byte, m *requestMetadata, method string) []byte {
	w := fieldWriter{b: dst}
	w.i32(1, int32(m.protocol))
	w.string(2, method)
	w.i32(3, int32(m.kind))
	if m.clientTimeout > 0 {
		w.i32(5, m.clientTimeout)
	}
	if m.compression != compress.None {
		w.i32(14, int32(m.compression))
	}
	if id, level := arm(m.answer); m.answer != compress.None && id != 0 {
		config := w.begin(15)
		codec := w.begin(1)
		options := w.begin(id)
		if level != 0 {
			w.i32(1, level)
		}
		w.end(options)
		w.end(codec)
		if m.answerLimit > 0 {
			w.i64(2, m.answerLimit)
		}
		w.end(config)
	}
	w.end(0)
	return w.b
}

// exceptionKind is the arm of PayloadExceptionMetadata; 0 is none.
type exceptionKind int16

const (
	exceptionDeclared exceptionKind = 1
	exceptionProxy    exceptionKind = 2
	exceptionUnknown  exceptionKind = 6
	exceptionAny      exceptionKind = 7
)

// payloadMetadata is what this package uses of ResponseRpcMetadata and StreamPayloadMetadata, which differ in their ids.
type payloadMetadata struct {
	compression compress.Algorithm
	stream      uint32 // ResponseRpcMetadata of a stream's first response only

	isException bool
	exception   exceptionKind
	name, what  string // of an exception
}

// payloadIDs are the field ids of one of the two forms.
type payloadIDs struct {
	compression, payload, stream int16
	what                         string
}

var (
	responseIDs = payloadIDs{6, 7, 9, "ResponseRpcMetadata"}
	elementIDs  = payloadIDs{1, 3, 0, "StreamPayloadMetadata"}
)

func readPayloadMetadata(b []byte, binary bool, ids payloadIDs) (m payloadMetadata, err error) {
	if len(b) == 0 {
		return m, nil
	}
	r := fieldReader{b: b, binary: binary}
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			if r.bad {
				return m, fmt.Errorf("%w: %s", errMetadata, ids.what)
			}
			return m, nil
		case id == ids.compression && k == kindI32:
			m.compression = compress.Algorithm(r.i32())
		case id == ids.payload && k == kindStruct:
			readPayloadUnion(&r, &m)
		case id == ids.stream && k == kindI32 && ids.stream != 0:
			m.stream = uint32(r.i32())
		default:
			r.skip(k)
		}
	}
}

func readPayloadUnion(r *fieldReader, m *payloadMetadata) {
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return
		case id == 2 && k == kindStruct:
			m.isException = true
			readException(r, m)
		default:
			r.skip(k)
		}
	}
}

func readException(r *fieldReader, m *payloadMetadata) {
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return
		case id == 1 && k == kindString:
			m.name = r.string()
		case id == 2 && k == kindString:
			m.what = r.string()
		case id == 3 && k == kindStruct:
			var arm int16
			for {
				id, k := r.field(&arm)
				if k == kindStop {
					break
				}
				m.exception = exceptionKind(id)
				r.skip(k)
			}
		default:
			r.skip(k)
		}
	}
}

func appendPayloadMetadata(dst []byte, m *payloadMetadata, binary bool, ids payloadIDs) []byte {
	w := fieldWriter{b: dst, binary: binary}
	if m.compression != compress.None {
		w.i32(ids.compression, int32(m.compression))
	}
	payload := w.begin(ids.payload)
	if !m.isException {
		w.empty(1)
	} else {
		exception := w.begin(2)
		w.string(1, m.name)
		w.string(2, m.what)
		union := w.begin(3)
		body := w.begin(int16(m.exception))
		if m.exception == exceptionUnknown {
			classification := w.begin(1)
			w.i32(2, 1) // ErrorBlame SERVER
			w.end(classification)
		}
		w.end(body)
		w.end(union)
		w.end(exception)
	}
	w.end(payload)
	if m.stream != 0 && ids.stream != 0 {
		w.i32(ids.stream, int32(m.stream))
	}
	w.end(0)
	return w.b
}

// rpcError is what this package uses of ResponseRpcError and StreamRpcError. Both always travel in compact.
type rpcError struct {
	name, what string
	category   int32 // ResponseRpcError only
	code       int32
}

// readRPCError reads either of the two; what does not decode was not meant as one.
func readRPCError(b []byte) (e rpcError, err error) {
	r := fieldReader{b: b}
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			if r.bad {
				return rpcError{}, fmt.Errorf("%w: ResponseRpcError", errMetadata)
			}
			return e, nil
		case id == 1 && k == kindString:
			e.name = r.string()
		case id == 2 && k == kindString:
			e.what = r.string()
		case id == 3 && k == kindI32:
			e.category = r.i32()
		case id == 4 && k == kindI32:
			e.code = r.i32()
		default:
			r.skip(k)
		}
	}
}

// appendResponseError writes a ResponseRpcError.
func appendResponseError(dst []byte, code rpcErrorCode, what string) []byte {
	e := rpcErrors[code]
	w := fieldWriter{b: dst}
	w.string(1, e.name)
	w.string(2, what)
	w.i32(3, e.category)
	w.i32(4, int32(code))
	w.end(0)
	return w.b
}

// appendStreamError writes a StreamRpcError.
func appendStreamError(dst []byte, name, what string, code int32) []byte {
	w := fieldWriter{b: dst}
	w.string(1, name)
	w.string(2, what)
	w.i32(4, code)
	w.end(0)
	return w.b
}

// serverPush is what this package uses of ServerPushMetadata, which always travels in compact.
type serverPush struct {
	isSetup       bool
	version       int32
	zstd, lz4     bool
	drainComplete bool
}

func readServerPush(b []byte) (p serverPush, err error) {
	r := fieldReader{b: b}
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			if r.bad {
				return p, fmt.Errorf("%w: ServerPushMetadata", errMetadata)
			}
			return p, nil
		case id == 1 && k == kindStruct:
			p.isSetup = true
			readSetupResponse(&r, &p)
		case id == 3 && k == kindStruct:
			p.drainComplete = true
			r.skip(k)
		default:
			r.skip(k)
		}
	}
}

func readSetupResponse(r *fieldReader, p *serverPush) {
	var last int16
	for {
		id, k := r.field(&last)
		switch {
		case k == kindStop:
			return
		case id == 1 && k == kindI32:
			p.version = r.i32()
		case id == 2 && k == kindTrue:
			p.zstd = r.boolean()
		case id == 5 && k == kindTrue:
			p.lz4 = r.boolean()
		default:
			r.skip(k)
		}
	}
}

func appendServerPush(dst []byte, p *serverPush) []byte {
	w := fieldWriter{b: dst}
	if p.isSetup {
		setup := w.begin(1)
		w.i32(1, p.version)
		w.boolean(2, p.zstd)
		if p.lz4 {
			w.boolean(5, true)
		}
		w.end(setup)
	}
	if p.drainComplete {
		w.empty(3)
	}
	w.end(0)
	return w.b
}
