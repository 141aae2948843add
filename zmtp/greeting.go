package zmtp

import (
	"bytes"
	"strings"
)

// greetingSize is the length of a ZMTP 3 greeting: signature 10, version 2, mechanism 20, as-server 1, filler 31 (37/ZMTP).
const greetingSize = 64

// What a greeting consists of, by offset.
const (
	greetingMajor     = 10
	greetingMinor     = 11
	greetingMechanism = 12
	greetingServer    = 32
)

// The mechanisms, as greetings name them.
const (
	mechanismNull  = "NULL"
	mechanismCurve = "CURVE"
)

type greeting struct {
	minor     uint8
	mechanism string
	server    bool // libzmq never sets it, so nothing depends on it
}

// opening is as much of a greeting as does not depend on the mechanism: a listening socket that takes several sends it first,
// and names the peer's choice when that is known. libzmq sends all of its greeting once it has seen the major version.
func opening() []byte {
	return []byte{0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1}
}

// rest is what follows the opening.
func (g greeting) rest() []byte {
	b := make([]byte, greetingSize-greetingMechanism)
	copy(b, g.mechanism)
	if g.server {
		b[greetingServer-greetingMechanism] = 1
	}
	return b
}

// parseGreeting reads the greeting that b begins with. ok is false as long as b is too short; what is wrong is told as early
// as it shows, so that somebody who speaks another protocol is not waited for.
func parseGreeting(b []byte) (g greeting, ok bool, err error) {
	if len(b) > 0 && b[0] != 0xff {
		return g, false, fault(CauseGreeting, "the peer does not speak ZMTP 3: its first octet is %#02x, not 0xff", b[0])
	}
	if len(b) > 9 && b[9]&1 == 0 { // 37/ZMTP: an even tenth octet is ZMTP 1.0
		return g, false, fault(CauseGreeting, "the peer speaks ZMTP 1.0; 3.0 or newer is needed")
	}
	if len(b) > greetingMajor && b[greetingMajor] < 3 {
		return g, false, fault(CauseGreeting, "the peer speaks ZMTP 2.0; 3.0 or newer is needed")
	}
	if len(b) < greetingSize {
		return g, false, nil
	}
	g.minor = b[greetingMinor]
	if b[greetingMajor] > 3 {
		g.minor = 1 // a newer peer talks to us as to 3.1
	}
	name := b[greetingMechanism:greetingServer]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		if len(bytes.Trim(name[i:], "\x00")) > 0 {
			return g, false, fault(CauseGreeting, "the mechanism in the greeting is not padded with zeros")
		}
		name = name[:i]
	}
	for _, c := range name {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.+", rune(c)) {
			return g, false, fault(CauseGreeting, "the mechanism in the greeting has a character %#02x", c)
		}
	}
	g.mechanism = string(name)
	g.server = b[greetingServer]&1 == 1
	return g, true, nil
}
