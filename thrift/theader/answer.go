package theader

import (
	"unicode/utf8"

	"github.com/apache/thrift/lib/go/thrift"

	"openr/thrift/invoke"
)

// Info headers by which fbthrift tells of exceptions.
const (
	InfoException     = "uex"  // type name
	InfoExceptionText = "uexw" // text
)

// maxExceptionText bounds a text in an info header, in bytes.
const maxExceptionText = 1024

// Answer dresses what became of a request as the message that answers it, in the request's encoding, version and sequence
// id. info are the pairs that go along in a THeader frame, nil if none. Body may be a.Data itself.
func Answer(request Message, a invoke.Answer) (reply Message, info map[string]string) {
	reply = request
	reply.Type, reply.Body = thrift.REPLY, a.Data
	if a.Status == invoke.OK || a.Status == invoke.Declared {
		return reply, nil
	}
	number := int32(thrift.INTERNAL_ERROR)
	switch a.Status {
	case invoke.UnknownMethod:
		number = thrift.UNKNOWN_METHOD
	case invoke.Malformed:
		number = thrift.PROTOCOL_ERROR
	case invoke.Undeclared:
		number = thrift.UNKNOWN_APPLICATION_EXCEPTION
		info = map[string]string{InfoException: a.Name, InfoExceptionText: clip(a.What)}
		if a.Name == "" {
			info[InfoException] = "TApplicationException"
		}
	}
	reply.Type, reply.Body = thrift.EXCEPTION, applicationException(request.Encoding, number, a.What)
	return reply, info
}

func applicationException(e invoke.Encoding, number int32, text string) []byte {
	b, err := invoke.Marshal(e, nil, exception{thrift.NewTApplicationException(number, text)})
	if err != nil {
		panic("theader: " + err.Error()) // memory takes it
	}
	return b
}

// exception makes the runtime's exception a struct.
type exception struct{ thrift.TApplicationException }

// clip shortens s to what goes into an info header, without cutting a character.
func clip(s string) string {
	if len(s) <= maxExceptionText {
		return s
	}
	n := maxExceptionText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
